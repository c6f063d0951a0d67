#!/bin/bash
# The third act of the demo: three hosts, network namespaces with a cable each to one switch. A file
# goes round and round, from each host to the next, while daemons are killed with -9 and cables are
# pulled out, at random moments. Then: each copy is what was sent, every message came once, in
# order, and none was marked as if it might have come before, for nobody died who had one in hand.
# Needs no rights: user namespaces; where the kernel has none for us it says so, and that is all.
#
#     demo/hosts.sh       SECONDS_LONG=N for another length, SEED=N for the same dice again;
#                         SPOIL=1: a byte of a copy is changed, which is found

set -u
export LC_ALL=C
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${TRAM_BUILD:-build}/bin
[[ $bin == /* ]] || bin=$root/$bin
length=${SECONDS_LONG:-12}
scale=${TRAM_TIME_SCALE:-1}
size=4096 # of a message
hosts=(alpha beta gamma)

say() {
    ((${terminal:-0})) && printf '\n'
    printf 'demo: %s\n' "$*" >&2
}

# --- a network of our own -------------------------------------------------------------------------

if [[ -z ${TRAM_DEMO_NETWORK:-} ]]; then
    no_act() {
        printf 'hosts   no third act: %s\n' "$*"
        exit 0
    }
    [[ -x $bin/tramd && -x $bin/tram ]] || no_act "built without services"
    for tool in ip nsenter unshare; do
        command -v $tool >/dev/null || no_act "there is no '$tool' (iproute2, util-linux)"
    done
    wanted=(--net --mount)
    ((EUID == 0)) || wanted=(--user --map-root-user "${wanted[@]}")
    why=$(unshare "${wanted[@]}" ip link add demo0 type bridge 2>&1) ||
        no_act "the kernel gives no network of our own: $why"
    why=$(unshare "${wanted[@]}" ip link add demo0 type veth peer name demo1 2>&1) ||
        no_act "the kernel gives no cables: $why"
    export TRAM_DEMO_NETWORK=1 SEED=${SEED:-$((RANDOM + 1))}
    exec unshare "${wanted[@]}" -- "$0"
fi
RANDOM=$SEED
work=$(mktemp -d /dev/shm/tram-demo-XXXXXX) || exit 1
declare -A pids=() spaces=() kills=() pulls=()
clean_up() {
    [[ $BASHPID == "$$" ]] || return # a child that was killed before it became another program
    kill -KILL "${pids[@]}" "${spaces[@]}" 2>/dev/null
    wait 2>/dev/null
    rm -rf -- "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkfifo "$work/never" || exit 1
exec 3<>"$work/never"

die() {
    say "$*"
    tail -qn 20 "$work"/errors "$work"/*.log >&2 2>/dev/null
    exit 1
}

# Until $1 seconds are over, or the rest is true.
until_true() {
    local end=$((SECONDS + $1 * scale + 1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        read -rt 0.05 -u 3
    done
    return 0
}

in_its_own_network() {
    [[ $(readlink "/proc/$1/ns/net") != "$(readlink /proc/self/ns/net)" ]]
}

make_host() {
    local name=$1 number=$2
    unshare --net sleep 1000 3>&- &
    spaces[$name]=$!
    until_true 5 in_its_own_network "${spaces[$name]}" || die "host $name has no network"
    ip link add "$name" type veth peer name eth0 netns "${spaces[$name]}" &&
        ip link set "$name" master switch up &&
        on "$name" ip addr add "10.7.0.$number/24" dev eth0 &&
        on "$name" ip link set eth0 up && on "$name" ip link set lo up || die "no cable to $name"
    mkdir -m 700 "$work/$name"
    {
        printf '[cluster]\nname = demo\nhost = %s\nlisten = 10.7.0.%d\n' "$name" "$number"
        printf 'heartbeat = 500ms\ninsecure = yes\nhost-server = %s\n' \
            "$([[ $name == alpha ]] && echo here || echo 10.7.0.1)"
    } >"$work/$name.conf"
}

# Run something on a host.
on() {
    local name=$1
    shift
    TRAM_DIR=$work/$name nsenter -t "${spaces[$name]}" -n "$@"
}

start_daemon() {
    TRAM_DIR=$work/$1 nsenter -t "${spaces[$1]}" -n "$bin/tramd" --config "$work/$1.conf" \
        2>>"$work/$1.log" 3>&- &
    pids[daemon $1]=$!
}

# The exec of nsenter may be to come: kill what it is now.
kill_daemon() {
    kill -KILL "${pids[daemon $1]}" 2>/dev/null
    wait "${pids[daemon $1]}" 2>/dev/null
    (($? == 137)) || die "the daemon of $1 ended by itself"
    kills[$1]=$((${kills[$1]:-0} + 1))
    start_daemon "$1"
}

pull_cable() {
    ip link set "$1" down || die "the cable of $1 cannot be pulled"
    pulls[$1]=$((${pulls[$1]:-0} + 1))
    out=$1
}

push_cable() {
    [[ -z $out ]] && return
    ip link set "$out" up || die "the cable of $out cannot be put back"
    out=
}

# --- traffic --------------------------------------------------------------------------------------

# From each host to the next one: node 1.0.0.N there sends to 1.0.1.N here.
feed() {
    while [[ ! -e $work/stop ]]; do
        cat "$work/file" || exit 1
        printf x >>"$work/fed$1"
        read -rt 0.2 -u 3
    done >"$work/into$1"
}

start_flow() {
    local n=$1 from=${hosts[$1]} to=${hosts[($1 + 1) % 3]}
    mkfifo "$work/into$n"
    : >"$work/copy$n" >"$work/fed$n"
    TRAM_DIR=$work/$to nsenter -t "${spaces[$to]}" -n "$bin/tram" recv --id "1.0.1.$n" \
        --size $size --out "$work/copy$n" --journal "$work/journal$n" 2>>"$work/errors" 3>&- &
    pids[receiver $n]=$!
    TRAM_DIR=$work/$from nsenter -t "${spaces[$from]}" -n "$bin/tram" send --from "1.0.0.$n" \
        --to "1.0.1.$n" --size $size <"$work/into$n" 2>>"$work/errors" 3>&- &
    pids[sender $n]=$!
    feed "$n" &
    pids[feed $n]=$!
}

bytes() {
    stat -c %s "$work/$1"
}

all_came() {
    local n
    for n in 0 1 2; do
        kill -0 "${pids[sender $n]}" 2>/dev/null && return 1
    done
    for n in 0 1 2; do
        (($(bytes "copy$n") == $(bytes "fed$n") * file_size)) || return 1
    done
}

all_flow() {
    (($(bytes copy0) > 0 && $(bytes copy1) > 0 && $(bytes copy2) > 0))
}

all_meet() {
    [[ $(on alpha "$bin/tram" hosts --json 2>/dev/null | grep -o '"up":true' | wc -l) == 3 ]]
}

# --- the show -------------------------------------------------------------------------------------

terminal=0
[[ -t 1 ]] && terminal=1
began=${EPOCHREALTIME/./}
shown_at=0
elapsed() {
    echo $((${EPOCHREALTIME/./} - began))
}

total() { # what: killed or pulled, of all hosts
    local -n counts=$1
    local sum=0 one
    for one in "${counts[@]}"; do
        sum=$((sum + one))
    done
    echo $sum
}

show() {
    local now came
    now=$(elapsed)
    [[ -z ${1:-} ]] && ((now - shown_at < (terminal ? 100000 : 1000000))) && return
    came=$((($(bytes copy0) + $(bytes copy1) + $(bytes copy2)) / size))
    printf -v line '%4d.%d s  daemons killed %3d  cables pulled %3d  messages received %8d' \
        $((now / 1000000)) $((now / 100000 % 10)) "$(total kills)" "$(total pulls)" "$came"
    if ((terminal)); then
        printf '\r%s\033[K' "$line"
    else
        printf '%s\n' "$line"
    fi
    shown_at=$now
}

ip link add switch type bridge && ip link set switch up && ip link set lo up || die "no switch"
head -c 1M "$bin/tramd" >"$work/file"
file_size=$(stat -c %s "$work/file")
printf 'hosts   alpha -> beta -> gamma -> alpha: %d bytes, again and again; SEED=%s\n\n' \
    "$file_size" "$SEED"
for n in 0 1 2; do
    make_host "${hosts[n]}" $((n + 1))
done
for host in "${hosts[@]}"; do
    start_daemon "$host"
done
until_true 10 all_meet || die "the hosts did not find each other within 10 s"
for n in 0 1 2; do
    start_flow $n
done
until_true 10 all_flow || die "not all hosts have received something within 10 s"

out=
began=${EPOCHREALTIME/./}
while (($(elapsed) < length * 1000000)); do
    read -rt "0.$(printf %03d $((100 + RANDOM % 300)))" -u 3
    host=${hosts[RANDOM % 3]}
    case $((RANDOM % 3)) in
    0) kill_daemon "$host" ;;
    1) push_cable && pull_cable "$host" ;;
    2)
        kill_daemon "$host"
        push_cable
        ;;
    esac
    show
done
push_cable
: >"$work/stop"
if ! until_true 15 all_came; then
    for n in 0 1 2; do
        on "${hosts[n]}" "$bin/tram" trace --from "1.0.0.$n" --to "1.0.1.$n" >&2
    done
    die "not all has come within 15 s"
fi
for n in 0 1 2; do
    wait "${pids[feed $n]}"
    wait "${pids[sender $n]}" || die "sender $n ended with $?"
    unset "pids[feed $n]" "pids[sender $n]"
    kill -TERM "${pids[receiver $n]}"
    wait "${pids[receiver $n]}" || die "receiver $n ended with $?"
    unset "pids[receiver $n]"
done
show last
((terminal)) && printf '\n'

# --- the proof ------------------------------------------------------------------------------------

# shellcheck disable=SC2016
# How many messages; how many came marked; what is wrong with their order.
check_journal='
    $4 != last + 1 { wrong++ }
    $8 > 0 { marked += $6 }
    { last = $4 + $6 - 1 }
    END { print last + 0, marked + 0, wrong + 0 }'

[[ -z ${SPOIL:-} ]] || printf xyzzy | dd of="$work/copy1" bs=1 seek=12345 conv=notrunc 2>/dev/null
printf '\n'
for host in "${hosts[@]}"; do
    printf '%-7s its daemon was killed %d times, its cable pulled %d times\n' "$host" \
        "${kills[$host]:-0}" "${pulls[$host]:-0}"
done
for n in 0 1 2; do
    read -r count marked wrong < <(awk -F '[:,}]' "$check_journal" "$work/journal$n")
    times=$(bytes "fed$n")
    sum=$(for ((i = 0; i < times; i++)); do cat "$work/file"; done | sha256sum)
    copy=$(sha256sum <"$work/copy$n")
    printf '%-5s -> %-5s  %7d messages, the file %d times; %d out of order, %d marked; ' \
        "${hosts[n]}" "${hosts[(n + 1) % 3]}" "$count" "$times" "$wrong" "$marked"
    printf 'sha256 %s\n' "${copy:0:16}"
    ((wrong == 0)) || die "$wrong messages were lost, came twice or out of order"
    ((marked == 0)) || die "$marked messages were marked, though nobody died with them"
    ((count == times * (file_size / size))) || die "$count messages came, others were sent"
    [[ $sum == "$copy" ]] || die "a copy is not what was sent"
done
printf 'equal   all that was sent came, once, in order, through %d kills and %d pulled cables\n' \
    "$(total kills)" "$(total pulls)"
