SEMEL_SCRIPT=$(@SEMEL@ script @NAME@ @OPTIONS@ --do begin --shell "$$" --from "${(%):-%x}") || exit $?
export SEMEL_SCRIPT
step() {
  local __semel_rc=0
  @SEMEL@ step "$@" || __semel_rc=$?
  # What semel relies on is broken: nothing that follows would be guarded.
  [[ $__semel_rc -ne 105 ]] || exit 105
  return $__semel_rc
}
__semel_exit() {
  @SEMEL@ script @NAME@ @OPTIONS@ --do end --status "$?"
  exit $?
}
typeset -ga zshexit_functions
zshexit_functions+=(__semel_exit)
