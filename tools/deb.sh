#!/bin/bash
# Builds the Debian packages from the source tarball into DIR, and has lintian look at them.
#
#     tools/deb.sh DIR            build once, with the unit tests
#     tools/deb.sh --twice DIR    and once more, elsewhere, at another time of day, in another
#                                 language, on one processor: the packages have to be the same
#
# Nothing but what is committed goes in (tools/dist.sh); debian/ is on top of the source, not in it.
# Warnings of lintian are errors.

set -eu
cd "$(dirname "$0")/.."
twice=
if [ "${1-}" = --twice ]; then
    twice=1
    shift
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
version=$(tools/version.sh)

# once FOLDER ENVIRONMENT…: the packages of the source are then in FOLDER.
once()
{
    local folder=$1 log=$1/build.log
    shift
    rm -rf "$folder"
    mkdir -p "$folder"
    xz -dc "$tarball" | tar --delete "tram-$version/debian" | xz -T1 \
        >"$folder/tram_$version.orig.tar.xz"
    tar -xf "$tarball" -C "$folder"
    if ! (cd "$folder/tram-$version" && env "$@" dpkg-buildpackage -F -us -uc) >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "deb: does not build; all that was said is in $log" >&2
        exit 1
    fi
}

tarball=$(tools/dist.sh "$dir")
once "$dir/first" DEB_BUILD_OPTIONS="parallel=$(nproc)"
if [ -n "$twice" ]; then
    once "$dir/second/elsewhere" DEB_BUILD_OPTIONS='parallel=1 nocheck' TZ=Asia/Shanghai LC_ALL=C \
        HOME=/nonexistent
    for package in "$dir"/first/*.deb; do
        if ! cmp "$package" "$dir/second/elsewhere/$(basename "$package")"; then
            echo "deb: two builds of $(basename "$package") differ" >&2
            exit 1
        fi
    done
    rm -rf "$dir/second"
fi

rm -f "$dir"/*.deb
cp "$dir"/first/*.deb "$dir"
# As root lintian says that it should not be root, which is no matter of the packages.
lintian --fail-on error,warning --allow-root --tag-display-limit 0 \
    "$dir/first/tram_$version"-*_*.changes
echo "in $dir:"
(cd "$dir" && ls ./*.deb)
