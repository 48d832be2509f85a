#!/usr/bin/env bash
# `health.sh HOST RELEASE [SECONDS]`: exit status 0 if the server answers with this
# release, at the latest after so many seconds; 1 if it answers otherwise, 2 if nobody
# answers.
. "${0%/*}/http.sh"
while :; do
  ask GET "/$1/health" || { echo "$1: nobody answers, see ./world.sh" >&2; exit 2; }
  [ "$status $body" != "200 $2" ] || exit 0
  [ "$SECONDS" -lt "${3:-0}" ] || { echo "$1: $status $body, not $2" >&2; exit 1; }
  sleep 0.2
done
