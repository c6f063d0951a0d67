# shellcheck shell=bash disable=SC2034,SC2174
# What the tests of the tool share; sourced. TRAM_BIN is the tool, TRAM_DIR a private directory
# (tests/private_bus.sh).

set -u
work=$TRAM_DIR/work
mkdir -p -m 700 "$work"
mkfifo "$work/never"

tram() {
    "$TRAM_BIN" "$@"
}

fail() {
    echo "FAIL: ${BASH_SOURCE[1]}:${BASH_LINENO[0]}: $*" >&2
    local i
    for ((i = 1; i < ${#FUNCNAME[@]}; i++)); do
        echo "  from ${FUNCNAME[i]}, line ${BASH_LINENO[i]}" >&2
    done
    exit 1
}

# is ACTUAL EXPECTED
is() {
    [[ $1 == "$2" ]] || fail "'$1' is not '$2'"
}

# has TEXT PART
has() {
    [[ $1 == *"$2"* ]] || fail "'$2' is not in '$1'"
}

same() {
    cmp -s "$1" "$2" || fail "$1 and $2 differ"
}

# expect CODE COMMAND…: runs it; its output is in $out and $err.
expect() {
    local code=$1 got=0
    shift
    "$@" >"$work/out" 2>"$work/err" || got=$?
    out=$(tr -d '\0' <"$work/out")
    err=$(<"$work/err")
    [[ $got == "$code" ]] || fail "'$*' ended with $got, not $code; stderr: $err"
}

# A pause of 10 ms that starts no process.
tick() {
    read -rt 0.01 <>"$work/never" || true
}

# wait_for COMMAND…: until it succeeds, 20 s at most.
wait_for() {
    local until=$((SECONDS + 20 * ${TRAM_TIME_SCALE:-1}))
    until "$@"; do
        ((SECONDS < until)) || fail "waited in vain for: $*"
        tick
    done
}

# ask JSON EXPRESSION: what a Python expression makes of the JSON as `j`.
ask() {
    python3 -c 'import json, sys
j = json.loads(sys.argv[1])
print(eval(sys.argv[2]))' "$1" "$2" || fail "no answer to $2 from $1"
}

# member OBJECT KEY: of a flat JSON object; Python takes long to start.
member() {
    [[ $1 =~ \"$2\":(\"([^\"]*)\"|[a-z0-9]+) ]] || fail "no $2 in $1"
    echo "${BASH_REMATCH[2]:-${BASH_REMATCH[1]//\"/}}"
}

# channel A B KEY: of tram ls.
channel() {
    local all
    all=$(tram ls --json "$2")
    [[ $all =~ \{\"from\":\"$1\",\"to\":\"$2\"[^}]*\} ]] ||
        fail "no channel $1 to $2 in $all"
    member "${BASH_REMATCH[0]}" "$3"
}

# node A KEY
node() {
    local all
    all=$(tram ls --json "$1")
    [[ $all =~ \{\"id\":\"$1\"[^}]*\} ]] || fail "no node $1 in $all"
    member "${BASH_REMATCH[0]}" "$2"
}

A=1.0.0.1
B=1.0.0.2
C=1.0.0.3
