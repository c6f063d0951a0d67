#!/bin/bash
# test: timeout=120
# tram send and tram recv: what goes in comes out, in every form; and what happens when it can't.

. "$(dirname "$0")/support/cli.sh"

is_up() {
    [[ $(node $B state) == up ]]
}

# It has caught the signals by then.
is_up_as() {
    [[ $(tram ls --json $B) == *"\"id\":\"$B\",\"state\":\"up\",\"pid\":$1,"* ]]
}

lines() {
    printf 'hello\n\nGr\xc3\xbc\xc3\x9fe\n  blanks  \nlast without an end' >"$work/in"
    expect 0 tram send --from $A --to $B "$work/in"
    is "$out" ""
    is "$err" "tram send: $B was never opened on this bus ($TRAM_DIR/default); its messages \
wait until it is"
    expect 0 tram recv --id $B --count 5
    printf '\n' | cat "$work/in" - >"$work/expected"
    same "$work/out" "$work/expected"
    is "$err" ""
    expect 0 tram recv --id $B --idle-exit 0
    is "$out" ""
}

json() {
    printf 'text\n\n\xff\xfe\n' | tram send --from $A --to $B --tag 0x10 || fail send
    expect 0 tram recv --id $B --count 3 --json
    python3 - "$work/out" <<'END' || fail "the JSON is not as it should be: $out"
import json, sys
one, two, three = [json.loads(line) for line in open(sys.argv[1])]
keys = ["from", "seq", "tag", "size", "redelivered"]
assert list(one) == keys + ["text"] and list(three) == keys + ["base64"], (one, three)
assert [m["seq"] for m in (one, two, three)] == [6, 7, 8]
assert one == {"from": "1.0.0.1", "seq": 6, "tag": 16, "size": 4, "redelivered": 0, "text": "text"}
assert two["text"] == "" and two["size"] == 0 and three["base64"] == "//4=", (two, three)
END
}

many() {
    seq 1 300000 >"$work/in"
    "$TRAM_BIN" send --from $A --to $B "$work/in" &
    expect 0 tram recv --id $B --count 300000
    wait $! || fail send
    same "$work/out" "$work/in"
}

blocks() {
    local size bytes count
    head -c 1000001 /dev/urandom >"$work/in"
    for size in 1000 64k 1M; do
        bytes=$(numfmt --from=iec "${size^^}")
        count=$(((1000000 + bytes) / bytes))
        rm -f "$work/copy"
        "$TRAM_BIN" send --from $A --to $B --size $size "$work/in" &
        expect 0 tram recv --id $B --count "$count" --size $size --out "$work/copy"
        wait $! || fail send
        same "$work/in" "$work/copy"
    done
    "$TRAM_BIN" send --from $A --to $B --size 1000 "$work/in" &
    expect 0 tram recv --id $B --count 1001 --raw
    wait $!
    same "$work/in" "$work/out"
    expect 0 tram send --from $A --to $B --size 2000 "$work/in"
    expect 1 tram recv --id $B --count 1 --size 1999
    has "$err" "has 2000 bytes, more than --size; it is not released"
    expect 0 tram recv --id $B --count 501 --raw --out "$work/out2"
    same "$work/in" "$work/out2"
}

large() {
    head -c 10M /dev/urandom >"$work/in"
    expect 0 tram send --from $A --to $B --size 10M "$work/in"
    expect 0 tram recv --id $B --count 1 --raw
    same "$work/in" "$work/out"
    tr -d '\n\0' </dev/urandom | head -c 3M >"$work/in"
    echo >>"$work/in"
    expect 0 tram send --from $A --to $B "$work/in"
    expect 0 tram recv --id $B --count 1
    same "$work/in" "$work/out"
}

# Nothing that was read waits for more: the writer of a pipe need not end, nor fill anything.
pipe_at_rest() {
    mkfifo "$work/pipe"
    "$TRAM_BIN" send --from $A --to $B <"$work/pipe" &
    local sender=$!
    exec 9>"$work/pipe"
    for i in 1 2 3; do
        printf 'a%d\nb%d\nhalf' $i $i >&9
        expect 0 tram recv --id $B --count 2
        has "$out" "a$i"$'\n'"b$i"
        printf '\n' >&9
        expect 0 tram recv --id $B --count 1
        is "$out" "half"
    done
    exec 9>&-
    wait $sender || fail "send ended with $?"
}

at_seq() {
    local base
    base=$(ask "$(tram send --from $A --to $B --json </dev/null)" 'j["accepted"]')
    head -c 100500 /dev/urandom >"$work/in"
    tram send --from $A --to $B --size 1000 "$work/in" || fail send
    rm -f "$work/copy"
    expect 0 tram recv --id $B --from $A --size 1000 --at-seq --base "$base" --out "$work/copy" \
        --idle-exit 0 --sync
    same "$work/in" "$work/copy"
    echo other | tram send --from $C --to $B
    expect 1 tram recv --id $B --from $A --size 1000 --at-seq --out "$work/copy" --count 1
    has "$err" "of $C is not from $A, as --from says; it is not released"
    echo low | tram send --from $A --to $B
    tram recv --id $B --count 1 >/dev/null # what is from C
    expect 1 tram recv --id $B --from $A --size 1000 --at-seq --base $((base + 1000)) \
        --out "$work/copy" --count 1
    has "$err" "has no place behind --base"
    tram recv --id $B --count 1 >/dev/null
}

