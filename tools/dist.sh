#!/bin/bash
# Makes the source tarball, DIR/tram-VERSION.tar.xz, of what is committed. The same commit gives the
# same tarball. In a tree that is no clone, it is made of the files that lie there.
#
#     tools/dist.sh DIR

set -eu
cd "$(dirname "$0")/.."
dir=$1
version=$(tools/version.sh)
name=tram-$version
mkdir -p "$dir"
made=$dir/$name.tar

git()
{
    command git -c safe.directory='*' "$@"
}

if [ -e .git ]; then
    [ -z "$(git status --porcelain)" ] || echo "dist: what is not committed is not in it" >&2
    git archive --prefix="$name/" -o "$made" HEAD
else
    when=$(stat -c %Y include/tram/tram.h)
    tar --sort=name --mtime="@$when" --owner=0 --group=0 --numeric-owner --format=ustar \
        --exclude='./build*' --exclude=__pycache__ --transform "s,^\.,$name," -cf "$made" .
fi
xz -9 -T1 -f "$made"
echo "$made.xz"
