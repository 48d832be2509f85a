#!/usr/bin/env bash
# What a load costs beside the fastest way each database has by itself, into the same
# table on the same server: `psql \copy`, `mariadb` with LOAD DATA LOCAL INFILE, `sqlite3`
# with .import.
#
#     benches/load.sh [FILE.csv]         default: a synthetic file of the same shape
#     ROUNDS=21 benches/load.sh …        default: 11
#     SEMEL=/usr/bin/semel benches/load.sh …     another one than is built here
#
# The file has the columns of `flights` in nycflights13, with empty fields where there is
# no value: a year of it is 336,776 rows. What semel does in its time is all of a first
# run: a new memory, the digest of the file, both of its tables made, fence and stamp, the
# rows, which are counted, and the receipt. The servers are this script's own, as durable
# as they come, and do not listen to the network. Tools take turns; each load begins with
# an empty table in a new database. Needs what scripts/servers finds, and sqlite3.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-11}
semel=${SEMEL:-}
if [ -z "$semel" ]; then
  cargo build --release --quiet -p semel-cli
  semel=$PWD/target/release/semel
fi
read -r _ postgres < <(scripts/servers | grep '^postgres ')
# Not where the environment says: the path of a socket is short, and servers that do not
# run as root must come to it.
scratch=$(mktemp -d /tmp/semel-load.XXXXXX)
servers=()
finish() {
  for pid in "${servers[@]}"; do kill "$pid" && wait "$pid" || true; done
  rm -rf "$scratch"
}
trap finish EXIT
if [ $# -gt 0 ]; then
  cp "$1" "$scratch/flights.csv"
else
  awk 'BEGIN {
    srand(1); OFS = ","
    print "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour"
    split("UA B6 EV DL AA MQ US 9E WN VX", carrier, " "); split("EWR JFK LGA", origin, " ")
    for (i = 0; i < 336776; i++) {
      h = 5 + int(rand() * 19); m = int(rand() * 60); late = int(rand() * 90) - 20
      air = 40 + int(rand() * 400); month = 1 + int(i / 28065); day = 1 + int(i / 925) % 28
      gone = rand() > 0.025
      print 2013, month, day, gone ? h * 100 + m : "", h * 100 + m, gone ? late : "", \
        gone ? h * 100 + m : "", h * 100 + m, gone ? late - 5 : "", carrier[1 + int(rand() * 10)], \
        int(rand() * 6000), sprintf("N%05d", rand() * 99999), origin[1 + int(rand() * 3)], \
        sprintf("%c%c%c", 65 + rand() * 26, 65 + rand() * 26, 65 + rand() * 26), gone ? air : "", \
        air * 7, h, m, sprintf("2013-%02d-%02dT%02d:00:00Z", month, day, h)
    }
  }' > "$scratch/flights.csv"
fi
wanted=$(($(wc -l < "$scratch/flights.csv") - 1))

# Whoever may not be root, and the server's folders are theirs.
user=()
if [ "$(id -u)" = 0 ]; then
  user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  chown 65534:65534 "$scratch"
fi
# A simple command, so that what is started in the background is the server itself.
as=(env -C "$scratch" HOME="$scratch" "${user[@]}")

"${as[@]}" "$postgres/initdb" --auth=trust --encoding=UTF8 --locale=C --username=semel -D pg > /dev/null
"${as[@]}" "$postgres/postgres" -D pg -k "$scratch" -h '' > "$scratch/pg.log" 2>&1 &
servers+=($!)
"${as[@]}" mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db \
  --datadir="$scratch/my" > /dev/null
"${as[@]}" mariadbd --no-defaults --datadir="$scratch/my" --socket="$scratch/my.sock" --skip-networking \
  --pid-file="$scratch/my.pid" --local-infile=1 --innodb-flush-log-at-trx-commit=1 > "$scratch/my.log" 2>&1 &
servers+=($!)
pg() { "$postgres/psql" -X -q -h "$scratch" -U semel -v ON_ERROR_STOP=1 "$@"; }
my() { mariadb --no-defaults --batch --skip-column-names --socket="$scratch/my.sock" --user=root --local-infile=1 "$@"; }
until pg -c 'select 1' postgres > /dev/null 2>&1 && my -e 'select 1' > /dev/null 2>&1; do sleep 0.1; done

