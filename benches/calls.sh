#!/usr/bin/env bash
# What semel costs between a client and a server: requests a second and latency, side by
# side on this machine, beside nginx as a reverse proxy and mitmproxy. All stand before the
# same server, an nginx that answers 1 KiB, and `wrk` asks each in turn.
#
#     benches/calls.sh [ROUNDS [SECONDS]]      default: 5 rounds of 4 seconds
#
# Needs nginx, wrk, and mitmdump where that is to be compared (MITMDUMP names it). "In
# memory": semel's folder is in /dev/shm, so that what the disk takes is not in it.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-5} seconds=${2:-4}
mitmdump=${MITMDUMP:-$(type -P mitmdump || true)}
scratch=$(mktemp -d "$PWD/target/bench-calls.XXXXXX") memory=$(mktemp -d /dev/shm/semel-calls.XXXXXX)
trap 'kill $(jobs -p) 2> /dev/null; wait 2> /dev/null; rm -rf "$scratch" "$memory"' EXIT
lua=$PWD/benches/calls.lua
cargo static
semel=$scratch/semel
cp target/release/semel "$semel"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
server=$(free_port) nginx=$(free_port) mitm=$(free_port) disk=$(free_port) shm=$(free_port)

serve_nginx() {
  mkdir -p "$scratch/$1"
  cat > "$scratch/$1/nginx.conf" << N
daemon off; worker_processes 1; pid $scratch/$1/pid; error_log $scratch/$1/error.log;
events { worker_connections 1024; }
http {
  access_log off; client_body_temp_path $scratch/$1/body; proxy_temp_path $scratch/$1/proxy;
  fastcgi_temp_path $scratch/$1/f; uwsgi_temp_path $scratch/$1/u; scgi_temp_path $scratch/$1/s;
  keepalive_requests 100000000; keepalive_timeout 1h;
  $2
}
N
  nginx -c "$scratch/$1/nginx.conf" &
}
serve_nginx server "server {
  listen 127.0.0.1:$server; default_type application/json;
  location / { return 200 '{\"filler\":\"$(printf 'y%.0s' $(seq 1011))\"}'; }
}"
serve_nginx proxy "upstream server {
  server 127.0.0.1:$server; keepalive 32; keepalive_requests 100000000;
}
server {
  listen 127.0.0.1:$nginx;
  location / { proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection ''; }
}"
if [ -n "$mitmdump" ]; then
  "$mitmdump" -q --mode "reverse:http://127.0.0.1:$server" --listen-host 127.0.0.1 -p "$mitm" \
    --set confdir="$scratch/mitm" &
fi

serve_semel() { # FOLDER PORT
  mkdir -p "$1/home"
  (
    cd "$1/home"
    "$semel" init --bare > init 2>&1
    cat > semel.toml << T
version = 1

[[call]]
match = "POST http://127.0.0.1:$server/pass"
pass = true

[[call]]
match = "POST http://127.0.0.1:$server/replay"
equal = "shared"
T
    exec "$semel" proxy --name bench --listen "127.0.0.1:$2" --to "http://127.0.0.1:$server" > said 2>&1
  ) &
}
serve_semel "$scratch" "$disk"
serve_semel "$memory" "$shm"
for port in "$server" "$nginx" "$disk" "$shm" ${mitmdump:+"$mitm"}; do
  until curl -s -o "$scratch/answer" -X POST "http://127.0.0.1:$port/replay"; do sleep 0.1; done
  [ "$(wc -c < "$scratch/answer")" = 1024 ] || { cat "$scratch/answer"; exit 1; }
done

ask() { # CONNECTIONS PORT PATH WAY
  wrk -t1 -c"$1" -d"${seconds}s" -s "$lua" "http://127.0.0.1:$2$3" -- "$4" "$RANDOM$RANDOM" | tail -n 1
}

subjects=(
  "the server itself|$server|/pass|same"
  "nginx|$nginx|/pass|same"
  ${mitmdump:+"mitmproxy|$mitm|/pass|same"}
  "semel, a call that passes|$disk|/pass|same"
  "semel, a call replayed|$disk|/replay|same"
  "semel, a new call|$disk|/new|new"
  "semel, a new call, in memory|$shm|/new|new"
)

for connections in 16 1; do
  rm -f "$scratch"/figures.*
  for ((round = 0; round < rounds; round++)); do
    for at in "${!subjects[@]}"; do
      IFS='|' read -r _ port path way <<< "${subjects[$at]}"
      ask "$connections" "$port" "$path" "$way" >> "$scratch/figures.$at"
    done
  done
  printf '\n%-32s %9s %8s %8s %7s %6s\n' "$connections connections" 'a second' 'p50 ms' 'p99 ms' 'nginx' wrong
  python3 - "$scratch" "${subjects[@]}" << 'P'
import statistics, sys
scratch, *subjects = sys.argv[1:]
rows = []
for at, subject in enumerate(subjects):
    lines = [list(map(int, line.split())) for line in open(f"{scratch}/figures.{at}")]
    columns = list(zip(*lines))
    rows.append((subject.split("|")[0], *map(statistics.median, columns[:3]), sum(columns[3])))
nginx = next(row[1] for row in rows if row[0] == "nginx")
for name, rate, p50, p99, wrong in rows:
    print(f"{name:32} {rate:9.0f} {p50 / 1000:8.3f} {p99 / 1000:8.3f} {rate / nginx:7.2f} {wrong:6}")
P
done
