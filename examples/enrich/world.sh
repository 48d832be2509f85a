#!/usr/bin/env bash
# The paid API of this example, which charges into invoice.tsv.
# `world.sh up` is safe to call again; `world.sh is-up` asks; `world.sh down` ends it.
set -euo pipefail
cd "$(dirname "$0")"
type -P curl > /dev/null || { echo "curl is missing: apt-get install curl" >&2; exit 1; }

# Somebody else may have got the port of a world that is no more.
is_up() {
  local port
  { read -r port < run/port; } 2> /dev/null &&
    [ "$(curl -s --noproxy '*' --max-time 5 "http://127.0.0.1:$port/")" = "$(pwd -P)" ]
}

case ${1:-} in
  up)
    mkdir -p run
    for _ in {1..100}; do
      ! is_up || exit 0
      # It leaves the port to another one that is there, or ends just now.
      perl server.pl
      is_up || sleep 0.1
    done
    echo "no server answers" >&2
    exit 1
    ;;
  is-up) is_up ;;
  down) rm -f run/port ;;
  *)
    echo "usage: world.sh up | is-up | down" >&2
    exit 2
    ;;
esac
