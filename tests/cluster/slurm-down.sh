#!/usr/bin/env bash
# slurm-down.sh [--munge]
#
# Stops the Slurm that slurm-up.sh started, and nothing else: the daemons of its pid files, what runs in its nodes'
# networks, the networks, its lines in /etc/hosts and its files in /etc/slurm. Packages, the user alice and the
# accounting database stay. munged stays too, since another Slurm may use it, unless --munge is given.
set -uo pipefail

run=${SLURM_TEST_RUN:-/var/lib/slurm-test} bridge=slurmbr0
[ -d "$run" ] || { echo "slurm-down: there is no cluster at $run"; exit 0; }

# A zombie counts as gone: the first process of a container may never collect it.
alive() { [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# stop PIDFILE COMMAND: ends the process if it is still that command
stop() {
  local pid try
  [ -s "$1" ] || return 0
  pid=$(cat "$1")
  rm -f "$1"
  case $(cat "/proc/$pid/comm" 2>/dev/null) in
    "$2"*) ;;
    *) return 0 ;;
  esac
  kill "$pid" 2>/dev/null
  for ((try = 0; try < 100; try++)); do
    alive "$pid" || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null
}

# Jobs are cancelled first, so that nothing of theirs outlives the daemons
if timeout 3 scontrol ping 2>/dev/null | grep -q ' UP'; then
  timeout 5 scancel -p debug --quiet
  timeout 5 scancel -p batch --quiet
  for ((try = 0; try < 15; try++)); do
    [ -n "$(timeout 3 squeue -h 2>/dev/null)" ] || break
    sleep 0.2
  done
fi
for file in "$run"/slurmd.*.pid; do stop "$file" slurmd & done
wait
stop "$run/slurmctld.pid" slurmctld
stop "$run/slurmdbd.pid" slurmdbd
stop "$run/mysql/mariadbd.pid" mariadbd
[ "${1:-}" != --munge ] || stop "$run/munged.pid" munged

for name in $(ip netns list 2>/dev/null | awk '/^slurm-sn/ {print $1}'); do
  for pid in $(ip netns pids "$name" 2>/dev/null); do kill -9 "$pid" 2>/dev/null; done
  ip netns del "$name"
done
ip link del $bridge 2>/dev/null
for link in $(ip -br link 2>/dev/null | awk '/^slv[0-9]+/ {sub(/@.*/, "", $1); print $1}'); do
  ip link del "$link" 2>/dev/null
done
if grep -q '# slurm-test$' /etc/hosts; then
  sed '/# slurm-test$/d' /etc/hosts >"$run/hosts.new" && cat "$run/hosts.new" >/etc/hosts
fi
for file in slurm.conf cgroup.conf slurmdbd.conf; do
  if head -n 1 "/etc/slurm/$file" 2>/dev/null | grep -q '^# slurm-test'; then rm -f "/etc/slurm/$file"; fi
done
rm -f "$run/shape"
echo "slurm-down: the cluster is stopped"
