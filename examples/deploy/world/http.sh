# For the other scripts here: `ask METHOD PATH` sets `status` and `body`. It fails where
# nobody answers.
ask() {
  local port line
  status='' body=''
  { read -r port < "${BASH_SOURCE[0]%/*}/../run/port"; } 2> /dev/null || return
  { exec 3<> "/dev/tcp/127.0.0.1/$port"; } 2> /dev/null || return
  printf '%s %s HTTP/1.1\r\nHost: world\r\nConnection: close\r\n\r\n' "$1" "$2" >&3
  read -r _ status _ <&3 || return
  while read -r line <&3 && [ "$line" != $'\r' ]; do :; done
  IFS= read -r -d '' body <&3 || :
  body=${body%$'\n'}
  exec 3>&-
}
