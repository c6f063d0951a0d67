#!/bin/bash
# Sends a real file from node to node while both processes are killed with -9, dozens of times, at
# random moments, and started again; as often as fits into some seconds. Then looks whether the copy
# is the file, and whether everything that came a second time had said so.
# Then the second act, demo/game.sh, and the third, demo/hosts.sh.
#
#     make demo [FILE=…]        demo/demo.sh [FILE]        SEED=N for the same dice again
#
# The sender cuts the file into messages and goes on where the bus says that it was (--resume). The
# receiver writes message n at its place in the copy (--at-seq), and only then releases it: what it
# had in hand when it was killed comes again, marked. Its journal says what came, and how marked.

set -u
export LC_ALL=C
root=$(cd "$(dirname "$0")/.." && pwd)
tram=${TRAM_BIN:-$root/${TRAM_BUILD:-build}/bin/tram}
[[ $tram == /* ]] || tram=$PWD/$tram

from=1.0.0.1
to=1.0.0.2
messages_wanted=5000000 # small ones, so that there is time to kill
show_seconds=6  # the file is sent again until then
kill_seconds=18 # after that nobody is killed any more
time_limit=60

# --- the file, the place, the dice ----------------------------------------------------------------

# The largest one, up to some 120 MB, among what is installed.
find_file() {
    find /usr/bin /usr/lib /usr/libexec -xdev -type f -size +1M -size -120M -readable \
        -printf '%s %p\n' 2>/dev/null | sort -n | tail -n 1 | cut -d ' ' -f 2-
}

die() {
    ((${terminal:-0})) && printf '\n'
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

[[ -x $tram ]] || die "there is no $tram; 'make' builds it"
file=${1:-${FILE:-}}
file=${file:-$(find_file)}
[[ -f $file && -r $file ]] || die "the file '$file' cannot be read"
file_size=$(stat -Lc %s -- "$file")
((file_size > 0)) || die "the file '$file' is empty"
block=$(((file_size + messages_wanted - 1) / messages_wanted))
((block >= 16)) || block=16
messages=$(((file_size + block - 1) / block))
RANDOM=${SEED:=$((RANDOM + 1))}

work=$(mktemp -d /dev/shm/tram-demo-XXXXXX) || die "no directory on /dev/shm"
sender='' receiver=''
clean_up() {
    [[ $BASHPID == "$$" ]] || return # a child that was killed before it became another program
    # shellcheck disable=SC2086
    kill -KILL $sender $receiver 2>/dev/null
    wait 2>/dev/null
    rm -rf -- "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkfifo "$work/never" || die "no FIFO in $work"
exec 3<>"$work/never"
export TRAM_DIR=$work

free=$(df --output=avail -B1 "$work" | tail -n 1)
((free > file_size + 64 * 1024 * 1024)) ||
    die "the copy ($file_size bytes) does not fit on /dev/shm ($free free); take another FILE"

# --- both processes -------------------------------------------------------------------------------

start_sender() {
    "$tram" send --from $from --to $to --size $block --resume --base $base "$file" \
        2>>"$work/errors" &
    sender=$!
}

start_receiver() {
    "$tram" recv --id $to --from $from --size $block --at-seq --base $base --out "$work/copy" \
        --journal "$work/journal" --attempts 254 2>>"$work/errors" &
    receiver=$!
}

base=0 # messages before this time round
kills=0 sender_kills=0 receiver_kills=0

# Kill -9, wait for the end, start again. A sender that was done before stays down.
kill_sender() {
    local code
    kill -KILL "$sender" 2>/dev/null
    wait "$sender" 2>/dev/null
    code=$?
    ((code == 0)) && sender='' && return
    ((code == 137)) || die "the sender ended with $code: $(tail -n 3 "$work/errors")"
    sender_kills=$((sender_kills + 1)) kills=$((kills + 1))
    start_sender
}

kill_receiver() {
    local code
    kill -KILL "$receiver" 2>/dev/null
    wait "$receiver" 2>/dev/null
    code=$?
    ((code == 137)) || die "the receiver ended with $code: $(tail -n 3 "$work/errors")"
    receiver_kills=$((receiver_kills + 1)) kills=$((kills + 1))
    start_receiver
}

kill_somebody() {
    local dice=$((RANDOM % 5))
    [[ -n $sender ]] && ((dice == 0 || dice >= 3)) && kill_sender
    if ((dice > 0)) || [[ -z $sender ]]; then
        kill_receiver
    fi
}

# --- what is shown --------------------------------------------------------------------------------

accepted=0 consumed=0 rounds=0
began=${EPOCHREALTIME/./}
shown=0 shown_at=$began
terminal=0
[[ -t 1 ]] && terminal=1

# Before the first message there is no channel to look at.
look() {
    local state
    [[ -d $work ]] || die "somebody removed $work"
    state=$("$tram" ls --json $to 2>/dev/null)
    if [[ $state =~ \"accepted\":([0-9]+),\"consumed\":([0-9]+) ]]; then
        accepted=${BASH_REMATCH[1]} consumed=${BASH_REMATCH[2]}
    fi
}

round_done() {
    look
    [[ -z $sender ]] && ((consumed - base >= messages))
}

# show [last]: a line about where we are; on a terminal always the same one.
show() {
    local now=${EPOCHREALTIME/./} rate
    [[ -z ${1:-} ]] && ((now - shown_at < (terminal ? 100000 : 500000))) && return
    rate=$(((consumed - shown) * block * 10 / (now - shown_at + 1)))
    printf -v line '%4d.%d s  kills %3d  round %d %3d%%  received %9d  waiting %7d  %4d.%d MB/s' \
        $(((now - began) / 1000000)) $(((now - began) / 100000 % 10)) $kills $((rounds + 1)) \
        $(((consumed - base) * 100 / messages)) "$consumed" $((accepted - consumed)) \
        $((rate / 10)) $((rate % 10))
    if ((terminal)); then
        printf '\r%s\033[K' "$line"
    else
        printf '%s\n' "$line"
    fi
    shown=$consumed shown_at=$now
}

printf 'file    %s, %d bytes, as %d messages of %d bytes\n' "$file" "$file_size" "$messages" \
    "$block"
printf 'route   %s -> %s on a bus in %s; SEED=%s\n\n' $from $to "$work" "$SEED"

# --- the show -------------------------------------------------------------------------------------

# How long it has been, in microseconds.
elapsed() {
    echo $((${EPOCHREALTIME/./} - began))
}

# An orderly end, once it runs: before, it may still be a copy of this shell.
stop_receiver() {
    until [[ $("$tram" ls --json $to) == *"\"state\":\"up\",\"pid\":$receiver,"* ]]; do
        kill -0 "$receiver" 2>/dev/null || break
        read -rt 0.01 -u 3
    done
    kill -TERM "$receiver" 2>/dev/null
    wait "$receiver" || die "the receiver ended with $?: $(tail -n 3 "$work/errors")"
    receiver=''
}

send_and_kill() {
    rm -f "$work/copy"
    start_receiver
    start_sender
    until round_done; do
        # 3 to 45 ms: long enough to start, short enough to be killed in the middle of it.
        read -rt "0.0$(printf %02d $((3 + RANDOM % 43)))" -u 3
        (($(elapsed) < time_limit * 1000000)) || die "not done after $time_limit s"
        if (($(elapsed) < kill_seconds * 1000000)); then
            kill_somebody
        elif ! kill -0 "$sender" 2>/dev/null; then
            wait "$sender" || die "the sender ended with $?: $(tail -n 3 "$work/errors")"
            sender=''
        fi
        show
    done
    stop_receiver
}

while
    send_and_kill
    cmp -s "$file" "$work/copy" || die "round $((rounds + 1)): the copy is not the file"
    (($(elapsed) < show_seconds * 1000000))
do
    rounds=$((rounds + 1)) base=$((base + messages))
done
took=$(elapsed)
look
show last
((terminal)) && printf '\n'
rounds=$((rounds + 1)) total=$((rounds * messages))

# --- the proof ------------------------------------------------------------------------------------

# shellcheck disable=SC2016
# Of the journal: how many messages came again; how often the unluckiest; and what is wrong with it.
# What is not marked has to be new, and nothing may be left out.
check_journal='
    $8 == 0 && $4 != last + 1 { wrong++ }
    $8 > 0 && $4 > last + 1 { wrong++ }
    $8 > 0 && !($4 in seen) { seen[$4]; again++ }
    $8 > most { most = $8 }
    $4 + $6 - 1 > last { last = $4 + $6 - 1 }
    END { print again + 0, most + 1, wrong + (last != messages) }'
read -r again most wrong < <(awk -F '[:,}]' -v messages="$total" "$check_journal" "$work/journal")
sum=$(sha256sum <"$file") sum=${sum%% *}
copy_sum=$(sha256sum <"$work/copy") copy_sum=${copy_sum%% *}

printf '\nkills   %d: the sender %d times, the receiver %d times\n' $kills $sender_kills \
    $receiver_kills
printf 'time    %d.%d s, in which the file was sent %d times\n' $((took / 1000000)) \
    $((took / 100000 % 10)) $rounds
printf 'again   %d of %d messages came again, all marked; the unluckiest came %d times\n' \
    "$again" "$total" "$most"
printf 'sha256  %s  sent\n        %s  received\n' "$sum" "$copy_sum"
((wrong == 0)) || die "$wrong messages came unmarked though they were not new, or not at all"
[[ $sum == "$copy_sum" ]] || die "the copy is not the file"
printf 'equal   nothing was lost, and nothing came twice without saying so\n\n'
rm -f "$work/copy"
"$root/demo/game.sh" || exit
printf '\n'
"$root/demo/hosts.sh"
