#!/usr/bin/env bash
# Stands for ssh: `ssh.sh HOST COMMAND` runs a command on a server, which is a folder
# here. Each call leaves a line in `touched`.
set -euo pipefail
host=$1
shift
home=${0%/*}/../servers/$host
[ -d "$home/tmp" ] || mkdir -p "$home/tmp"
cd "$home"
printf '%s\n' "$*" >> touched

# What every server has: a switch at the load balancer, and a service, which is down if it
# does not start.
lb() {
  case $1 in
    drain) : > drained ;;
    undrain) rm -f drained ;;
  esac
}
systemctl() {
  (. ./current/app) > running 2> log || rm -f running
}

eval "$*"