# The table, in words that all three understand.
table='create table flight (year integer, month integer, day integer, dep_time integer,
  sched_dep_time integer, dep_delay integer, arr_time integer, sched_arr_time integer,
  arr_delay integer, carrier varchar(8), flight integer, tailnum varchar(8), origin varchar(8),
  dest varchar(8), air_time integer, distance integer, hour integer, minute integer,
  time_hour varchar(24))'

new() {
  rm -rf "$scratch/pipeline" && mkdir "$scratch/pipeline"
  case $1 in
    postgres)
      pg -c 'drop database if exists load' -c 'create database load' postgres 2> /dev/null
      pg -c "$table" -c checkpoint load
      ;;
    mysql) my -e "drop database if exists \`load\`; create database \`load\`; use \`load\`; $table" ;;
    sqlite) sqlite3 "$scratch/pipeline/flights.db" "$table" ;;
  esac
}

peer() {
  case $1 in
    postgres) pg -c "\copy flight from '$scratch/flights.csv' with (format csv, header)" load ;;
    mysql) my -e "load data local infile '$scratch/flights.csv' into table flight character set utf8mb4
      fields terminated by ',' optionally enclosed by '\"' ignore 1 lines
      (year, month, day, @a, sched_dep_time, @b, @c, sched_arr_time, @d, carrier, flight, @e, origin,
       dest, @f, distance, hour, minute, time_hour)
      set dep_time = nullif(@a, ''), dep_delay = nullif(@b, ''), arr_time = nullif(@c, ''),
       arr_delay = nullif(@d, ''), tailnum = nullif(@e, ''), air_time = nullif(@f, '')" load ;;
    # An empty field is an empty text to it, and no NULL.
    sqlite) sqlite3 "$scratch/pipeline/flights.db" ".import --csv --skip 1 $scratch/flights.csv flight" ;;
  esac
}

mine() {
  local url
  case $1 in
    postgres) url=postgres://semel@/load?host=$scratch ;;
    mysql) url=mysql://root@/load?socket=$scratch/my.sock ;;
    sqlite) url=sqlite:flights.db ;;
  esac
  printf 'name = "load"\n[db]\nmain = "%s"\n[step.load]\nload = { into = "flight", file = "../flights.csv" }\n' \
    "$url" > "$scratch/pipeline/semel.toml"
  (cd "$scratch/pipeline" && "$semel" run -q)
}

count() {
  case $1 in
    postgres) pg -Atc 'select count(*) from flight' load ;;
    mysql) my -e 'select count(*) from flight' load ;;
    sqlite) sqlite3 "$scratch/pipeline/flights.db" 'select count(*) from flight' ;;
  esac
}

median() { sort -n "$1" | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }
least() { sort -n "$1" | head -n 1; }

# The first round is not counted.
for ((round = 0; round <= rounds; round++)); do
  for engine in postgres mysql sqlite; do
    for who in peer mine; do
      new "$engine"
      sync
      begin=$EPOCHREALTIME
      "$who" "$engine"
      end=$EPOCHREALTIME
      [ "$(count "$engine")" = "$wanted" ] || { echo "$who $engine: not $wanted rows" >&2; exit 1; }
      [ "$round" = 0 ] || awk -v begin="$begin" -v end="$end" 'BEGIN { printf "%.3f\n", end - begin }' \
        >> "$scratch/$engine.$who"
    done
  done
done

printf '%d rows, %d rounds; least and median, in seconds\n' "$wanted" "$rounds"
for engine in postgres mysql sqlite; do
  peer=$(median "$scratch/$engine.peer") mine=$(median "$scratch/$engine.mine")
  awk -v engine="$engine" -v peer="$peer" -v mine="$mine" \
    -v peer_least="$(least "$scratch/$engine.peer")" -v mine_least="$(least "$scratch/$engine.mine")" \
    'BEGIN { printf "%-9s by itself %.3f %.3f   semel run %.3f %.3f   %.2f\n", engine, peer_least, peer, mine_least, mine, mine / peer }'
done
