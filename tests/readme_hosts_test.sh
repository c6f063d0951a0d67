#!/bin/bash
# test: timeout=60
# The four commands of README.md join two hosts: as they stand there, with addresses of loopback.

. "$(dirname "$0")/support/cli.sh"

[[ $TRAM_SERVICE == ON ]] || { echo "skipped, because there is no second layer"; exit 77; }
if [[ $(tram keys show --keys "$work/none" 2>&1) == *"built without TLS"* ]]; then
    echo "skipped, because there is no OpenSSL"
    exit 77
fi
cd "$work" || exit 1
export TRAM_KEYS_DIR=$work/ca PATH=$TRAM_BUILD/bin:$PATH
net=127.$((BASHPID % 200 + 20)).$((BASHPID / 200 % 250))

commands=$(awk '/^## Many hosts/ { here = 1 } /^```$/ { inside = 0 } here && inside { print }
    here && /^```sh$/ { inside = 1; here++ } /^## The tool/ { exit }' "$TRAM_SRC/README.md")
is "$(wc -l <<<"$commands")" 4
alpha='' beta=''
trap 'kill -9 $alpha $beta; wait 2>/dev/null' EXIT
while read -r line; do
    line=${line//10.0.0/$net}
    case $line in
    *--keys\ alpha*) # both are on one machine: each has a bus of its own
        mkdir -m 700 a
        TRAM_DIR=$work/a bash -c "exec ${line%%#*}" 2>alpha.log &
        alpha=$!
        ;;
    *--keys\ beta*)
        mkdir -m 700 b
        TRAM_DIR=$work/b bash -c "exec ${line%%#*}" 2>beta.log &
        beta=$!
        ;;
    *) expect 0 bash -c "$line" ;;
    esac
done <<<"$commands"
says() {
    grep -q "$2" "$1"
}
wait_for says alpha.log 'host beta: connected'
wait_for says beta.log 'host alpha: connected'
wait_for says beta.log "joined the directory at $net.1:61000"
