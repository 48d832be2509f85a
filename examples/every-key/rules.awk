BEGIN { FS = OFS = "," }
$2 <= ENVIRON["LIMIT"] { print $1, $2 }
