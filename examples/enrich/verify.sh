#!/usr/bin/env bash
# `verify.sh REF STREET POSTCODE CITY`: asks the API whether a letter gets there. Whoever
# does not answer within two seconds is asked again.
set -euo pipefail
read -r port < "${0%/*}/run/port"
curl --silent --show-error --fail --max-time 2 --retry 3 --retry-delay 1 \
  --data-urlencode "ref=$1" \
  --data-urlencode "street=$2" --data-urlencode "postcode=$3" --data-urlencode "city=$4" \
  "http://127.0.0.1:$port/v1/verify"
