#!/bin/bash
# test: timeout=60 label=nomusl
# README's two commands about services: the client waits for the server, which starts a daemon from
# the tree that was built; the server is killed, and its successor answers.
set -u
bin=$TRAM_BUILD/bin
[ -x "$bin/service_hello_server" ] || { echo "skipped: built without services"; exit 77; }
unset TRAMD
fail()
{
    echo "$*" >&2
    exit 1
}

said=$TRAM_DIR/said
"$bin/service_hello_client" early >"$said" 2>&1 &
client=$!
"$bin/service_hello_server" &
server=$!
wait $client || fail "the client that was there first: $(cat "$said")"
[ "$(cat "$said")" = "hello, early" ] || fail "it said: $(cat "$said")"
kill -9 $server
wait $server 2>/dev/null
"$bin/service_hello_client" between >"$said" 2>&1 &
client=$!
"$bin/service_hello_server" &
server=$!
wait $client || fail "the client of the successor: $(cat "$said")"
[ "$(cat "$said")" = "hello, between" ] || fail "it said: $(cat "$said")"
kill $server
