#!/bin/bash
# Runs the tests of a build. What they say goes to standard error; standard output is one line:
# PASSED FAILED SKIPPED FIRST_THAT_FAILED.
#
#     tools/test.sh DIR [CTEST_OPTION…]

set -u
dir=$1
shift

# Three for each processor: most tests mostly wait, for a process or for a moment. Those that do not
# say so (cpus=2).
rm -f "$dir/results.xml"
ctest --test-dir "$dir" -j "$(($(nproc) * 3))" --output-on-failure --no-tests=ignore \
    --output-junit results.xml --test-output-size-passed 1000000 \
    --test-output-size-failed 1000000 "$@" </dev/null >&2
python3 "$(dirname "$0")/junit.py" "$dir/results.xml"
