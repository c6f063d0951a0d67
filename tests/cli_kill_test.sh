#!/bin/bash
# test: timeout=120
# tram send and tram recv killed with -9 at any moment: what was accepted arrives, nothing is sent
# twice, and what comes again is marked.

. "$(dirname "$0")/support/cli.sh"

RANDOM=${TRAM_SEED:-7}
lines=$((1000000 / ${TRAM_TIME_SCALE:-1})) # instrumented programs have enough with less
bytes=$((12000000 / ${TRAM_TIME_SCALE:-1}))

# Let a process run for a random number of turns of an empty loop, up to a few milliseconds.
spin() {
    local i
    for ((i = RANDOM % $1; i > 0; i--)); do :; done
}

# first_times COUNT JOURNAL: whatever came unmarked came for the first time, and all came.
first_times() {
    awk -F '[:,}]' '
        $8 == 0 && $4 <= last { print "not new, and not marked: " $0; bad = 1 }
        $4 > last + 1 { print "one is missing before " $0; bad = 1 }
        $4 + $6 - 1 > last { last = $4 + $6 - 1 }
        END { if (last != count) { print "the last one was " last; bad = 1 }; exit bad }
    ' count="$1" "$2" || fail "the journal is wrong"
}

again() {
    awk -F '[:,}]' '$8 > 0 { n++ } END { print n + 0 }' "$1"
}

# The sender is killed and started again until it says that everything was accepted.
sender_killed() {
    local sender receiver kills=0
    seq 1 $lines >"$work/in"
    "$TRAM_BIN" recv --id $B --out "$work/out1" --count $lines --journal "$work/journal" &
    receiver=$!
    while
        "$TRAM_BIN" send --from $A --to $B --resume "$work/in" &
        sender=$!
        spin $((8000 + kills * 200))
        kill -KILL $sender 2>/dev/null
        ! wait $sender 2>/dev/null
    do
        kills=$((kills + 1))
        ((kills < 1000)) || fail "it does not get anywhere"
    done
    wait $receiver || fail "recv ended with $?"
    same "$work/in" "$work/out1"
    first_times $lines "$work/journal"
    is "$(again "$work/journal")" 0
    ((kills > 0)) || fail "nobody was killed"
    expect 0 tram send --from $A --to $B --resume --json "$work/in"
    is "$(ask "$out" '(j["skipped"], j["sent"])')" "($lines, 0)"
    expect 1 tram send --from $A --to $B --resume "$work/never-was"
    head -n 10 "$work/in" >"$work/short"
    expect 1 tram send --from $A --to $B --resume "$work/short"
    has "$err" "the bus accepted $lines messages since the base, the input has only 10"
    expect 1 tram send --from $A --to $B --resume --base $((lines + 1)) "$work/in"
    has "$err" "the base is $((lines + 1)), but the bus accepted $lines messages"
    expect 0 tram send --from $A --to $B --resume --base $((lines - 5)) --json "$work/short"
    is "$(ask "$out" '(j["skipped"], j["sent"])')" "(5, 5)"
    expect 0 tram recv --id $B --idle-exit 0
    is "$out" "$(seq 6 10)"
}

# From a pipe, which cannot be sought in.
sender_of_a_pipe_killed() {
    local sender kills=0
    seq 1 50000 >"$work/in"
    while
        "$TRAM_BIN" send --from $A --to $C --resume --ring 64M < <(cat "$work/in") 2>/dev/null &
        sender=$!
        spin $((4000 + kills * 200))
        kill -KILL $sender 2>/dev/null
        ! wait $sender 2>/dev/null
    do
        kills=$((kills + 1))
        ((kills < 1000)) || fail "it does not get anywhere"
    done
    expect 0 tram recv --id $C --idle-exit 0
    same "$work/in" "$work/out"
}

# Messages that are in hand when the receiver dies, and only those, come again, marked.
receiver_killed_with_messages_in_hand() {
    local receiver hand
    head -c 800k /dev/urandom >"$work/in"
    mkfifo "$work/stuck"
    exec 7<>"$work/stuck"
    tram send --from $A --to 1.0.1.1 --size 1k "$work/in" 2>/dev/null || fail send
    "$TRAM_BIN" recv --id 1.0.1.1 --raw >&7 7>&- &
    receiver=$!
    in_hand() { tram dump --from $A --to 1.0.1.1 --where hand --json >"$work/hand"; }
    any_in_hand() { in_hand && [[ -s $work/hand ]]; }
    wait_for any_in_hand
    kill -KILL $receiver
    wait $receiver 2>/dev/null
    exec 7<&-
    in_hand
    expect 0 tram recv --id 1.0.1.1 --json --journal "$work/journal2" --count 800
    python3 - "$work" <<'END' || fail "the marks are wrong"
import base64, json, sys
def load(name): return [json.loads(line) for line in open(sys.argv[1] + "/" + name)]
hand, got, journal = load("hand"), load("out"), load("journal2")
assert [m["seq"] for m in got] == list(range(1, 801))
again = [m["seq"] for m in got if m["redelivered"] > 0]
assert again == [m["seq"] for m in hand] and 0 < len(again) <= 512, (len(again), len(hand))
assert all(m["redelivered"] == 1 for m in got if m["seq"] in again)
assert [(m["seq"], m["count"]) for m in journal if m["redelivered"]] == [(seq, 1) for seq in again]
assert [m["attempts"] for m in hand] == [1] * len(hand)
assert list(journal[0]) == ["from", "seq", "count", "redelivered"]
data = b"".join(base64.b64decode(m["base64"]) for m in got)
assert data == open(sys.argv[1] + "/in", "rb").read()
END
}

