#!/bin/bash
# test: timeout=90 cpus=2 label=nomusl
# The second act of the demo, short: servers and tramd are killed, and the account is right. Then
# with a journal that says something else, which has to be found.
set -u
[ -x "$TRAM_BUILD/bin/game" ] || { echo "skipped: built without services"; exit 77; }
unset TRAMD
demo=$(cd "$(dirname "$0")/../demo" && pwd)/game.sh
fail()
{
    echo "$1" >&2
    cat "$TRAM_DIR/said" >&2
    exit 1
}

SECONDS_LONG=2 "$demo" >"$TRAM_DIR/said" 2>&1 || fail "it ended with $?"
grep -q '^equal ' "$TRAM_DIR/said" || fail "it did not say that the account is right"
grep -q '^told  *[1-9][0-9]* purchases' "$TRAM_DIR/said" || fail "nobody was told anything"
for line in 'purchases were booked twice:       0          0          1' \
    'the account is not what players were told:       3     999999          1'; do
    if SECONDS_LONG=0 FORGE="${line#*:}" "$demo" >"$TRAM_DIR/said" 2>&1; then
        fail "it did not see a journal with '${line#*:}'"
    fi
    grep -q "${line%%:*}" "$TRAM_DIR/said" || fail "it did not say '${line%%:*}'"
done
