# A line for each day, and the totals.
BEGIN {
    FS = ","
    printf "%-10s  %7s  %8s  %-8s\n", "day", "flights", "delay", "latest"
}
function close_day() {
    if (flights > 0) printf "%-10s  %7d  %6.1f m  %s (%d m)\n", day, flights, late / flights, latest, worst
    flights = late = 0
    worst = -1e9
}
FNR == 1 { close_day(); next }
{
    if (day != $1) days++
    day = $1
    flights += $3
    late += $3 * $4
    if ($5 + 0 > worst + 0) { worst = $5; latest = $2 }
    all += $3
    all_late += $3 * $4
}
END {
    close_day()
    printf "\n%d days, %d flights, %.1f minutes late on average\n", days, all, all_late / all
}
