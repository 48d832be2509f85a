#!/bin/sh
# curl, which sends once.
curl --silent --show-error --fail-with-body --header 'content-type: application/json' \
  --data "{\"order\":\"$2\"}" "$1" || exit 1