# Killed anywhere: with --at-seq the file is what was sent; appended, it has twice what is marked.
receiver_killed_anywhere() {
    local receiver kills=0
    head -c $bytes /dev/urandom >"$work/in"
    "$TRAM_BIN" send --from $A --to 1.0.1.2 --size 16 "$work/in" 2>/dev/null &
    local sender=$!
    while
        "$TRAM_BIN" recv --id 1.0.1.2 --from $A --at-seq --size 16 --out "$work/placed" \
            --journal "$work/journal3" --attempts 200 --idle-exit 300 &
        receiver=$!
        spin $((10000 + kills * 200))
        kill -KILL $receiver 2>/dev/null
        ! wait $receiver 2>/dev/null
    do
        kills=$((kills + 1))
        ((kills < 60)) || break
    done
    expect 0 tram recv --id 1.0.1.2 --from $A --at-seq --size 16 --out "$work/placed" \
        --journal "$work/journal3" --attempts 200 --idle-exit 300
    wait $sender || fail "send ended with $?"
    same "$work/in" "$work/placed"
    ((kills > 0)) || fail "nobody was killed"
    first_times $((bytes / 16)) "$work/journal3"
    echo "   $kills kills, $(again "$work/journal3") messages came again"
}

# A message that kills its receiver again and again is set aside, and the channel goes on.
set_aside() {
    local i receiver
    printf 'bad\ngood\n' | tram send --from $A --to 1.0.1.3 2>/dev/null
    mkfifo "$work/stuck2"
    exec 7<>"$work/stuck2"
    python3 -c 'import os; os.set_blocking(7, False)
try:
    while True: os.write(7, b"x" * 4096)
except BlockingIOError: os.set_blocking(7, True)'
    in_hand() { tram dump --from $A --to 1.0.1.3 --where hand --json | grep -q "\"attempts\":$i"; }
    for i in 1 2; do
        "$TRAM_BIN" recv --id 1.0.1.3 --attempts 2 >&7 7>&- &
        receiver=$!
        wait_for in_hand
        kill -KILL $receiver
        wait $receiver 2>/dev/null
    done
    exec 7<&-
    # What was in hand comes again alone, so that only the first was handed out twice.
    expect 0 tram recv --id 1.0.1.3 --attempts 2 --idle-exit 0 --json
    is "$(ask "$out" '(j["seq"], j["text"], j["redelivered"])')" "(2, 'good', 1)"
    is "$(channel $A 1.0.1.3 aside)" 1
    expect 0 tram retry --id 1.0.1.3 --json
    is "$(ask "$out" '[(a["from"], a["seq"], a["size"], a["attempts"], a["retry"])
        for a in j["aside"]]')" "[('$A', 1, 3, 2, False)]"
    expect 0 tram retry --id 1.0.1.3
    has "$out" "bad"
    expect 0 tram dump --to 1.0.1.3 --aside --json
    has "$out" '"where":"aside"'
    expect 3 tram retry --id 1.0.1.3 --from $A --seq 2
    expect 0 tram retry --id 1.0.1.3 --from $A --seq 1
    is "$out" "1 messages to be handed out again"
    expect 0 tram recv --id 1.0.1.3 --attempts 2 --idle-exit 0 --json
    is "$(ask "$out" '(j["seq"], j["text"], j["redelivered"])')" "(1, 'bad', 2)"
    is "$(channel $A 1.0.1.3 aside)" 0
    expect 0 tram retry --id 1.0.1.3 --all --json
    is "$out" '{"retried":0}'
}

# What a running receiver has set aside is handed out again without a restart.
retried_while_up() {
    local receiver
    mkfifo "$work/stuck3"
    exec 7<>"$work/stuck3"
    python3 -c 'import os; os.set_blocking(7, False)
try:
    while True: os.write(7, b"x" * 4096)
except BlockingIOError: os.set_blocking(7, True)'
    echo once more | tram send --from $A --to 1.0.1.4 2>/dev/null
    in_hand() { [[ -n $(tram dump --from $A --to 1.0.1.4 --where hand --json) ]]; }
    "$TRAM_BIN" recv --id 1.0.1.4 --attempts 1 >&7 7>&- &
    receiver=$!
    wait_for in_hand
    kill -KILL $receiver
    wait $receiver 2>/dev/null
    exec 7<&-
    "$TRAM_BIN" recv --id 1.0.1.4 --attempts 1 --count 1 --out "$work/again" &
    receiver=$!
    is_aside() { [[ $(channel $A 1.0.1.4 aside) == 1 ]]; }
    wait_for is_aside
    expect 0 tram retry --id 1.0.1.4 --all
    is "$out" "1 messages to be handed out again"
    wait $receiver || fail "recv ended with $?"
    is "$(<"$work/again")" "once more"
}

for test in sender_killed sender_of_a_pipe_killed receiver_killed_with_messages_in_hand \
    receiver_killed_anywhere set_aside retried_while_up; do
    $test
    echo "ok $test $SECONDS s"
done
