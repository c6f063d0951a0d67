#!/bin/bash
# test: timeout=60
# The examples of foreign loops: each is sent a message by the tool while it sleeps, prints it, and
# its timer ran meanwhile. Those whose library is missing here are not built, and skipped.

set -u
passed=0 failed=0 skipped=0
for name in epoll uv glib; do
    program=$TRAM_BUILD/bin/loop_$name
    if [ ! -x "$program" ]; then
        skipped=$((skipped + 1))
        echo "loop_$name: not built"
        continue
    fi
    timeout 20 "$program" >"$TRAM_DIR/$name.out" 2>"$TRAM_DIR/$name.err" &
    pid=$!
    # Its node is there, and then some ticks go by.
    until "$TRAM_BIN" ls --json 2>/dev/null | grep -q '"up"'; do
        kill -0 "$pid" 2>/dev/null || break
    done
    echo "by $name" | "$TRAM_BIN" send --from 1.0.0.1 --to 1.0.0.2
    wait "$pid"
    status=$?
    if [ "$status" -eq 0 ] && [ "$(cat "$TRAM_DIR/$name.out")" = "by $name" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "loop_$name: exit code $status; $(cat "$TRAM_DIR/$name.out" "$TRAM_DIR/$name.err")"
    fi
    rm -rf "${TRAM_DIR:?}/default"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
