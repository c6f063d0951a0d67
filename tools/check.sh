#!/bin/bash
# All tests, twice: in the build that users get, and under ASan and UBSan. The last line is
# 'N passed, N failed', summed over both, and the exit code is 0 only when none failed.

set -u
cd "$(dirname "$0")/.." || exit
jobs=$(nproc)
start=$SECONDS
passed=0 failed=0 skipped=0

finish()
{
    echo "took $((SECONDS - start)) s"
    if [ "$skipped" -gt 0 ]; then
        echo "$passed passed, $failed failed, $skipped skipped"
    else
        echo "$passed passed, $failed failed"
    fi
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

# build DIR OPTION…
build()
{
    echo "== $1: build"
    if ! tools/build.sh "$@"; then
        echo "$1 does not build; to see only that: tools/build.sh $*"
        failed=$((failed + 1))
        finish
    fi
}

# run DIR LABELS_NOT_RUN
run()
{
    local dir=$1 xml=$1/results.xml p f s first
    echo "== $dir: test"
    rm -f "$xml"
    ctest --test-dir "$dir" -j "$jobs" -LE "$2" --output-on-failure --output-junit results.xml \
        --no-tests=ignore --schedule-random </dev/null
    if ! read -r p f s first < <(python3 tools/junit.py "$xml"); then
        p=0 f=1 s=0 first=
        echo "$dir: no results"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if [ -n "$first" ]; then
        echo "to run only the first that failed:"
        echo "    ctest --test-dir $dir -R '^${first//./\\.}\$' --output-on-failure"
        [ -x "$dir/tests/$first" ] && echo "    $dir/tests/$first [TEST…]"
    fi
}

build build -DCMAKE_C_COMPILER=gcc
build build-asan -DCMAKE_C_COMPILER=gcc -DTRAM_SANITIZE=address,undefined
run build '^soak$'
run build-asan '^(soak|noasan)$'
finish
