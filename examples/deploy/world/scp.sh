#!/usr/bin/env bash
# Stands for scp: `scp.sh FILE HOST` copies a file into a server's `tmp`.
set -euo pipefail
"${0%/*}/ssh.sh" "$2" "cat > tmp/${1##*/}" < "$1"
