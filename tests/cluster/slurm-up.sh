#!/usr/bin/env bash
# slurm-up.sh [-n NODES] [-c CPUS_PER_NODE] [-m MB_PER_NODE] [--acct] [--affinity] [--no-shrink] [--ports] [--no-mpi]
#
# Brings up a real Slurm on this one machine for the tests: Debian's packages, one controller, and NODES node daemons.
# Each node has its own network and host name (sn1, sn2, ...), so that jobs, steps and node failures are the real thing;
# only the cores and the memory are this machine's, shared by all nodes (and may be promised several times over).
#
#   -n 4          nodes
#   -c 4          CPUs that each node claims
#   -m 2000       megabytes that each node claims
#   --acct        accounting too (mariadb, slurmdbd): sacct answers, and sbatch refuses unknown accounts
#   --affinity    steps are really bound to cores; then -c must not exceed the machine's cores (-c 2)
#   --no-shrink   disable_job_shrink: jobs may not give nodes back
#   --ports       nodes without networks of their own, told apart by port; for machines that forbid namespaces
#   --no-mpi      leave out the packages for MPI
#
# Needs root and Debian. Partitions: debug (default, up to 30 minutes) and batch (up to 2 days). Users: root, and alice,
# who is made if she is not there; with --acct both belong to the account lab. State, logs and process ids are under
# /var/lib/slurm-test ($SLURM_TEST_RUN). A cluster that is up in the same shape is left alone; one of another shape
# is stopped first. slurm-down.sh stops it, slurm-node.sh lets a node fail. A minute on a fresh machine, then seconds.
set -euo pipefail

nodes=4 cpus=4 memory_mb=2000 accounting=0 mode=netns mpi=1 binding=none shrink=1
while [ $# -gt 0 ]; do
  case $1 in
    -n) nodes=$2 && shift ;;
    -c) cpus=$2 && shift ;;
    -m) memory_mb=$2 && shift ;;
    --acct) accounting=1 ;;
    --affinity) binding=affinity ;;
    --no-shrink) shrink=0 ;;
    --ports) mode=ports ;;
    --no-mpi) mpi=0 ;;
    *)
      echo "slurm-up: unknown argument $1; the head of $0 lists them" >&2
      exit 2
      ;;
  esac
  shift
