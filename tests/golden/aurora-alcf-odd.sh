#!/bin/bash
#PBS -N poly
#PBS -q debug
#PBS -A lab
#PBS -l select=1
#PBS -l walltime=0:30:00
#PBS -S /bin/bash
#PBS -r n
#PBS -k doe
#PBS -o '/scratch/her 100%/poly/allocations/1/stdout'
#PBS -e '/scratch/her 100%/poly/allocations/1/stderr'
#PBS -l place=scatter
#PBS -l filesystems=home:flare

# Allocation 1 of workflow 'it'"'"'s 100% $HOME' on site aurora.

# HOSTNAME may come from the machine that submitted.
read -r host </proc/sys/kernel/hostname
printf -v HPCSEARCH_DEADLINE '%(%s)T' -1
HPCSEARCH_DEADLINE=$((HPCSEARCH_DEADLINE + 1800))
export HPCSEARCH_DEADLINE
export HPCSEARCH_SCHEDULER=pbs
HPCSEARCH_SCHEDULER_ID=$PBS_JOBID
# Tells submitit's helpers where they are, without handing the job to its runner.
export SUBMITIT_EXECUTOR=pbs
# A job begins with little on its PATH: what its submitter could call comes after that, PBS's own commands too.
export PATH="$PATH${PBS_O_PATH:+:$PBS_O_PATH}"
while IFS='=' read -r name value; do
  if [ "$name" = PBS_EXEC ]; then PATH="$PATH:$value/bin"; fi
done 2>/dev/null <"${PBS_CONF_FILE:-/etc/pbs.conf}"
export HPCSEARCH_SCHEDULER_ID

python=/opt/python/bin/python3
directory='/scratch/her 100%/poly'
folder='/scratch/her 100%/poly/allocations/1'
driver=0
signals=''

# Whoever starts in the background ignores INT, so the driver hears TERM instead.
# shellcheck disable=SC2317
hear() {
  signals="$signals $1"
  if [ "$driver" -gt 0 ]; then kill -s "$1" "$driver" 2>/dev/null; fi
}
trap 'hear TERM' TERM INT
trap 'hear USR1' USR1

export ZE_FLAT_DEVICE_HIERARCHY=FLAT

set -u
cd '/a b/`c`' || {
  echo "hpcsearch: the working directory is not there on $host" >&2
  exit 3
}
if ! command -v -- "$python" >/dev/null; then
  echo "hpcsearch: no Python at $python on $host; is its file system mounted there, and does the environment still exist?" >&2
  exit 3
fi

# A trap ends wait early: wait again until no signal came, and keep the status that the driver left.
await_driver() {
  local seen now
  status=127
  while :; do
    seen=$signals
    wait "$driver"
    now=$?
    if [ "$now" -ne 127 ]; then status=$now; fi
    if [ "$seen" = "$signals" ]; then return; fi
  done
}

restarts=0
while :; do
  "$python" -P -m hpcsearch.allocation "$directory" 1 &
  driver=$!
  # A signal that came before the driver was there
  if [ -n "$signals" ]; then kill -s TERM "$driver" 2>/dev/null; fi
  await_driver
  driver=0
  # Dead is a driver that a signal or an error of its own (70) ended; whoever was told to end is not started again.
  if [ -n "$signals" ] || { [ "$status" -lt 128 ] && [ "$status" -ne 70 ]; }; then break; fi
  if [ "$restarts" -ge 3 ]; then
    echo "hpcsearch: the driver died again (status $status); given up after $restarts restarts" >&2
    break
  fi
  restarts=$((restarts + 1))
  echo "hpcsearch: the driver died (status $status); starting it again ($restarts of 3)" >&2
done

echo "$status" >"$folder/exit_status"
exit "$status"
