#!/bin/bash
# test: timeout=120
# tram ls and tram dump beside running nodes: counts, states, what is followed, what is kept.

. "$(dirname "$0")/support/cli.sh"

counts() {
    printf 'one\ntwo\nthree\n' | tram send --from $A --to $B 2>/dev/null
    is "$(node $A state) $(node $B state)" "down never"
    is "$(node $A program)" tram
    is "$(channel $A $B state)" waiting
    is "$(channel $A $B accepted)" 3
    is "$(channel $A $B waiting)" 3
    is "$(channel $A $B waiting_bytes)" 120
    tram recv --id $B --count 2 >/dev/null
    is "$(channel $A $B consumed)" 2
    is "$(channel $A $B waiting)" 1
    tram recv --id $B --count 1 >/dev/null
    is "$(channel $A $B state)" idle
    is "$(node $B state)" down
    is "$(node $B opens)" 2
    expect 0 tram ls
    has "$out" "bus default at $TRAM_DIR/default"
    [[ $out =~ $A' '+down ]] || fail "$out"
    [[ $out =~ $A' '+$B' '+3' '+3' '+0 ]] || fail "$out"
    (($(channel $A $B memory) < 300000)) || fail "memory $(channel $A $B memory)"
}

of_one_node() {
    echo x | tram send --from $B --to $C 2>/dev/null
    expect 0 tram ls $C --json
    is "$(ask "$out" '[n["id"] for n in j["nodes"]], [c["from"] for c in j["channels"]]')" \
        "(['$C'], ['$B'])"
    expect 0 tram ls $B --json
    is "$(ask "$out" '[(c["from"], c["to"]) for c in j["channels"]]')" \
        "[('$A', '$B'), ('$B', '$C')]"
    python3 -m json.tool "$work/out" >/dev/null || fail "no JSON"
}

# A receiver that waits sleeps; one that is stopped does not take what is sent.
sleeping_and_flowing() {
    local receiver
    "$TRAM_BIN" recv --id $B --out "$work/out1" &
    receiver=$!
    is_sleeping() { [[ $(channel $A $B state 2>/dev/null) == sleeping ]]; }
    wait_for is_sleeping
    is "$(node $B state) $(node $B pid)" "up $receiver"
    kill -STOP $receiver
    seq 1 10 | tram send --from $A --to $B
    is "$(channel $A $B state)" flowing
    is "$(channel $A $B waiting)" 10
    kill -CONT $receiver
    wait_for is_sleeping
    is "$(channel $A $B waiting)" 0
    kill -TERM $receiver
    wait $receiver
    is "$(node $B state)" down
    is "$(<"$work/out1")" "$(seq 1 10)"
}

full() {
    local sender
    "$TRAM_BIN" send --from $C --to $B --ring 64k --size 1k /dev/zero &
    sender=$!
    is_full() { [[ $(channel $C $B state 2>/dev/null) == full ]]; }
    wait_for is_full
    is "$(channel $C $B capacity)" 65536
    kill -TERM $sender
    wait $sender
    is $? 6
    is "$(channel $C $B state)" waiting
}

followed() {
    local follower receiver
    "$TRAM_BIN" ls --follow --json --bus other >"$work/follow" 2>"$work/err" &&
        fail "there is no such bus"
    echo x | tram --bus other send --from $A --to $B 2>/dev/null
    "$TRAM_BIN" ls --follow --json --bus other >"$work/follow" &
    follower=$!
    "$TRAM_BIN" ls --follow --bus other >"$work/text" &
    local texter=$!
    wait_for test -s "$work/follow"
    wait_for test -s "$work/text"
    "$TRAM_BIN" --bus other recv --id $B >"$work/out1" &
    receiver=$!
    told() { grep -q "$1" "$work/follow"; }
    wait_for told '"event":"node".*"id":"1.0.0.2","state":"up","pid":'$receiver
    wait_for told '"event":"channel".*"accepted":1,"consumed":1'
    kill -TERM $receiver
    wait $receiver
    wait_for told '"event":"node".*"id":"1.0.0.2","state":"down"'
    echo y | tram --bus other send --from $A --to $C 2>/dev/null
    wait_for told '"event":"channel".*"to":"1.0.0.3","state":"waiting","accepted":1'
    wait_for grep -q "$C" "$work/text" # the other one looks when it likes
    tram --bus other rm --force $C || fail rm
    wait_for told '"event":"gone".*"id":"1.0.0.3"'
    wait_for told '"event":"gone".*"from":"1.0.0.1","to":"1.0.0.3"'
    gone_in_text() { grep -q "$C *removed" "$work/text"; }
    wait_for gone_in_text
    kill -TERM $follower $texter
    wait $follower || fail "ls --follow ended with $?"
    wait $texter || fail "ls --follow ended with $?"
    python3 - "$work/follow" <<'END' || fail "not one JSON object a line"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert "nodes" in lines[0] and all("event" in line for line in lines[1:])
END
}

