if (( BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404 )); then
  echo "semel: bash $BASH_VERSION is too old: scripts are guarded in 4.4 and later; exit 102" >&2
  exit 102
fi
__semel_shell=$BASHPID
SEMEL_SCRIPT=$(@SEMEL@ script @NAME@ @OPTIONS@ --do begin --shell "$__semel_shell" --from "${BASH_SOURCE[0]-$0}") || exit $?
export SEMEL_SCRIPT
__semel_count=0
__semel_run=${SEMEL_SCRIPT#*:}
__semel_state=${SEMEL_SCRIPT#*:*:*:*:}/.semel/staging/${__semel_run%%:*}/shell
# Does a task of this script. A function runs in a fresh bash, which gets what this one
# has: behind `||` and `if` a failure in it would not stop it here.
step() {
  # Of a script that traces what it does, `step ...` is what it wrote itself.
  { local -; set +x; } 2> /dev/null
  local __semel_at=1 __semel_word='' __semel_check='' __semel_rc=0 __semel_file
  while (( __semel_at <= $# )); do
    case ${!__semel_at} in
      --) (( __semel_at += 1 )); __semel_word=${!__semel_at-}; break ;;
      --check | --check=*) __semel_check=1 ;;
    esac
    (( __semel_at += 1 ))
  done
  if [[ $__semel_check ]] || declare -F -- "$__semel_word" > /dev/null; then
    __semel_file=$__semel_state/$BASHPID.$(( __semel_count += 1 ))
    { shopt -p; declare -p; declare -f; } 2> /dev/null >| "$__semel_file" || :
    set -- --state "$__semel_file" "$@"
  fi
  SEMEL_LINE=${BASH_SOURCE[1]-}:${BASH_LINENO[0]-} @SEMEL@ step "$@" || __semel_rc=$?
  # What semel relies on is broken: nothing that follows would be guarded.
  (( __semel_rc != 105 )) || exit 105
  return "$__semel_rc"
}
# The script's own EXIT traps, this one and later ones, go before the end of the run.
eval "__semel_words=($(builtin trap -p EXIT))"
__semel_trap=${__semel_words[2]-}
trap() {
  { local -; set +x; } 2> /dev/null
  local __semel_action __semel_signal __semel_others=()
  if [[ $BASHPID != "$__semel_shell" || ${1-} == -[lpP]* ]]; then
    builtin trap "$@"
    return
  fi
  if [[ ${1-} == -- ]]; then shift; fi
  if (( $# < 2 )); then set -- - "$@"; fi
  __semel_action=$1
  shift
  for __semel_signal; do
    case $__semel_signal in
      EXIT | exit | SIGEXIT | 0) if [[ $__semel_action == - ]]; then __semel_trap=; else __semel_trap=$__semel_action; fi ;;
      *) __semel_others+=("$__semel_signal") ;;
    esac
  done
  if (( ${#__semel_others[@]} )); then builtin trap -- "$__semel_action" "${__semel_others[@]}"; fi
}
__semel_exit() {
  { __semel_status=$?; __semel_flags=$-; set +ex; } 2> /dev/null
  if [[ $__semel_trap ]]; then
    @SEMEL@ script @NAME@ --do ending --status "$__semel_status"
    eval '{ if [[ $__semel_flags == *x* ]]; then set -x; fi; (exit "$__semel_status"); } 2> /dev/null
    '"$__semel_trap"
    { set +x; } 2> /dev/null
  fi
  @SEMEL@ script @NAME@ @OPTIONS@ --do end --status "$__semel_status"
  exit $?
}
builtin trap __semel_exit EXIT
