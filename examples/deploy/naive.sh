#!/usr/bin/env bash
# A deploy as people have it today: `./naive.sh 1.42.0`. It works, until the day on which
# it is cut short at the fiftieth server and somebody types it again.
set -euo pipefail
cd "$(dirname "$0")"
REL=$1
./world.sh up                                   # the servers of this example

mkdir -p build
cp "bucket/app-$REL.tgz" "bucket/app-$REL.tgz.sha256" build/                      #  1
(cd build && sha256sum --quiet -c "app-$REL.tgz.sha256")                          #  2
world/say.sh "deploy of $REL begins"                                              #  3
world/migrate.sh up "$REL"                                                        #  4
for h in $(cat hosts.txt); do
  world/scp.sh "build/app-$REL.tgz" "$h"                                          #  5
  world/ssh.sh "$h" "mkdir -p $REL && tar xzf tmp/app-$REL.tgz -C $REL"           #  6
  world/ssh.sh "$h" "lb drain"                                                    #  7
  world/ssh.sh "$h" "ln -sfn $REL current && systemctl restart app"               #  8
  world/health.sh "$h" "$REL" 2                                                   #  9
  world/ssh.sh "$h" "lb undrain"                                                  # 10
done
world/purge.sh > "build/purged-$REL.txt"                                          # 11
world/say.sh "$REL is live"                                                       # 12