# The last messages of a process can be read after its death, and reading changes nothing.
post_mortem() {
    local receiver sender before
    tram rm --force $B || fail rm
    "$TRAM_BIN" recv --id $B --out "$work/out2" &
    receiver=$!
    mkfifo "$work/lines"
    "$TRAM_BIN" send --from $A --to $B --tag 5 <"$work/lines" &
    sender=$!
    exec 8>"$work/lines" # open: an orderly end would leave nothing to examine
    seq 1 3000 >&8
    all_there() { [[ $(wc -l <"$work/out2") == 3000 ]]; }
    wait_for all_there
    kill -KILL $receiver $sender
    wait $receiver $sender 2>/dev/null
    exec 8>&-
    seq 3001 3010 | tram send --from $A --to $B
    picture() { (cd "$TRAM_DIR/default" && find . -type f -exec sha256sum {} + | sort; stat -c \
        '%n %s %b %Y %a' -- */*); }
    before=$(picture)
    expect 0 tram dump --from $A --to $B --json
    python3 - "$work/out" <<'END' || fail "the dump is wrong"
import json, sys
got = [json.loads(line) for line in open(sys.argv[1])]
assert [int(m["text"]) for m in got] == [m["seq"] for m in got]
seqs = [m["seq"] for m in got]
assert seqs == list(range(seqs[0], 3011)) and seqs[0] < 2900, (seqs[0], len(seqs))
waiting = [m["seq"] for m in got if m["where"] == "queued"]
assert waiting == list(range(3001, 3011)), waiting
assert all(m["tag"] == (5 if m["seq"] <= 3000 else 0) for m in got)
END
    expect 0 tram dump --from $A --to $B --where kept
    has "$out" "kept"
    expect 0 tram dump --from $A --to $B --where queued
    is "$(wc -l <"$work/out")" 11
    tram ls >/dev/null
    tram dump --to $B --aside >/dev/null
    tram retry --id $B >/dev/null
    is "$(picture)" "$before"
}

# Messages that did not fit, and made the ring grow.
grown() {
    local size
    for size in 100000 400000 1600000; do
        head -c $size /dev/zero | tr '\0' ${size:0:1} | tram send --from $A --to 1.0.0.7 \
            --ring 64k --size 2M 2>/dev/null || fail send
    done
    is "$(channel $A 1.0.0.7 accepted)" 3
    (($(channel $A 1.0.0.7 streams) > 1)) || fail "it did not grow"
    expect 0 tram dump --from $A --to 1.0.0.7 --json --bytes 2
    is "$(ask "[$(paste -sd, "$work/out")]" '[(m["seq"], m["size"], m["text"]) for m in j]')" \
        "[(1, 100000, '11'), (2, 400000, '44'), (3, 1600000, '11')]"
    expect 0 tram recv --id 1.0.0.7 --count 3 --raw
    is "$(wc -c <"$work/out")" 2100000
}

# A dump beside a busy channel never shows what was not there, and says what it missed.
beside_traffic() {
    local sender receiver i
    "$TRAM_BIN" recv --id 1.0.0.9 --count 2000000 --out /dev/null &
    receiver=$!
    seq 1 2000000 | "$TRAM_BIN" send --from $A --to 1.0.0.9 --ring 256k 2>/dev/null &
    sender=$!
    for ((i = 0; i < 8; i++)); do
        "$TRAM_BIN" dump --from $A --to 1.0.0.9 --json >"$work/busy" 2>"$work/err"
        case $? in 0 | 3) ;; *) fail "dump: $(<"$work/err")" ;; esac
        python3 - "$work/busy" <<'END' || fail "made up: $i"
import json, sys
last = 0
for line in open(sys.argv[1]):
    m = json.loads(line)
    assert int(m["text"]) == m["seq"] > last, (m, last)
    last = m["seq"]
END
        tram ls --json >/dev/null || fail ls
    done
    wait $sender $receiver
}

for test in counts of_one_node sleeping_and_flowing full followed post_mortem grown \
    beside_traffic; do
    $test
    echo "ok $test $SECONDS s"
done
