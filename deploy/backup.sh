#!/bin/sh
# Copy what a service keeps to a new folder, also while it runs: deploy/backup.sh HOME TARGET
#
# Collections and label sets first, each as it was at one moment; then the pictures that stand for their rows. What is
# left out can be made again (indexes) or begun again (jobs).
set -eu
[ $# -eq 2 ] || { echo "usage: $0 HOME TARGET" >&2; exit 2; }
home=$1 target=$2 failed=0
umask 077
mkdir "$target" || exit 2
mkdir "$target/collections" "$target/labels"
for store in "$home"/collections/*.anmok "$home"/labels/*.anmok; do
  [ -d "$store" ] || continue
  anmok store backup "$store" "$target/${store#"$home"/}" || failed=1
done
for rest in recognisers keys.json; do
  [ ! -e "$home/$rest" ] || cp -a "$home/$rest" "$target/" || failed=1
done
# 1: a file went away while it was read, as they do in use
tar -C "$home" --exclude='.*.tmp' --warning=no-file-removed -cf "$target/uploads.tar" uploads ||
  [ $? -eq 1 ] || failed=1
exit "$failed"
