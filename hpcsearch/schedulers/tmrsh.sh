#!/bin/sh
# A remote shell for mpiexec on nodes that PBS reaches and ssh does not: [options] HOST COMMAND...
# pbs_tmrsh itself starts no shell there, and knows none of rsh's and ssh's options.
while :; do
  case $1 in
    -l | -p | -o | -F | -i) shift 2 ;;
    -*) shift ;;
    *) break ;;
  esac
done
host=$1
shift
exec pbs_tmrsh "$host" /bin/sh -c "$*"
