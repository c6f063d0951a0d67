#!/bin/bash
# test: timeout=60 label=noasan,notsan,nomusl
# What README.md says of C++ and Python is true: its programs are those in examples/, word for word,
# and talk to each other in all pairs of languages; its commands run. (No sanitizer: python would
# have to load its run-time first; no musl: python is glibc's.)

set -u
readme=$TRAM_SRC/README.md
bin=$TRAM_BUILD/bin
examples=$TRAM_SRC/examples
passed=0 failed=0
export PYTHONPATH=$TRAM_SRC/bindings/python TRAM_LIBRARY=$TRAM_BUILD/lib/libtram.so

same() # TITLE GOT WANT
{
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s:\n  have: %s\n  want: %s\n' "$1" "$2" "$3"
    fi
}

# The Nth code block that opens with ```LANGUAGE, of those below the heading.
block() # HEADING LANGUAGE N
{
    awk -v head="## $1" -v open="^\`\`\`$2\$" -v n="$3" '
        /^## / { below = $0 == head }
        /^```$/ { inside = 0 }
        below && inside && count == n { print }
        below && $0 ~ open { inside = 1; count++ }' "$readme"
}

same 'hello_send.cpp' "$(block 'C++' cpp 1)" "$(cat "$examples/hello_send.cpp")"
same 'hello_send.py' "$(block Python python 1)" "$(cat "$examples/hello_send.py")"
same 'hello_recv.py' "$(block Python python 2)" "$(cat "$examples/hello_recv.py")"
same 'hello_aio.py' "$(block Python python 3)" "$(cat "$examples/hello_aio.py")"

# talk SENDER RECEIVER: once before the receiver is there.
talk()
{
    local line='' receiver title="$1 | $2"
    rm -rf "${TRAM_DIR:?}/default"
    same "$title: send" "$($1 2>&1; echo $?)" 0
    exec 3< <(exec $2 2>&1)
    receiver=$!
    read -r -t "$((10 * ${TRAM_TIME_SCALE:-1}))" line <&3
    kill "$receiver"
    wait "$receiver" 2>/dev/null
    exec 3<&-
    same "$title: receive" "$line" 'hello, world'
}

ways=("$bin/hello_%s" "python3 $examples/hello_%s.py")
[ -x "$bin/hello_send_cpp" ] && ways+=("$bin/hello_%s_cpp")
for sender in "${ways[@]}"; do
    for receiver in "${ways[@]}"; do
        [ "$sender" = "$receiver" ] && [ "$sender" = "${ways[0]}" ] && continue
        talk "${sender/\%s/send}" "${receiver/\%s/recv}"
    done
done

# The lines for the tree, as they stand there; the last one waits for more.
rm -rf "${TRAM_DIR:?}/default"
commands=$(block Python sh 1)
same 'lines of commands' "$(wc -l <<<"$commands")" 3
commands=${commands//build\/lib/${TRAM_BUILD#"$TRAM_SRC/"}/lib}
commands=${commands/python3 examples\/hello_recv/exec python3 examples/hello_recv}
exec 3< <(cd "$TRAM_SRC" && unset PYTHONPATH TRAM_LIBRARY &&
    exec bash -ec "$commands" 2>&1)
shell=$!
read -r -t "$((10 * ${TRAM_TIME_SCALE:-1}))" line <&3
kill "$shell"
wait "$shell" 2>/dev/null
same 'the commands' "$line" 'hello, world'
exec 3<&-

# The echo answers.
rm -rf "${TRAM_DIR:?}/default"
python3 "$examples/hello_aio.py" &
echo=$!
"$bin/hello_send"
same 'hello_aio.py' "$("$TRAM_BIN" recv --id 1.0.0.1 --count 1 --idle-exit \
    "$((10000 * ${TRAM_TIME_SCALE:-1}))" 2>&1)" 'hello, world'
kill "$echo"
wait "$echo" 2>/dev/null

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
