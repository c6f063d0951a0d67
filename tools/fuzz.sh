#!/bin/bash
# Fuzzes with libFuzzer: builds fuzz/*.c with Clang in build-fuzz, and runs each for SECONDS, from
# what was found before (build-fuzz/corpus) and what is in the tree (fuzz/corpus).
#
#     SECONDS_EACH=60 TARGET="segment door" SANITIZE=address,undefined tools/fuzz.sh
#     tools/fuzz.sh --minimise     takes what covers most with least into fuzz/corpus
#     tools/fuzz.sh --add          adds to fuzz/corpus what covers more than that
#
# An input that fails is left in build-fuzz/found; the program, with that file as its argument,
# shows it again. With SANITIZE= (empty) a target runs some times as fast, in build-fuzz-plain.
# The last line of each target says how many inputs it ran.

set -eu
cd "$(dirname "$0")/.."
seconds=${SECONDS_EACH:-60}
sanitize=${SANITIZE-address,undefined}
dir=build-fuzz
[ -n "$sanitize" ] || dir=build-fuzz-plain
names=${TARGET:-$(cd fuzz && ls -- *.c | grep -v -e '^replay\.c$' -e '_support\.c$' |
    sed 's/\.c$//')}

TARGETS=fuzz tools/build.sh "$dir" -DCMAKE_C_COMPILER=clang -DTRAM_FUZZ=ON \
    ${sanitize:+"-DTRAM_SANITIZE=$sanitize"}
mkdir -p build-fuzz/found
failed=0

minimise()
{
    local name=$1 cover=$dir/cover
    rm -rf "$cover"
    mkdir -p "$cover" "fuzz/corpus/$name"
    "$dir/fuzz/fuzz-$name" -set_cover_merge=1 "$cover" "fuzz/corpus/$name" \
        "build-fuzz/corpus/$name" >"$dir/$name.log" 2>&1
    rm -f "fuzz/corpus/$name"/*
    local file sum
    for file in "$cover"/*; do
        sum=$(basename "$file")
        cp "$file" "fuzz/corpus/$name/${sum:0:12}"
    done
    echo "$name: $(find "fuzz/corpus/$name" -type f | wc -l) files, $(cat "fuzz/corpus/$name"/* |
        wc -c) bytes"
}

add()
{
    local name=$1 cover=$dir/cover
    rm -rf "$cover"
    mkdir -p "fuzz/corpus/$name"
    cp -r "fuzz/corpus/$name" "$cover"
    "$dir/fuzz/fuzz-$name" -set_cover_merge=1 "$cover" "build-fuzz/corpus/$name" \
        >"$dir/$name.log" 2>&1
    local file sum added=0
    for file in "$cover"/*; do
        sum=$(basename "$file")
        [ ${#sum} -gt 12 ] || continue
        cp "$file" "fuzz/corpus/$name/${sum:0:12}"
        added=$((added + 1))
    done
    echo "$name: $added files more"
}

for name in $names; do
    mkdir -p "build-fuzz/corpus/$name"
    if [ "${1-}" = --minimise ]; then
        minimise "$name"
        continue
    elif [ "${1-}" = --add ]; then
        add "$name"
        continue
    fi
    log=$dir/$name.log
    if "$dir/fuzz/fuzz-$name" -max_total_time="$seconds" -max_len=512 -print_final_stats=1 \
        -artifact_prefix="build-fuzz/found/$name-" "build-fuzz/corpus/$name" \
        "fuzz/corpus/$name" >"$log" 2>&1; then
        echo "ok     $name, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
    else
        failed=1
        echo "FAILED $name: $(grep -aE 'fuzz/.*: |ERROR' "$log" | head -n 2 | tr '\n' ' ')"
        echo "       to see it: $dir/fuzz/fuzz-$name $(sed -n \
            's/.*Test unit written to //p' "$log" | tail -n 1)"
    fi
done
exit $failed
