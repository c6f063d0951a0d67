#!/bin/bash
# Runs a test script with a bus of its own: TRAM_DIR is a fresh private directory on tmpfs. At the
# end the directory is removed, and what the script left running in its process group is killed.
#
#     tests/private_bus.sh COMMAND [ARG…]

set -u
dir=$(mktemp -d /dev/shm/tram-test-XXXXXX) || exit 1
export TRAM_DIR=$dir

set -m # the job below is a process group of its own
"$@" </dev/null &
job=$!
trap 'kill -KILL -- -"$job" 2>/dev/null; rm -rf -- "$dir"' EXIT
trap 'exit 143' TERM INT HUP
wait "$job"
