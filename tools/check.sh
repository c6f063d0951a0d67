#!/bin/bash
# All tests, twice: in the build that users get, and under ASan and UBSan. The last line is
# 'N passed, N failed', summed over both, and the exit code is 0 only when none failed.

set -u
cd "$(dirname "$0")/.." || exit
start=$SECONDS
passed=0 failed=0 skipped=0

finish()
{
    echo "took $((SECONDS - start)) s"
    local summary="$passed passed, $failed failed"
    [ "$skipped" -gt 0 ] && summary+=", $skipped skipped"
    # Kept for .ci/run: what make itself says about a failure would be the last line otherwise.
    echo "$summary" | tee build/summary
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

# build DIR OPTION…
build()
{
    mkdir -p "$1"
    echo "== $1: build"
    if ! tools/build.sh "$@"; then
        echo "$1 does not build; to see only that: tools/build.sh ${*@Q}"
        failed=$((failed + 1))
        finish
    fi
}

# run DIR LABELS_NOT_RUN
run()
{
    local dir=$1 p f s first
    echo "== $dir: test"
    if ! read -r p f s first < <(tools/test.sh "$dir" -LE "$2" --schedule-random); then
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

build build
build build-asan -DTRAM_SANITIZE=address,undefined
run build '^soak$'
run build-asan '^(soak|noasan)$'
finish
