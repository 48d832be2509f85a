# Keeps the flights that left. One that has not arrived where it should has no delay
# there, and an empty field: NULL.
BEGIN { FS = OFS = "," }
NR == 1 {
    for (i = 1; i <= NF; i++) column[$i] = i
    print "day", "carrier", "flight", "origin", "dest", "dep_delay", "arr_delay", "distance"
    next
}
NF != 19 {
    printf "%s: line %d has %d columns, expected 19\n", FILENAME, FNR, NF > "/dev/stderr"
    exit 1
}
$column["dep_delay"] ~ /^-?[0-9]+$/ {
    day = sprintf("%04d-%02d-%02d", $column["year"], $column["month"], $column["day"])
    late = $column["arr_delay"] ~ /^-?[0-9]+$/ ? $column["arr_delay"] : ""
    print day, $column["carrier"], $column["flight"], $column["origin"], $column["dest"], \
        $column["dep_delay"], late, $column["distance"]
}
