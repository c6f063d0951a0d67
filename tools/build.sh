#!/bin/bash
# Configures, when that wasn't done with these options, and builds.
#
#     tools/build.sh DIR [-DOPTION=VALUE…]        CC, or GCC, compiles if no option says what does
#     TARGETS="…" tools/build.sh …                only these

set -eu
cd "$(dirname "$0")/.."
dir=$1
shift

if [ ! -f "$dir/build.ninja" ] || [ "$(cat "$dir/options" 2>/dev/null)" != "$*" ]; then
    # What CMake says is worth reading only if it fails, but for what it left out.
    mkdir -p "$dir"
    if ! CC=${CC:-gcc} cmake -G Ninja -S . -B "$dir" "$@" >"$dir/configure.log" 2>&1; then
        cat "$dir/configure.log" >&2
        exit 1
    fi
    grep 'left out' "$dir/configure.log" || true
    echo "$*" >"$dir/options"
fi

quiet=--quiet # but not where somebody waits
[ -t 1 ] && quiet=
NINJA_STATUS='[%f/%t %es] ' ninja -C "$dir" ${quiet:+"$quiet"} ${TARGETS:-}
