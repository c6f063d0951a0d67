#!/bin/bash
# Installs what a build folder holds, or removes what it would install.
#
#     DESTDIR=… tools/install.sh [--uninstall] DIR PREFIX
#
# What is removed is asked of the build, not of a list that an installation left: so it doesn't
# matter who installed it, when, or from where. Folders that became empty go as well: all of them
# in a DESTDIR, else only those that bear our name.

set -eu
cd "$(dirname "$0")/.."
uninstall=
if [ "${1-}" = --uninstall ]; then
    uninstall=1
    shift
fi
dir=$1
prefix=$2
export DESTDIR=${DESTDIR-}

# The dynamic linker has a list of its own of what lies in /usr/local/lib.
refresh()
{
    [ -z "$DESTDIR" ] && [ "$(id -u)" -eq 0 ] && command -v ldconfig >/dev/null || return 0
    ldconfig || true # where it isn't asked (musl), it may be missing or fail
}

if [ -z "$uninstall" ]; then
    cmake --install "$dir" --prefix "$prefix"
    refresh
    exit
fi

target=$DESTDIR
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
DESTDIR=$stage cmake --install "$dir" --prefix "$prefix" >"$stage.log" || {
    cat "$stage.log" >&2
    rm -f "$stage.log"
    exit 1
}
rm -f "$stage.log"

(cd "$stage" && find . ! -type d -printf '%P\0') | while IFS= read -r -d '' file; do
    rm -f -- "$target/$file" && echo "removed $target/$file"
    if [[ $file == *.py ]]; then # and what Python made of it
        module=$(basename "$file" .py)
        rm -f -- "$target/$(dirname "$file")/__pycache__/$module".*.pyc
        rmdir -- "$target/$(dirname "$file")/__pycache__" 2>/dev/null || true
    fi
done
(cd "$stage" && find . -depth -mindepth 1 -type d -printf '%P\0') |
    while IFS= read -r -d '' folder; do
        [ -n "$target" ] || [[ /$folder/ == */tram/* ]] || continue
        [ ! -d "$target/$folder" ] || rmdir --ignore-fail-on-non-empty -- "$target/$folder"
    done
refresh
