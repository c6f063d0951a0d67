#!/bin/bash
# test: timeout=120
# tram rm and tram purge: what they remove, and what they refuse.

. "$(dirname "$0")/support/cli.sh"

nodes() {
    ask "$(tram ls --json)" '" ".join(n["id"] for n in j["nodes"])'
}

rm_refuses() {
    local receiver
    "$TRAM_BIN" recv --id $B --out "$work/out1" &
    receiver=$!
    is_up() { tram ls >/dev/null 2>&1 && [[ $(node $B state) == up ]]; }
    wait_for is_up
    for force in "" --force; do
        # shellcheck disable=SC2086
        expect 4 tram rm $force $B
        has "$err" "tram rm: "
        has "$err" "$B"
        has "$err" "$receiver"
    done
    kill -KILL $receiver
    wait $receiver 2>/dev/null
    echo waits | tram send --from $A --to $B
    expect 4 tram rm $B
    has "$err" "$B"
    is "$(nodes)" "$A $B"
    is "$(tram recv --id $B --count 1)" waits
}

rm_removes() {
    expect 0 tram rm $B
    is "$(nodes)" $A
    expect 3 tram rm $B
    has "$err" "$B"
    echo lost | tram send --from $A --to $B 2>/dev/null
    expect 0 tram rm --force $B
    is "$(nodes)" $A
    expect 0 tram rm $A
    is "$(nodes)" ""
    # One that is mistyped, and none is removed; one that is not there, and the others are.
    tram recv --id $A --idle-exit 0
    tram recv --id $B --idle-exit 0
    expect 2 tram rm $A 1.2.3
    is "$(nodes)" "$A $B"
    expect 3 tram rm $A 9.9.9.9 $B
    is "$(nodes)" ""
    is "$(ls -A "$TRAM_DIR/default")" ""
}

# A sender that has the channel open is told, and its successor begins a new one.
rm_beside_a_sender() {
    local sender
    mkfifo "$work/pipe"
    "$TRAM_BIN" send --from $A --to $B <"$work/pipe" 2>"$work/told" &
    sender=$!
    exec 9>"$work/pipe"
    echo first >&9
    is "$(tram recv --id $B --count 1)" first
    expect 0 tram rm $B
    echo second >&9
    exec 9>&-
    wait $sender
    is $? 1
    has "$(<"$work/told")" "tram send: "
    has "$(<"$work/told")" "removed while this was sent; nothing of it was accepted"
    echo second | tram send --from $A --to $B 2>/dev/null || fail send
    is "$(tram recv --id $B --count 1)" second
    tram rm $A
    tram rm $B
}

purge() {
    seq 1 100 | tram send --from $A --to $B 2>/dev/null
    seq 1 10 | tram send --from $C --to $B 2>/dev/null
    expect 0 tram purge --from $A --to $B
    is "$out" "100 messages purged"
    is "$(channel $A $B waiting)" 0
    is "$(channel $C $B waiting)" 10
    expect 0 tram purge --from $A --to $B --json
    is "$out" '{"purged":0}'
    seq 101 103 | tram send --from $A --to $B
    expect 0 tram recv --id $B --idle-exit 0 --json
    is "$(grep -c "\"from\":\"$C\"" "$work/out")" 10
    is "$(grep "\"from\":\"$A\"" "$work/out" | grep -o '"text":"[0-9]*"' | tr -dc '0-9\n')" \
        "$(seq 101 103)"
    expect 3 tram purge --from $B --to $A
    expect 3 tram purge --from $A --to 9.9.9.9
}

purge_refuses() {
    local receiver
    "$TRAM_BIN" recv --id $B --out "$work/out1" &
    receiver=$!
    is_up() { [[ $(node $B state) == up ]]; }
    wait_for is_up
    expect 4 tram purge --from $A --to $B
    has "$err" "$B"
    kill -TERM $receiver
    wait $receiver
}

# A channel that its receiver closed, because its sender wrote nonsense, is usable again.
purge_mends() {
    seq 1 5 | tram send --from $A --to $B 2>/dev/null
    python3 - "$TRAM_DIR/default/$B/from-$A" <<'END'
import struct, sys
with open(sys.argv[1], "r+b") as file:
    file.seek(256)
    tail = struct.unpack("<Q", file.read(8))[0] & ~7
    file.seek(65536 + (tail & 0x3fffff) - 40)
    file.write(b"\xff" * 32)
END
    expect 1 tram recv --id $B --idle-exit 0
    is "$out" "$(seq 1 4)"
    has "$err" "$A"
    is "$(channel $A $B state)" broken
    expect 1 tram send --from $A --to $B < <(echo more)
    expect 0 tram purge --from $A --to $B
    echo mended | tram send --from $A --to $B || fail "send after purge"
    expect 0 tram recv --id $B --idle-exit 0
    is "$out" mended
}

for test in rm_refuses rm_removes rm_beside_a_sender purge purge_refuses purge_mends; do
    $test
    echo "ok $test $SECONDS s"
done
