#!/bin/bash
# The same tests in other builds: another compiler, ThreadSanitizer, no optimiser, another libc,
# another processor, the source tarball; and Debian packages in a clean system. A table at the end;
# exit code 0 only when no part failed.
#
#     tests/matrix.sh              all parts
#     ONLY="musl arm64" tests/matrix.sh
#
# A test stays out of a part by its label: noclang, notsan, noO0, nomusl; arm64 runs unit tests, but
# for those labelled noarm64.

set -u
cd "$(dirname "$0")/.." || exit
table=()
failures=0

parts="clang tsan O0 musl arm64 dist deb"
[ "$(uname -m)" = aarch64 ] && parts="clang tsan O0 musl dist deb"

# record NAME WORD…: a line of the table
record()
{
    local name=$1
    shift
    table+=("$(printf '%-8s %s' "$name" "$*")")
}

# part NAME CTEST_OPTIONS -- CMAKE_OPTIONS
part()
{
    local name=$1 start=$SECONDS dir=build-$1 p f s first choose=()
    shift
    while [ "$1" != -- ]; do
        choose+=("$1")
        shift
    done
    shift
    echo "== $name"
    if ! tools/build.sh "$dir" "$@"; then
        record "$name" "does not build; to see only that: tools/build.sh $dir ${*@Q}"
        failures=$((failures + 1))
        return
    fi
    read -r p f s first < <(tools/test.sh "$dir" "${choose[@]}") || p=0 f=1 s=0 first=
    failures=$((failures + f))
    record "$name" "$p passed, $f failed, $s skipped, $((SECONDS - start)) s"
    if [ -n "$first" ]; then
        first="^${first//./\\.}\$"
        dir=${inside-}$dir
        record "" "to see the first: ctest --test-dir $dir -R '$first' --output-on-failure"
    fi
}

# The tarball builds and passes on its own: no git, and nothing of this tree.
dist_part()
{
    local top=$PWD tarball
    echo "== dist"
    rm -rf build-dist
    if ! tarball=$(tools/dist.sh build-dist) || ! tar -xf "$tarball" -C build-dist; then
        record dist "no tarball"
        failures=$((failures + 1))
        return
    fi
    cd "${tarball%.tar.xz}" || exit
    inside=${PWD#"$top"/}/ part dist -LE '^soak$' --
    cd "$top" || exit
}

# Packages: built twice, alike; lintian; installed, used and removed in a minimal system.
deb_part()
{
    local start=$SECONDS last status
    echo "== deb"
    tools/need.sh deb || exit
    if ! tools/deb.sh --twice build-deb; then
        record deb "failed; to see only that: tools/deb.sh --twice build-deb"
        failures=$((failures + 1))
        return
    fi
    tests/deb.sh build-deb | tee build-deb/test.log
    status=${PIPESTATUS[0]}
    last=$(tail -n 1 build-deb/test.log)
    [ "$status" -eq 0 ] || [ "$status" -eq 77 ] || failures=$((failures + 1))
    record deb "$last, $((SECONDS - start)) s"
}

# musl-gcc hides the system's headers, the kernel's among them: this folder shows those alone.
kernel_headers()
{
    local dir=$PWD/build-musl-headers name from
    mkdir -p "$dir"
    for name in linux asm asm-generic; do
        for from in "/usr/include/$name" "/usr/include/$(gcc -print-multiarch)/$name"; do
            [ -d "$from" ] && ln -sfn "$from" "$dir/$name"
        done
    done
    echo "$dir"
}

run_part()
{
    case $1 in
    clang) part clang -LE '^(soak|noclang)$' -- -DCMAKE_C_COMPILER=clang ;;
    tsan)
        part tsan -LE '^(soak|notsan)$' -- -DCMAKE_C_COMPILER=clang -DTRAM_SANITIZE=thread
        ;;
    O0) part O0 -LE '^(soak|noO0)$' -- -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Debug ;;
    musl)
        part musl -LE '^(soak|nomusl)$' -- -DCMAKE_C_COMPILER=musl-gcc \
            -DCMAKE_C_FLAGS="-idirafter $(kernel_headers)"
        ;;
    arm64)
        part arm64 -L '^unit$' -LE '^noarm64$' -- -DCMAKE_SYSTEM_NAME=Linux \
            -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc \
            '-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu'
        ;;
    dist) dist_part ;;
    deb) deb_part ;;
    *)
        echo "matrix: '$1' is none of: $parts" >&2
        exit 2
        ;;
    esac
}

for name in ${ONLY:-$parts}; do
    run_part "$name"
done

echo
echo "== matrix"
printf '%s\n' "${table[@]}"
[ "$failures" -eq 0 ]
