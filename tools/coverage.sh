#!/bin/bash
# Which lines and branches of src/ring, src/node, src/wire and src/daemon the tests run: a build of
# its own, all tests but those that measure, single-step or look at packages, and a table of the
# files. Exit code 0 only if every line of src/ring and src/node was run, or is listed in
# docs/COVERAGE.md, and as many of their branches as were reached once.
#
#     tools/coverage.sh [CTEST_OPTION…]       build-coverage/report/ has it line by line

set -u
cd "$(dirname "$0")/.." || exit
dir=build-coverage
skip='^(step|remover|storm|cli_bench|cli_kill|scale|instructions|deb|dist|install|tidy|readme'
skip+='|tutorial|headers|man_|python|cpp|completion|docs|library|version|model|spin|litmus'
skip+='|harness|glib|sys-bias|worker_speed|service_speed|service_events_speed|service_litmus'
skip+='|service_storm)'

folders=(--filter src/ring/ --filter src/node/ --filter src/wire/ --filter src/daemon/)

tools/build.sh "$dir" -DTRAM_COVERAGE=ON -DCMAKE_BUILD_TYPE=Debug || exit 1
find "$dir" -name '*.gcda' -delete
read -r passed failed skipped _ < <(TRAM_TIME_SCALE=4 tools/test.sh "$dir" -LE '^soak$' \
    -E "$skip" --timeout 600 "$@" 2>"$dir/tests.log")
echo "$passed passed, $failed failed, $skipped skipped; $dir/tests.log"

mkdir -p "$dir/report"
gcovr --root . "${folders[@]}" --exclude '.*_test\.c' \
    --exclude '.*_world\.h' --exclude-unreachable-branches --gcov-ignore-parse-errors \
    --txt "$dir/report/lines.txt" --json-summary "$dir/report/summary.json" \
    --html-details "$dir/report/index.html" "$dir" || exit 1
gcovr --root . "${folders[@]}" --exclude '.*_test\.c' \
    --exclude '.*_world\.h' --exclude-unreachable-branches --gcov-ignore-parse-errors --branches \
    --txt "$dir/report/branches.txt" "$dir" || exit 1
python3 tools/coverage.py "$dir/report/summary.json"
