#!/usr/bin/env bash
# Stands for the database: `migrate.sh up RELEASE` changes its schema; done twice, it
# stands in db/applied twice. `migrate.sh status RELEASE` says whether it was done.
set -euo pipefail
db=${0%/*}/../db
case $1 in
  up)
    mkdir -p "$db"
    echo "$2" >> "$db/applied"
    ;;
  status)
    if [ -e "$db/applied" ] && grep -qxF "$2" "$db/applied"; then echo applied; else echo pending; fi
    ;;
esac
