#!/bin/bash
# Configures (the first time, or when options are given) and builds.
#
#     tools/build.sh DIR [-DOPTION=VALUE…]

set -eu
cd "$(dirname "$0")/.."
dir=$1
shift

if [ ! -f "$dir/build.ninja" ] || [ $# -gt 0 ]; then
    # What CMake says is worth reading only if it fails, but for what it left out.
    mkdir -p "$dir"
    if ! cmake -G Ninja -S . -B "$dir" "$@" >"$dir/configure.log" 2>&1; then
        cat "$dir/configure.log" >&2
        exit 1
    fi
    grep 'left out' "$dir/configure.log" || true
fi

quiet=--quiet # but not where somebody waits
[ -t 1 ] && quiet=
NINJA_STATUS='[%f/%t %es] ' ninja -C "$dir" ${quiet:+"$quiet"}
