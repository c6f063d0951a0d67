#!/bin/bash
# The long proof: `make soak`. For MINUTES (default 20) in the built tree TRAM_BUILD:
#
#   first   the models in their large worlds (6 GB of memory at most), every stepping test with
#           every state checked, 10,000 killed ephemeral nodes, 2,000 restarts of the machine on a
#           disk, 1,000 processes, 10,000 channels, 100,000 clusters in virtual time (SIM_WORLDS
#           of them, from SIM_SEED on),
#           and wake-ups by the hundred thousand
#   then    kill storms of ever new worlds in one process group and wake-ups in another, until the
#           time is over
#
# SEED=N begins the storms with that seed. Exit code 0: nothing was found. What failed says how to
# run it again; its output, and the seeds, are in TRAM_BUILD/soak/.

set -u
cd "$(dirname "$0")/.." || exit
build=${TRAM_BUILD:-build}
minutes=${MINUTES:-20}
seed=${SEED:-$((RANDOM * 32768 + RANDOM))000}
tests=$build/tests
logs=$build/soak
end=$((SECONDS + minutes * 60))
failed=0
export TRAM_TIME_SCALE=${TRAM_TIME_SCALE:-20}

mkdir -p "$logs"
rm -f "$logs"/*.log

# run NAME COMMAND…: says how it went; the last line that it printed sums it up.
run()
{
    local name=$1 began=$SECONDS
    shift
    if "$@" >"$logs/$name.log" 2>&1; then
        echo "ok     $name, $((SECONDS - began)) s: $(tail -n 1 "$logs/$name.log")"
    else
        echo "FAILED $name, $((SECONDS - began)) s: $*"
        tail -n 40 "$logs/$name.log"
        return 1
    fi
}

sleeps()
{
    sed -n 's/.* \([0-9]*\) sleeps.*/\1/p' "$logs"/wake*.log | awk '{ n += $1 } END { print n + 0 }'
}

# A storm of the bindings, with 3000 kills.
bindings()
{
    TRAM_SRC=$PWD TRAM_BUILD=$(realpath "$build") STORM_SEED=$seed STORM_KILLS=3000 \
        bash tests/private_bus.sh python3 "tests/$1"
}

# Three hosts in network namespaces, FAULTS faults (3000) of each of three seeds.
hosts_storm()
{
    local i
    for i in 0 1 2; do
        TRAM_TIME_SCALE=4 TRAM_SRC=$PWD TRAM_BUILD=$(realpath "$build") \
            STORM_SEED=$((seed + i)) STORM_FAULTS=${FAULTS:-3000} \
            bash tests/private_bus.sh python3 tests/hosts_storm_test.py || return 1
    done
}

# The same hosts: how soon traffic is back after 100 cuts, what a message costs while a link flaps,
# what a daemon does beside a dead one.
hosts_kinds()
{
    local kind
    for kind in cuts flaps rest; do
        TRAM_SRC=$PWD TRAM_BUILD=$(realpath "$build") STORM_SEED=$seed STORM_FAULTS=100 \
            STORM_KIND=$kind bash tests/private_bus.sh python3 tests/hosts_storm_test.py || return 1
    done
}

# Hosts that lose their memory; nodes that are opened as their bus becomes that of a host.
hosts_lost()
{
    TRAM_SRC=$PWD TRAM_BUILD=$(realpath "$build") TRAM_BIN=$(realpath "$build")/bin/tram \
        TRAM_TIME_SCALE=4 LOST_SEED=$seed LOST_ROUNDS=60 LOST_OPENS=200 \
        bash tests/private_bus.sh python3 tests/hosts_lost_test.py
}

# Receivers that move while what waits for them lies where they were, and maybe nowhere else.
hosts_copies()
{
    TRAM_SRC=$PWD TRAM_BUILD=$(realpath "$build") TRAM_BIN=$(realpath "$build")/bin/tram \
        TRAM_TIME_SCALE=4 COPIES_SEED=$seed COPIES_ROUNDS=200 \
        bash tests/private_bus.sh python3 tests/hosts_copies_test.py
}

# 1,000 processes, 39,800 channels of 200 nodes, 10,000 of one.
scale()
{
    TRAM_SRC=$PWD TRAM_BUILD=$(realpath "$build") SCALE=full \
        bash tests/private_bus.sh python3 tests/scale_test.py
}

