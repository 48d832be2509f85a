# How many flights each day has.
BEGIN { FS = OFS = ","; print "day", "flights" }
FNR == 1 { next }
!($1 in flights) { days[++n] = $1 }
{ flights[$1]++ }
END { for (i = 1; i <= n; i++) print days[i], flights[days[i]] }
