#!/usr/bin/env bash
# Stands for the cache before the servers: it forgets what it has, and says so.
. "${0%/*}/http.sh"
ask POST /purge && [ "$status" = 200 ] && printf '%s\n' "$body"