oneself_and_ephemeral() {
    echo me | tram send --from $C --to $C || fail send
    expect 0 tram recv --id $C --count 1
    is "$out" me
    echo hi | tram send --from ephemeral --to $C || fail send
    expect 0 tram recv --id $C --count 1 --json
    [[ $out =~ '"from":"2'[45] ]] || fail "$out"
    has "$out" '"text":"hi"'
}

report() {
    expect 0 tram send --from $A --to 1.9.9.9 --json < <(printf 'one\nthree')
    is "$out" '{"from":"1.0.0.1","to":"1.9.9.9","sent":2,"bytes":8,"skipped":0,"accepted":2}'
}

idle_exit() {
    expect 0 tram recv --id $C --idle-exit 20
    echo x | tram send --from $A --to $C
    expect 5 tram recv --id $C --idle-exit 20 --count 2
    is "$out" x
}

# What cannot be written is not released.
output_fails() {
    seq 1 1000 | tram send --from $A --to $B
    expect 1 tram recv --id $B --count 1000 --out /dev/full
    has "$err" "/dev/full cannot be written: No space left on device; what was not written is not"
    expect 1 tram recv --id $B --count 1000 --json --out "$work"
    has "$err" "tram recv: $work cannot be opened: Is a directory"
    tram recv --id $B --count 1000 >/dev/null
    seq 1 100000 | tram send --from $A --to $B --ring 16M
    tram recv --id $B --count 100000 2>"$work/err" | head -n 3 >"$work/few"
    is "$(wc -l <"$work/few")" 3
    is "$(<"$work/err")" ""
    tram recv --id $B --json --idle-exit 100 >"$work/rest"
    python3 - "$work/rest" <<'END' || fail "lost or unmarked"
import json, sys
got = [json.loads(line) for line in open(sys.argv[1])]
numbers = [int(m["text"]) for m in got]
assert numbers == list(range(numbers[0], 100001)), (numbers[0], len(numbers))
assert got[0]["redelivered"] == 1 and got[-1]["redelivered"] == 0, got[0]
END
}

held() {
    mkfifo "$work/held"
    "$TRAM_BIN" recv --id $B >"$work/held" &
    local holder=$!
    exec 8<"$work/held"
    wait_for is_up
    is "$(node $B pid)" $holder
    expect 4 tram recv --id $B
    has "$err" "tram recv: "
    has "$err" "$holder"
    has "$err" "$B"
    expect 4 tram send --from $B --to $A </dev/null
    kill -TERM $holder
    wait $holder || fail "SIGTERM: recv ended with $?"
    exec 8<&-
    expect 0 tram recv --id $B --idle-exit 0
    is "$(node $B state)" down
}

# A signal ends recv between two batches: what was written is released, and nothing else. The sender
# does not notice.
terminated() {
    local sender receiver rounds=0 size
    is_at_work() { (($(stat -c %s "$work/all") > size)) || ! kill -0 "$sender" 2>/dev/null; }
    : >"$work/all"
    seq 1 $((2000000 / ${TRAM_TIME_SCALE:-1})) >"$work/in"
    "$TRAM_BIN" send --from $A --to $B "$work/in" &
    sender=$!
    while kill -0 $sender 2>/dev/null; do
        size=$(stat -c %s "$work/all")
        "$TRAM_BIN" recv --id $B --out "$work/all" &
        receiver=$!
        wait_for is_up_as $receiver
        wait_for is_at_work
        kill -TERM $receiver
        wait $receiver || fail "recv ended with $?"
        rounds=$((rounds + 1))
    done
    wait $sender || fail send
    ((rounds > 0)) || fail "too fast"
    expect 0 tram recv --id $B --idle-exit 0 --out "$work/all" --journal "$work/journal"
    same "$work/all" "$work/in"
    is "$(grep -vc '"redelivered":0}' "$work/journal")" 0
    "$TRAM_BIN" recv --id $B --count 3 &
    receiver=$!
    wait_for is_up_as $receiver
    kill -TERM $receiver
    wait $receiver
    is $? 6
}

full() {
    head -c 1M /dev/zero >"$work/zeros"
    expect 5 tram send --from $A --to 1.0.0.8 --size 1000 --ring 64k --timeout 50 "$work/zeros"
    has "$err" "1.0.0.8 took nothing from $A for 50 ms and the ring is full"
    local accepted
    accepted=$(channel $A 1.0.0.8 accepted)
    ((accepted > 30 && accepted < 70)) || fail "accepted $accepted"
    is "$(channel $A 1.0.0.8 waiting)" "$accepted"
    tram send --from $A --to 1.0.0.8 --size 1000 --resume --timeout 50 "$work/zeros" 2>"$work/err"
    is $? 5
    is "$(channel $A 1.0.0.8 accepted)" "$accepted"
    "$TRAM_BIN" recv --id 1.0.0.8 --raw --count 1049 >"$work/copy" &
    local receiver=$!
    expect 0 tram send --from $A --to 1.0.0.8 --size 1000 --resume --json "$work/zeros"
    is "$(ask "$out" 'j["skipped"] + j["sent"]')" 1049
    wait $receiver || fail recv
    same "$work/zeros" "$work/copy"
}

for test in lines json many blocks large pipe_at_rest at_seq oneself_and_ephemeral report \
    idle_exit output_fails held terminated full; do
    $test
    echo "ok $test $SECONDS s"
done
