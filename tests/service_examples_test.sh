#!/bin/bash
# test: timeout=60 label=nomusl
# The examples of events, of a work group, and of a hot restart, as their heads say.
set -u
bin=$TRAM_BUILD/bin
[ -x "$bin/hot_restart" ] || { echo "skipped: built without services"; exit 77; }
unset TRAMD
fail()
{
    echo "$*" >&2
    exit 1
}

# Events: a subscriber of a prefix, of two publishers; one of them is killed.
timeout 30 "$bin/events_subscribe" 'ki*' 5 >"$TRAM_DIR/kitchen" &
subscriber=$!
timeout 30 "$bin/events_subscribe" '*' 1 >"$TRAM_DIR/any" &
any=$!
"$bin/events_publish" cellar &
cellar=$!
"$bin/events_publish" kitchen &
kitchen=$!
wait $any || fail "the subscriber of everything ended with $?"
kill -9 $cellar
wait $subscriber || fail "the subscriber ended with $?"
[ "$(grep -c '^kitchen [0-9.]*$' "$TRAM_DIR/kitchen")" = 5 ] ||
    fail "the subscriber said: $(cat "$TRAM_DIR/kitchen")"
sort -cuk 2 "$TRAM_DIR/kitchen" || fail "not in order: $(cat "$TRAM_DIR/kitchen")"
# Who comes later has the newest at once.
timeout 30 "$bin/events_subscribe" kitchen 1 >"$TRAM_DIR/late" || fail "the late one ended with $?"
grep -q '^kitchen ' "$TRAM_DIR/late" || fail "the late one said: $(cat "$TRAM_DIR/late")"
kill -9 $kitchen

# A work group: the client is there first; then each worker gets its share.
timeout 30 "$bin/work_group_client" 1000000007 30 >"$TRAM_DIR/early" &
client=$!
"$bin/work_group_worker" 1 &
one=$!
wait $client || fail "the client ended with $?"
[ "$(grep -c 'prime, says 1$' "$TRAM_DIR/early")" = 30 ] || fail "$(cat "$TRAM_DIR/early")"
grep -q '^1000000007: a prime' "$TRAM_DIR/early" || fail "$(cat "$TRAM_DIR/early")"
grep -q '^1000000008: not a prime' "$TRAM_DIR/early" || fail "$(cat "$TRAM_DIR/early")"
"$bin/work_group_worker" 2 &
two=$!
"$TRAM_BIN" wait svc://primes:2 >/dev/null || fail "the second worker is not there"
timeout 30 "$bin/work_group_client" 7 200 >"$TRAM_DIR/both" || fail "the client ended with $?"
[ "$(grep -c 'prime, says [12]$' "$TRAM_DIR/both")" = 200 ] || fail "$(cat "$TRAM_DIR/both")"
kill -9 $one $two

# A hot restart: two versions, asked all the time; each answer comes from one of them.
"$bin/hot_restart" 1 &
old=$!
: >"$TRAM_DIR/versions"
for round in 1 2 3 4; do
    for _ in 1 2 3; do
        timeout 30 "$bin/service_hello_client" x svc://restart >>"$TRAM_DIR/versions" ||
            fail "a client ended with $?"
    done
    kill -TERM $old
    timeout 30 "$bin/service_hello_client" x svc://restart >>"$TRAM_DIR/versions" &
    client=$!
    wait $old || fail "version $round handed over with $?"
    "$bin/hot_restart" $((round + 1)) &
    old=$!
    wait $client || fail "a client that was there meanwhile ended with $?"
done
"$TRAM_BIN" wait svc://restart >/dev/null || fail "the last version is not there"
kill -TERM $old
wait $old || fail "the last version ended with $?"
sort -c "$TRAM_DIR/versions" || fail "an old one after a new one: $(cat "$TRAM_DIR/versions")"
[ "$(grep -c '^version [1-5]$' "$TRAM_DIR/versions")" = 16 ] || fail "$(cat "$TRAM_DIR/versions")"
