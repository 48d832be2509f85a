#!/usr/bin/env bash
# Addresses are verified as people have it today. It works, and pays some of them twice.
# The API must be there: `./world.sh up`.
set -euo pipefail
cd "$(dirname "$0")"

mkdir -p verified
while IFS=, read -r ref _ street postcode city; do
  ./verify.sh "$ref" "$street" "$postcode" "$city" > "verified/$ref.json" &
done < <(tail -n +2 addresses.csv)
wait
