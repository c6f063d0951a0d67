#!/bin/bash
# test: timeout=30
# What README.md says is true: its first line, its two programs, and its commands. The programs are
# those in examples/, word for word, and are run as it says; so are the lines of the tool.

set -u
readme=$TRAM_SRC/README.md
passed=0 failed=0
bin=$TRAM_BUILD/bin
files=$TRAM_DIR/files # beside the bus, removed with it
mkdir -p "$files"

same() # TITLE GOT WANT
{
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s:\n  have: %s\n  want: %s\n' "$1" "$2" "$3"
    fi
}

# The Nth code block that opens with ```LANGUAGE.
block() # LANGUAGE N
{
    awk -v open="^\`\`\`$1\$" -v n="$2" '
        /^```$/ { inside = 0 }
        inside && count == n { print }
        $0 ~ open { inside = 1; count++ }' "$readme"
}

same 'the first line' "$(head -1 "$readme")" 'apt install -y git make'
same 'hello_send.c' "$(block c 1)" "$(cat "$TRAM_SRC/examples/hello_send.c")"
same 'hello_recv.c' "$(block c 2)" "$(cat "$TRAM_SRC/examples/hello_recv.c")"
same 'lines of hello_send.c' "$(block c 1 | wc -l)" 10
same 'lines of hello_recv.c' "$(block c 2 | wc -l)" 10

# Hello: once before anybody ever received, once while somebody does; and who ends before the next
# receive leaves the message in hand.
"$bin/hello_send"
same 'hello_send, nobody there' $? 0
exec 3< <(exec "$bin/hello_recv" 2>&1)
receiver=$!
read -r -t 10 line <&3
same 'hello_recv, what waited' "$line" 'hello, world'
"$bin/hello_send"
same 'hello_send, somebody there' $? 0
read -r -t 10 line <&3
same 'hello_recv, what came' "$line" 'hello, world'
text=$("$bin/hello_recv" 2>&1)
same 'a second hello_recv' $? 1
same 'its reason' "${text//$receiver/PID}" \
    'node 1.0.0.2 is open in process PID (hello_recv); end that one, or use another ID'
kill "$receiver"
wait "$receiver" 2>/dev/null

# A program of one's own, in a tree that looks like the one that the reader has.
ln -s "$TRAM_SRC/include" "$files/include"
ln -s "$TRAM_BUILD" "$files/build"
cp "$TRAM_SRC/examples/hello_send.c" "$files/mine.c"
if [ -z "${TRAM_SANITIZER-}" ]; then # which it would have to be compiled with, too
    command=$(block sh 2)
    command=${command/#cc/${TRAM_CC:-cc}}
    out=$(cd "$files" && bash -ec "$command" 2>&1 && ./mine 2>&1)
    same "$command ($out)" $? 0
fi

# The tool's lines, in their order, but for the measuring.
rm -rf "${TRAM_DIR:?}/default"
PATH=$bin:$PATH
cd "$files" || exit
lines=0
while read -r command; do
    [[ $command == *'tram bench'* ]] && command='tram bench --help'
    [[ $command == *'tram doctor'* ]] && command='tram doctor --help' # it may find something
    [[ $command == *'tram call'* ]] && command='tram call --help' # needs a daemon and a service
    [[ $command == 'tram hosts '* ]] && command='tram hosts --help' # likewise
    [[ $command == 'tram trace '* && ${TRAM_SERVICE-} == OFF ]] && command='tram trace --help'
    [[ $command == *'tram top'* ]] && command='tram top --count 1 --interval 0.1'
    out=$(bash -c "$command" 2>&1)
    same "$command ($out)" $? 0
    [[ $command == *'tram recv'* ]] && same "$command" "$out" hello
    lines=$((lines + 1))
done < <(block sh 5)
same 'lines of the tool' "$lines" 13

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
