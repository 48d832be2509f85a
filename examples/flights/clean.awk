# Keeps the flights that left, and of each what the summary needs.
BEGIN { FS = OFS = "," }
NR == 1 {
    for (i = 1; i <= NF; i++) column[$i] = i
    print "day", "carrier", "flight", "origin", "dest", "dep_delay", "distance"
    next
}
NF != 19 {
    printf "%s: line %d has %d columns, expected 19\n", FILENAME, FNR, NF > "/dev/stderr"
    exit 1
}
$column["dep_delay"] ~ /^-?[0-9]+$/ {
    day = sprintf("%04d-%02d-%02d", $column["year"], $column["month"], $column["day"])
    print day, $column["carrier"], $column["flight"], $column["origin"], $column["dest"], \
        $column["dep_delay"], $column["distance"]
}
