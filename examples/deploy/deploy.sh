#!/usr/bin/env bash
# The same deploy, safe to type again: `./deploy.sh 1.42.0`. A guard stands before what
# must not be done twice, and one before the six lines that a server is brought up with.
set -euo pipefail
cd "$(dirname "$0")"
REL=$1
eval "$(semel script rollout || echo exit 105)"
per=(--per "release=$REL")      # each release has its own receipts, and its own once
./world.sh up                                   # the servers of this example

step fetch "${per[@]}" --in "bucket/app-$REL.tgz" --out "build/app-$REL.tgz" \
  -- cp '{{ in }}' '{{ out }}'                                                    #  1
(cd build && sha256sum --quiet -c "../bucket/app-$REL.tgz.sha256")                #  2
step begins "${per[@]}" --once -- world/say.sh "deploy of $REL begins"            #  3
step migrate "${per[@]}" --once \
  --check "world/migrate.sh status $REL" --equals applied \
  -- world/migrate.sh up "$REL"                                                   #  4

# One server, from its copy to its visitors. Cut short, it is begun again from its copy:
# each line can be repeated.
bring_up() {
  world/scp.sh "build/app-$REL.tgz" "$1"                                          #  5
  world/ssh.sh "$1" "mkdir -p $REL && tar xzf tmp/app-$REL.tgz -C $REL"           #  6
  world/ssh.sh "$1" "lb drain"                                                    #  7
  world/ssh.sh "$1" "ln -sfn $REL current && systemctl restart app"               #  8
  world/health.sh "$1" "$REL" 2                                                   #  9
  world/ssh.sh "$1" "lb undrain"                                                  # 10
}
for h in $(cat hosts.txt); do
  step server "${per[@]}" --item "$h" --in "build/app-$REL.tgz" -- bring_up "$h"
done

step purge "${per[@]}" --stdout "build/purged-$REL.txt" -- world/purge.sh         # 11
step live "${per[@]}" --once -- world/say.sh "$REL is live"                       # 12