echo "soak of $minutes minutes, storms from seed $seed"
run model python3 tests/model_test.py --soak || failed=1
LITMUS_ROUNDS=2000000 run litmus "$tests/litmus_test" || failed=1
STEP_EVERY=1 run step "$tests/step_test" || failed=1
STEP_EVERY=1 run step_recv "$tests/step_recv_test" || failed=1
run bell "$tests/bell_test" || failed=1
FAULT_ALL=1 run fault_send "$tests/fault_send_test" || failed=1
FAULT_ALL=1 run fault_recv "$tests/fault_recv_test" || failed=1
FAULT_ALL=1 run fault_disk "$tests/fault_disk_test" || failed=1
EPHEMERAL_KILLS=10000 run ephemeral "$tests/ephemeral_test" killed_by_the_hundreds || failed=1
DISK_SEED=$seed DISK_ROUNDS=1000 run disk "$tests/disk_test" "pages_*" || failed=1
DISK_SEED=$seed DISK_ROUNDS=1000 run power "$tests/power_test" "durable_*" || failed=1
if [ -x "$tests/service_storm_test" ]; then
    SERVICE_STORM_SEED=$seed SERVICE_STORM_SECONDS=${SERVICE_SECONDS:-120} \
        run service_storm "$tests/service_storm_test" || failed=1
fi
if [ -x "$tests/service_events_death_test" ]; then
    LITMUS_ROUNDS=2000000 run events_litmus "$tests/service_litmus_test" || failed=1
    TRAM_STORM_SEED=$seed TRAM_STORM_SECONDS=${EVENTS_SECONDS:-60} \
        run events_storm "$tests/service_events_death_test" kill_storm || failed=1
    TRAM_FLOOD_SECONDS=10 run events_flood "$tests/service_events_flood_test" || failed=1
fi
SIM=${SIM_WORLDS:-100000}
run sim "$tests/sim" --seed "${SIM_SEED:-$seed}" --count "$SIM" || failed=1
run sim_bugs "$tests/sim" --bugs --first --count 3000 || failed=1
run storm_on_disk "$tests/storm_prog" --seed "$seed" --seconds 30 --on "$build" || failed=1
run scale scale || failed=1
run stand_storm env STAND_KILLS=6000 TRAM_TIME_SCALE=4 "$tests/stand_storm_test" || failed=1
run hosts_storm hosts_storm || failed=1
run hosts_kinds hosts_kinds || failed=1
run hosts_lost hosts_lost || failed=1
run hosts_copies hosts_copies || failed=1
RELAY_STEPS=300 run relay "$tests/service_relay_test" daemons_die_and_nothing_is_lost || failed=1
run cpp_storm bindings cpp_storm_test.py || failed=1
run python_storm bindings python_storm_test.py || failed=1
STOPS_SEED=$seed STOPS_ROUNDS=100 run stops "$tests/stops_test" || failed=1
STOPS_SEED=$seed run clock "$tests/clock_test" || failed=1
HOSTILE_EVERY=1 run hostile_words "$tests/hostile_words_test" || failed=1
HOSTILE_MS=4000 run hostile_files "$tests/hostile_files_test" || failed=1
HOSTILE_MANY=5 run hostile_limits "$tests/hostile_limits_test" || failed=1
if command -v clang >/dev/null; then
    SECONDS_EACH=60 run fuzz tools/fuzz.sh || failed=1
fi
WAKE_SECONDS=600 WAKE_ROUNDS=100000 run wake "$tests/wake_test" || failed=1

if [ $failed -eq 0 ]; then
    left=$((end - SECONDS))
    [ $left -lt 10 ] && left=10
    run storm "$tests/storm_prog" --seed "$seed" --seconds "$left" &
    storm=$!
    round=0
    while kill -0 $storm 2>/dev/null && [ $SECONDS -lt $end ]; do
        round=$((round + 1))
        WAKE_SECONDS=600 WAKE_ROUNDS=50000 run "wake-$round" "$tests/wake_test" >"$logs/last" || {
            failed=1
            cat "$logs/last"
            break
        }
    done
    wait $storm || failed=1
    echo "$(sleeps) sleeps, each timed, in $((round + 1)) rounds"
fi
[ $failed -eq 0 ] && echo "nothing found in $((SECONDS / 60)) minutes"
exit $failed
