# One line for each carrier: how many flights, how late on average, how late at
# worst. The lines come sorted by carrier.
BEGIN { FS = OFS = ","; print "day", "carrier", "flights", "delay", "worst" }
function close_carrier() {
    if (flights > 0) print day, carrier, flights, sprintf("%.1f", late / flights), worst
    flights = late = 0
}
$2 != carrier { close_carrier(); carrier = $2; worst = $6 }
{
    day = $1
    flights++
    late += $6
    if ($6 + 0 > worst + 0) worst = $6
}
END { close_carrier() }
