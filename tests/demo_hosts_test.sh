#!/bin/bash
# test: timeout=120 label=nomusl,notsan
# The third act of the demo, short: daemons are killed and cables pulled, and every copy is right.
# Then with a byte of a copy changed, which has to be found.
set -u
[ -x "$TRAM_BUILD/bin/tramd" ] || { echo "skipped: built without services"; exit 77; }
unset TRAMD
demo=$(cd "$(dirname "$0")/../demo" && pwd)/hosts.sh
fail()
{
    echo "$1" >&2
    cat "$TRAM_DIR/said" >&2
    exit 1
}

SECONDS_LONG=2 "$demo" >"$TRAM_DIR/said" 2>&1 || fail "it ended with $?"
if grep -q '^hosts   no third act' "$TRAM_DIR/said"; then
    sed 's/^hosts   no third act/skipped/' "$TRAM_DIR/said"
    exit 77
fi
grep -q '^equal ' "$TRAM_DIR/said" || fail "it did not say that all came"
grep -q 'through [1-9][0-9]* kills' "$TRAM_DIR/said" ||
    grep -q 'and [1-9][0-9]* pulled' "$TRAM_DIR/said" || fail "nothing happened"
if SECONDS_LONG=0 SPOIL=1 "$demo" >"$TRAM_DIR/said" 2>&1; then
    fail "it did not see a copy with another byte"
fi
grep -q 'a copy is not what was sent' "$TRAM_DIR/said" || fail "it did not say what is wrong"
