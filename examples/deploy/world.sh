#!/usr/bin/env bash
# The hundred servers, which are folders here, and a port at which they answer.
# `world.sh up` is safe to call again; `world.sh is-up` asks; `world.sh down` ends it.
set -euo pipefail
cd "$(dirname "$0")"
. world/http.sh

# Somebody else may have got the port of a world that is no more.
is_up() { ask GET / && [ "$body" = "$(pwd -P)" ]; }

case ${1:-} in
  up)
    mkdir -p run
    for _ in {1..100}; do
      ! is_up || exit 0
      # It leaves the port to another one that is there, or ends just now.
      perl world/server.pl
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
