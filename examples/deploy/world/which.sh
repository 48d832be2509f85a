#!/usr/bin/env bash
# Stands for the inventory and the load balancer: `which.sh WORD RELEASE` prints the
# servers on which a release is `copied`, `unpacked`, `drained` for, or `serving`.
. "${0%/*}/http.sh"
ask GET "/which/$1/$2" && [ "$status" = 200 ] || { echo "nobody answers, see ./world.sh" >&2; exit 2; }
[ -z "$body" ] || printf '%s\n' "$body"
