#!/usr/bin/env bash
# What a guard costs, side by side on this machine: a step that is done, alone and in a
# script, beside `flock`, `bkt` (if it is there) and the bare command; and a step that
# acts, beside the same.
#
#     benches/step.sh [ROUNDS]           default: 300
#
# Shown are the least and the median, in milliseconds, and the median beside that of
# `flock`. The static build is the one that `cargo static` makes.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-300}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
dynamic=$scratch/dynamic static=$scratch/static
cargo static
cp target/release/semel "$static"
cargo build --release
cp target/release/semel "$dynamic"
rustc --edition 2024 -O -o "$scratch/step" benches/step.rs
cd "$scratch"
"$static" init --bare > /dev/null
echo hello > in.txt
: > lock

files="--in in.txt --out out.txt -- cp {{in}} {{out}}"
done_lines=(
  "flock lock true" "flock lock true"
  "true" "true"
  "semel step" "$static step plain -- true"
  "  with --in and --out" "$static step copy $files"
  "  as cargo build makes it" "$dynamic step plain -- true"
)
if command -v bkt > /dev/null; then
  done_lines+=("bkt --ttl 1h -- true" "bkt --ttl 1h -- true")
fi
# What is done is found done, and not looked at too soon after it changed.
"$static" step plain -- true
# shellcheck disable=SC2086 # words
"$static" step copy $files
until [ -z "$(find .semel -newermt '-5 seconds' -name '*.db*')" ]; do sleep 0.5; done

printf '%-34s %6s %7s %6s\n' "done before, alone" least median beside
"$scratch/step" "$rounds" "${done_lines[@]}"

# A task comes once in a run, so each round has its own; the first run does them.
cat > s.sh <<'S'
eval "$("$1" script s --quiet || echo exit 105)"
"$2" "$3" "flock lock true" "flock lock true" "semel step" "$1 step plain --item {n} -- true" \
  "  with --in and --out" "$1 step copy --item {n} --in in.txt --out {n}.txt -- cp {{in}} {{out}}"
S
acts=$(bash s.sh "$static" "$scratch/step" "$rounds")
printf '\n%-34s %6s %7s %6s\n' "done before, in a script" least median beside
bash s.sh "$static" "$scratch/step" "$rounds"
printf '\n%-34s %6s %7s %6s\n%s\n' "acts, in a script" least median beside "$acts"

printf '\n%-34s %6s %7s %6s\n' "acts, alone" least median beside
few=$((rounds / 5 + 1))
"$scratch/step" "$few" "flock lock true" "flock lock true" "true" "true" \
  "semel step" "$static step now --max-age 0 -- true" \
  "semel write" "$static write written -- true" \
  "semel lock" "$static lock name -- true"
