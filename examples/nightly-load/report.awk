# How late each carrier was.
BEGIN { FS = "," }
FNR == 1 { next }
{ flights[$2]++; late[$2] += $6; all++ }
END {
    for (carrier in flights)
        printf "%s  %6d flights  %6.1f m\n", carrier, flights[carrier], late[carrier] / flights[carrier] | "sort"
    close("sort")
    printf "%d flights in all\n", all
}
