#!/usr/bin/env bash
# install.sh PACKAGE...
#
# Installs those Debian packages that are missing, quietly, and keeps them from starting daemons of their own.
# Does nothing when all are there. Needs root otherwise. Used by slurm-up.sh and by tests that need a tool.
set -euo pipefail

what_is_missing() {
  missing=()
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
}

what_is_missing "$@"
[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || { echo "install.sh: must be root to install ${missing[*]}" >&2; exit 2; }

# Tests that run side by side wait for each other here. Nothing that a package starts may keep the lock.
exec 9>/var/lock/hpcsearch-install
flock 9
what_is_missing "$@"
[ ${#missing[@]} -gt 0 ] || exit 0

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
cleanup=("$log")
trap 'rm -f "${cleanup[@]}"' EXIT
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod +x $policy
  cleanup+=("$policy")
fi
echo "install.sh: installing ${missing[*]}"
apt-get update -qq >"$log" 2>&1 9>&- || true # the lists may be good enough without it
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >>"$log" 2>&1 9>&- || {
  tail -n 20 "$log" >&2
  exit 1
}
