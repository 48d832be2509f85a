#!/usr/bin/env bash
# Compares a first run and a nothing-to-do run of semel with those of GNU make,
# ninja and xargs, side by side on this machine; and a first run of semel whose
# effects need not outlive a power cut (durability = "process").
#
#     benches/compare.sh [ITEMS…]        default: 1000 10000 100000
#
# One task for each file of 200 bytes: `cp raw/X out/X`, two at a time. The tools
# take turns, so that a machine which changes its pace changes it for all; shown
# are medians, in seconds. make, ninja and rustc must be there.
set -euo pipefail
cd "$(dirname "$0")/.."

items=("$@")
[ ${#items[@]} -gt 0 ] || items=(1000 10000 100000)
first_rounds=${FIRST_ROUNDS:-3} # of 100,000 items: one
noop_rounds=${NOOP_ROUNDS:-7}
export JOBS=2

cargo build --release --quiet
export SEMEL=$PWD/target/release/semel
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
rustc -O -o "$scratch/stat" benches/stat.rs
export STAT=$scratch/stat

# Fills a folder: the items, and what each tool needs to know of them.
fill() {
  local folder=$1 count=$2
  mkdir -p "$folder/raw" && cd "$folder"
  awk -v count="$count" 'BEGIN {
    filler = sprintf("%180s", ""); gsub(/ /, "x", filler)
    for (i = 0; i < count; i++) {
      name = sprintf("raw/%07d.txt", i)
      printf "item %d\n%s\n", i, filler > name
      close(name)
    }
  }'
  printf 'name = "bench"\n[step.copy]\neach = "raw/*.txt"\nout = "out.semel/{{ item.name }}"\nrun = ["cp", "{{ item }}", "{{ out }}"]\n' > semel.toml
  # The same, but what is done need not outlive a power cut.
  { echo 'durability = "process"'; sed 's/bench/process/; s/out.semel/out.process/' semel.toml; } > process.toml
  {
    echo 'outs := $(patsubst raw/%,out.make/%,$(wildcard raw/*.txt))'
    echo 'all: $(outs)'
    printf '$(outs): out.make/%%: raw/%%\n\tcp $< $@\n'
  } > Makefile
  {
    printf 'rule copy\n  command = cp $in $out\n'
    ls raw | awk '{ printf "build out.ninja/%s: copy raw/%s\n", $0, $0 }'
  } > build.ninja
  cd - > /dev/null
}

semel() { "$SEMEL" run -q -j "$JOBS"; }
process_() { "$SEMEL" run -q -f process.toml -j "$JOBS"; }
make_() { make -r -s -j "$JOBS"; }
ninja_() { ninja --quiet -j "$JOBS" > /dev/null; }
xargs_() { printf '%s\n' raw/* | sed 's|^raw/||' | xargs -P "$JOBS" -I{} cp raw/{} out.xargs/{}; }
stat_() { "$STAT" raw out.semel > /dev/null; }

# Runs a tool in the folder, and adds how long it took to a file of figures.
measure() {
  local tool=$1 figures=$2 begin end
  sync
  begin=$EPOCHREALTIME
  "$tool"
  end=$EPOCHREALTIME
  awk -v begin="$begin" -v end="$end" 'BEGIN { printf "%.4f\n", end - begin }' >> "$figures"
}

median() { sort -n "$1" | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

clear_() { rm -rf .semel out.semel out.process out.make out.ninja out.xargs .ninja_log .ninja_deps; mkdir out.make out.xargs; }

for count in "${items[@]}"; do
  folder=$scratch/$count
  fill "$folder" "$count"
  cd "$folder"
  rounds=$first_rounds
  [ "$count" -lt 100000 ] || rounds=1
  for ((round = 0; round < rounds; round++)); do
    clear_
    for tool in xargs_ make_ ninja_ process_ semel; do measure "$tool" "first.$tool"; done
  done
  for tool in xargs_ make_ ninja_ process_ semel; do
    printf 'first run    %8d items  %-7s %8.3f s' "$count" "${tool%_}" "$(median "first.$tool")"
    awk -v mine="$(median "first.$tool")" -v xargs="$(median first.xargs_)" -v count="$count" \
      'BEGIN { printf "   %+.3f ms a task over xargs\n", (mine - xargs) / count * 1000 }'
  done
  awk -v full="$(median first.semel)" -v process="$(median first.process_)" -v count="$count" \
    'BEGIN { printf "first run    %8d items  what outlives a power cut takes %.2f x the time\n", count, full / process }'
  # The first run after a first run still learns digests; it is not measured.
  for tool in make_ ninja_ semel; do "$tool"; done
  for ((round = 0; round < noop_rounds; round++)); do
    for tool in stat_ make_ ninja_ semel; do measure "$tool" "noop.$tool"; done
  done
  for tool in stat_ make_ ninja_ semel; do
    printf 'nothing to do %7d items  %-6s %8.3f s' "$count" "${tool%_}" "$(median "noop.$tool")"
    awk -v mine="$(median "noop.$tool")" -v ninja="$(median noop.ninja_)" -v stat="$(median noop.stat_)" \
      'BEGIN { printf "   %.2f x ninja, %.2f x asking about each file\n", mine / ninja, mine / stat }'
  done
  cd - > /dev/null
  rm -rf "$folder"
done
