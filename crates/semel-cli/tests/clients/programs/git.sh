#!/bin/sh
# git over HTTP: a GET, then POSTs. Its URL is that of a repository; there is no order.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git clone --quiet "$1" "$folder/clone" || exit 1
git -C "$folder/clone" log --format=%s