done
[ "$(id -u)" = 0 ] || { echo "slurm-up: must be root" >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
run=${SLURM_TEST_RUN:-/var/lib/slurm-test}
network=10.78.0 bridge=slurmbr0 first_port=27000
host=$(hostname -s)
shape="$nodes $cpus $memory_mb $accounting $mode $binding"
[ $shrink = 1 ] || shape+=" no-shrink"

say() { echo "[slurm-up ${SECONDS}s] $*"; }

# How often a command is tried until it succeeds, ten times a second.
within() {
  local tries=$1 try
  shift
  for ((try = 0; try < tries; try++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  return 1
}

install_packages() {
  local packages=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge iproute2 procps)
  [ $mpi = 0 ] || packages+=(libpmix2 openmpi-bin mpich libpmi0 libpmi2-0)
  [ $accounting = 0 ] || packages+=(slurmdbd slurm-wlm-mysql-plugin mariadb-server)
  "$here/install.sh" "${packages[@]}"
  # Slurm opens the name without a version, which only the development package has
  local library
  for library in /usr/lib/*/pmix2/lib/libpmix.so.2; do
    if [ -e "$library" ] && [ ! -e "${library%.2}" ]; then ln -s libpmix.so.2 "${library%.2}"; fi
  done
}

is_up() {
  [ -e "$run/shape" ] && [ "$(cat "$run/shape")" = "$shape" ] && scontrol ping 2>/dev/null | grep -q UP &&
    [ "$(sinfo -h -N -p batch -o %T 2>/dev/null | grep -cE '^(idle|mixed|allocated|completing)$')" -ge "$nodes" ]
}

make_folders() {
  mkdir -p /etc/slurm "$run"/{state,log,spool,tmp}
  chmod 755 "$run"
  rm -rf "$run"/state/* "$run"/spool/*
  : >"$run/log/jobcomp.log"
  : >"$run/log/slurmctld.log"
  chown -R slurm: "$run/state" "$run/log"
  local i
  for ((i = 1; i <= nodes; i++)); do
    # MPI files are named by job and step alone: nodes must not share the folder
    mkdir -p "$run/spool/sn$i" "$run/tmp/sn$i"
    chmod 1777 "$run/tmp/sn$i"
  done
}

start_munge() {
  # shellcheck disable=SC2016 # the pipe is run by the inner shell
  if timeout 5 bash -c 'munge -n </dev/null | unmunge' >/dev/null 2>&1; then return; fi
  if [ ! -s /etc/munge/munge.key ]; then
    dd if=/dev/urandom of=/etc/munge/munge.key bs=128 count=1 status=none
    chown munge: /etc/munge/munge.key
    chmod 400 /etc/munge/munge.key
  fi
  mkdir -p /run/munge /var/log/munge /var/lib/munge
  chown munge: /run/munge /var/log/munge /var/lib/munge
  chmod 755 /run/munge
  setpriv --reuid munge --regid munge --clear-groups /usr/sbin/munged --force
  cp /run/munge/munged.pid "$run/munged.pid"
}

# One bridge, and for each node a network namespace that is plugged into it.
make_network() {
  local i
  ip link show $bridge >/dev/null 2>&1 || ip link add $bridge type bridge
  ip addr replace $network.1/24 dev $bridge
  ip link set $bridge up
  sed '/# slurm-test$/d' /etc/hosts >"$run/hosts.new"
  for ((i = 1; i <= nodes; i++)); do echo "$network.$((10 + i)) sn$i # slurm-test"; done >>"$run/hosts.new"
  echo "$network.1 slurmhead # slurm-test" >>"$run/hosts.new"
  cat "$run/hosts.new" >/etc/hosts # in place: it may be a mount of its own
  for ((i = 1; i <= nodes; i++)); do
    ip netns list | grep -qw "slurm-sn$i" || ip netns add "slurm-sn$i"
    if ! ip netns exec "slurm-sn$i" ip link show eth0 >/dev/null 2>&1; then
      ip link add "slv$i" type veth peer name eth0 netns "slurm-sn$i"
      ip link set "slv$i" master $bridge up
      ip -n "slurm-sn$i" addr add "$network.$((10 + i))/24" dev eth0
      ip -n "slurm-sn$i" link set eth0 up
      ip -n "slurm-sn$i" link set lo up
      ip -n "slurm-sn$i" route add default via $network.1
    fi
  done
}

# Job ids never come again, because the accounting database outlives the controller's state.
next_job_id() {
  local first=$(($(cat "$run/firstjobid" 2>/dev/null || echo 0) + 1000))
  echo $first | tee "$run/firstjobid"
}

write_config() {
  local address=$1 i where parameters
  parameters="bf_interval=2,sched_interval=5,batch_sched_delay=1,sched_min_interval=100000"
  [ $shrink = 1 ] || parameters+=",disable_job_shrink"
  cat <<END
# slurm-test: generated by slurm-up.sh for $shape
ClusterName=lab
SlurmctldHost=$host($address)
SlurmUser=slurm
AuthType=auth/munge
CredType=cred/munge
AuthInfo=cred_expire=10
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/$binding
ReturnToService=2
SlurmctldPidFile=$run/slurmctld.pid
SlurmdPidFile=$run/slurmd.%n.pid
SlurmdSpoolDir=$run/spool/%n
TmpFS=$run/tmp/%n
StateSaveLocation=$run/state
SlurmctldLogFile=$run/log/slurmctld.log
SlurmdLogFile=$run/log/slurmd.%n.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=$((memory_mb / cpus))
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=$parameters
PropagateResourceLimits=NONE
SlurmdTimeout=20
SlurmctldTimeout=20
KillWait=5
MinJobAge=600
InactiveLimit=0
JobRequeue=1
FirstJobId=$(next_job_id)
JobCompType=jobcomp/filetxt
JobCompLoc=$run/log/jobcomp.log
END
  if [ $accounting = 1 ]; then
    cat <<END
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=$address
AccountingStorageEnforce=associations,limits,qos
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
END
  else
    echo "AccountingStorageType=accounting_storage/none"
  fi
  for ((i = 1; i <= nodes; i++)); do
    where="NodeHostname=sn$i NodeAddr=127.0.0.1 Port=$((first_port + i))"
    [ $mode = ports ] || where="NodeAddr=$network.$((10 + i))"
    echo "NodeName=sn$i $where CPUs=$cpus RealMemory=$memory_mb State=UNKNOWN"
  done
  echo "PartitionName=debug Nodes=ALL Default=YES MaxTime=30 DefaultTime=10 State=UP"
  echo "PartitionName=batch Nodes=ALL MaxTime=2-00:00:00 DefaultTime=60 State=UP"
}

start_accounting() {
  local address=$1 data=$run/mysql socket=$run/mysql/my.sock user
  if [ ! -d "$data/mysql" ]; then
    mkdir -p "$data"
    chown mysql: "$data"
    mariadb-install-db --user=mysql --datadir="$data" --skip-test-db --auth-root-authentication-method=socket \
      >"$run/log/mysql-install.log" 2>&1
  fi
  mariadbd --no-defaults --user=mysql --datadir="$data" --socket="$socket" --pid-file="$data/mariadbd.pid" \
    --skip-networking --innodb-buffer-pool-size=64M --innodb-log-file-size=16M \
    --innodb-flush-log-at-trx-commit=0 >"$run/log/mariadb.log" 2>&1 9>&- &
  disown
  within 100 mariadb-admin --no-defaults -S "$socket" ping || { tail -n 5 "$run/log/mariadb.log" >&2; exit 1; }
  mariadb --no-defaults -S "$socket" <<END
create database if not exists slurm_acct_db;
create user if not exists slurm@localhost identified by 'lab';
grant all on slurm_acct_db.* to slurm@localhost;
END
  cat >/etc/slurm/slurmdbd.conf <<END
# slurm-test
AuthType=auth/munge
DbdHost=$host
DbdAddr=$address
SlurmUser=slurm
PidFile=$run/slurmdbd.pid
LogFile=$run/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=lab
StorageLoc=slurm_acct_db
END
  chown slurm: /etc/slurm/slurmdbd.conf
  chmod 600 /etc/slurm/slurmdbd.conf
  # The client library has no other way to be told the socket of "localhost"
  MYSQL_UNIX_PORT=$socket slurmdbd 9>&-
  within 100 sacctmgr -n -i list cluster || true
  # Each is refused when it is there already
  sacctmgr -n -i add cluster lab >/dev/null 2>&1 || true
  sacctmgr -n -i add account lab Description=lab Organization=lab Cluster=lab >/dev/null 2>&1 || true
  for user in root alice; do sacctmgr -n -i add user $user Account=lab Cluster=lab >/dev/null 2>&1 || true; done
}

start_daemons() {
  local i
  slurmctld -c 9>&-
  for ((i = 1; i <= nodes; i++)); do
    if [ $mode = netns ]; then
      # "ip netns exec" would hide /sys/fs/cgroup, and slurmd then refuses to start
      nsenter --net="/run/netns/slurm-sn$i" unshare --uts sh -c "hostname sn$i && exec slurmd -N sn$i" 9>&-
    else
      slurmd -N "sn$i" 9>&-
    fi
  done
  echo "$shape" >"$run/shape"
}

await_nodes() {
  local try idle=0 name
  say "daemons started; waiting for $nodes idle nodes"
  for ((try = 1; try <= 150; try++)); do
    idle=$(sinfo -h -N -p batch -o %T 2>/dev/null | grep -c '^idle$' || true)
    if [ "$idle" -ge "$nodes" ]; then
      say "up: $nodes nodes with $cpus CPUs each ($shape)"
      return
    fi
    if [ $((try % 25)) = 0 ]; then
      for name in $(sinfo -h -N -p batch -o '%N %T' 2>/dev/null | awk '$2 != "idle" {print $1}'); do
        scontrol update NodeName="$name" State=RESUME 2>/dev/null || true
      done
    fi
    sleep 0.2
  done
  say "only $idle of $nodes nodes are idle"
  tail -n 5 "$run"/log/*.log
  exit 1
}

mkdir -p "$run"
exec 9>"$run/lock" # daemons close it, or they would hold it for ever
flock 9
install_packages
if is_up; then
  say "already up ($shape)"
  exit 0
fi
[ ! -e "$run/shape" ] || "$here/slurm-down.sh" >/dev/null
if [ -e /etc/slurm/slurm.conf ] && ! grep -q '^# slurm-test' /etc/slurm/slurm.conf; then
  echo "slurm-up: /etc/slurm/slurm.conf belongs to another Slurm and is left alone" >&2
  exit 1
fi
id alice >/dev/null 2>&1 || useradd -m -s /bin/bash alice
make_folders
start_munge 9>&-
address=127.0.0.1
if [ $mode = netns ]; then
  address=$network.1
  make_network
fi
write_config $address >/etc/slurm/slurm.conf
echo "# slurm-test: no cgroups" >/etc/slurm/cgroup.conf
[ $accounting = 0 ] || start_accounting $address
start_daemons
await_nodes
