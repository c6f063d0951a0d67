#!/bin/bash
# Sees to the Debian packages that a task needs: names those that are missing and installs them.
# Quick and silent when all are there.
#
#     tools/need.sh GROUP…        groups: build check coverage matrix deb bench
#     tools/need.sh --list GROUP…

set -u

# libclang-rt carries the version of clang in its name.
clang_rt()
{
    local version
    version=$({ dpkg-query -W -f 'Depends: ${Depends}\n' clang || apt-cache depends clang; } \
        2>/dev/null | sed -n 's/.*Depends:.* *clang-\([0-9][0-9]*\).*/\1/p' | head -1)
    echo "libclang-rt-${version:-14}-dev"
}

group()
{
    case $1 in
    build)
        echo gcc g++ libc6-dev linux-libc-dev binutils cmake ninja-build pkg-config
        echo libuv1-dev libprotobuf-c-dev protobuf-c-compiler libprotobuf-dev libssl-dev
        ;;
    check) # for tests of event loops: libuv, glib; of man pages: mandoc, groff; of completion: zsh;
            # of cores: gdb; of unit files: systemd; of hosts: iproute2, util-linux
        echo openssl python3 spin valgrind libuv1 libglib2.0-0 libglib2.0-dev mandoc groff-base
        echo zsh gdb systemd iproute2 util-linux
        ;;
    matrix)
        echo clang "$(clang_rt)" musl-tools
        if [ "$(uname -m)" != aarch64 ]; then
            echo qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
        fi
        ;;
    coverage) echo gcovr ;;
    deb)
        echo build-essential debhelper dh-python dpkg-dev iproute2 lintian mmdebstrap python3
        echo xz-utils
        ;;
    bench)
        echo python3 libzmq3-dev libsystemd-dev libnng-dev iceoryx libiceoryx-posh-dev
        echo libiceoryx-binding-c-dev
        ;;
    *)
        echo "need.sh: unknown group '$1'" >&2
        return 1
        ;;
    esac
}

list=
if [ "${1-}" = --list ]; then
    list=1
    shift
fi

wanted=()
for name in "$@"; do
    packages=$(group "$name") || exit 2
    read -r -d '' -a more <<<"$packages"
    wanted+=("${more[@]}")
done

if [ -n "$list" ]; then
    printf '%s\n' "${wanted[@]}"
    exit 0
fi

if ! command -v dpkg-query >/dev/null; then
    echo "need.sh: no Debian; make sure that there is what these packages hold: ${wanted[*]}" >&2
    exit 0
fi

installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
    sed -n 's/^installed //p' | tr '\n' ' ')"
missing=()
for package in "${wanted[@]}"; do
    [[ $installed == *" $package "* ]] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "missing packages: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "need.sh: as root, please: apt-get install -y ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

apt()
{
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt update >"$log" 2>&1 || cat "$log" >&2
if ! apt install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
    cat "$log" >&2
    echo "need.sh: could not install: ${missing[*]}" >&2
    exit 1
fi
echo "installed: ${missing[*]}"
