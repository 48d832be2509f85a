SEMEL_SCRIPT=$(@SEMEL@ script @NAME@ @OPTIONS@ --do begin --shell "$$" --from "$0") || exit $?
export SEMEL_SCRIPT
step() {
  __semel_rc=0
  @SEMEL@ step "$@" || __semel_rc=$?
  # What semel relies on is broken: nothing that follows would be guarded.
  [ "$__semel_rc" -ne 105 ] || exit 105
  return "$__semel_rc"
}
# The script's own EXIT trap, if it was set before, goes before the end of the run.
__semel_run=${SEMEL_SCRIPT#*:}
__semel_traps=${SEMEL_SCRIPT#*:*:*:*:}/.semel/staging/${__semel_run%%:*}/shell/traps
__semel_trap=
trap > "$__semel_traps"
eval "$(sed -n "s/^trap -- \(.*\) EXIT\$/__semel_trap=\1/p" "$__semel_traps")"
__semel_exit() {
  __semel_status=$?
  set +e
  if [ -n "$__semel_trap" ]; then
    @SEMEL@ script @NAME@ --do ending --status "$__semel_status"
    (exit "$__semel_status")
    eval "$__semel_trap"
  fi
  @SEMEL@ script @NAME@ @OPTIONS@ --do end --status "$__semel_status"
  exit $?
}
trap __semel_exit EXIT
