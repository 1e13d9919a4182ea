#!/usr/bin/env bash
# slurm-node.sh crash|start N
#
# Lets node snN of the cluster of slurm-up.sh fail, and brings it back. "crash" kills the node's daemon and all that
# runs in the node, at once and without a word to anybody, as a power cut does; Slurm notices after 20 s. Needs root,
# and nodes with networks of their own (not --ports).
set -euo pipefail

run=${SLURM_TEST_RUN:-/var/lib/slurm-test}
action=${1:-} number=${2:-}
if ! [[ $number =~ ^[0-9]+$ ]] || [ ! -e "/run/netns/slurm-sn$number" ]; then
  echo "slurm-node: usage: slurm-node.sh crash|start N, where snN is a node of the cluster" >&2
  exit 2
fi
case $action in
  crash)
    ip netns pids "slurm-sn$number" | xargs --no-run-if-empty kill -9 || true # some may be gone by then
    rm -f "$run/slurmd.sn$number.pid"
    ;;
  start) nsenter --net="/run/netns/slurm-sn$number" unshare --uts sh -c "hostname sn$number && exec slurmd -N sn$number" ;;
  *)
    echo "slurm-node: $action is neither crash nor start" >&2
    exit 2
    ;;
esac
