#!/bin/bash
# Debian packages, in a system that has nothing else: a minimal Debian is unpacked, the packages are
# installed there, two programs talk, the tool sends and receives, for root and for another user;
# then they are removed, and the system is as it was. Run by tests/matrix.sh.
#
#     tests/deb.sh DIR       DIR has the packages (make deb), and keeps the minimal Debian: base.tar
#
# Needs to be root, or a user with sub-IDs (/etc/subuid); says so, and exits with 77, where it can't
# be had. The last line is 'N passed, N failed, N skipped'.

set -u
cd "$(dirname "$0")/.." || exit
dir=$(cd "$1" && pwd) || exit
version=$(tools/version.sh)
passed=0 failed=0

same() # TITLE GOT WANT
{
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s:\n  have: %s\n  want: %s\n' "$1" "$2" "$3"
    fi
}

skip()
{
    echo "deb: not installed in a clean system: $*"
    exit 77
}

# --- Outside: the minimal system, made once -------------------------------------------------------

# Where this machine has its own Debian from, as a line for mmdebstrap: nobody's mirror is in here.
mirror()
{
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
    apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(COMPONENT) $(SIGNED_BY) $(REPO_URI)' \
        'Created-By: Packages' | awk -v codename="$codename" '
        $1 == "Debian" && $2 == codename && $3 == "main" {
            print "deb " ($4 ~ /^\// ? "[signed-by=" $4 "] " : "") $NF " " codename " main"
            exit
        }'
}

base()
{
    [ -s "$dir/base.tar" ] && return
    local line
    line=$(mirror)
    [ -n "$line" ] || skip "apt knows no Debian of this machine's own release"
    rm -f "$dir/base.new.tar"
    mmdebstrap --quiet --variant=minbase "$(. /etc/os-release && echo "$VERSION_CODENAME")" \
        "$dir/base.new.tar" "$line" >"$dir/base.log" 2>&1 || {
        tail -n 5 "$dir/base.log"
        skip "the minimal system could not be made; $dir/base.log says why"
    }
    mv "$dir/base.new.tar" "$dir/base.tar"
}

# What the user of these packages would compile: elsewhere, with what libtram-dev holds.
programs()
{
    local name from=$dir/programs
    rm -rf "$from"
    mkdir -p "$from"
    dpkg-deb -x "$dir"/libtram-dev_*.deb "$from"
    dpkg-deb -x "$dir"/libtram0_*.deb "$from"
    dpkg-deb -x "$dir"/python3-tram_*.deb "$from"
    for name in hello_send hello_recv; do
        gcc -I "$from/usr/include" "examples/$name.c" \
            -L "$from/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)" -ltram \
            -o "$dir/$name" || exit 1
    done
}

if [ "${2-}" != --inside ]; then
    if [ "$(id -u)" -eq 0 ]; then
        enter=(unshare --mount --pid --fork)
    elif unshare --map-root-user --map-auto true 2>/dev/null; then
        enter=(unshare --map-root-user --map-auto --mount --pid --fork)
    else
        skip "that needs root, or sub-IDs of this user in /etc/subuid"
    fi
    "${enter[@]}" true 2>/dev/null || skip "this machine does not let us have mounts of our own"
    base
    programs
    exec "${enter[@]}" "$0" "$dir" --inside
fi

# --- Inside: mounts and processes of our own ------------------------------------------------------

root=$dir/root
rm -rf --one-file-system "$root"
mkdir -p "$root"
mount -t tmpfs -o mode=755 tram "$root" || exit 1
tar -xf "$dir/base.tar" -C "$root" --exclude='./dev/*' || exit 1
mount -t proc proc "$root/proc" || exit 1
mkdir -p "$root/dev/shm" "$root/packages"
touch "$root/dev/null" && mount --bind /dev/null "$root/dev/null" || exit 1
mount -t tmpfs -o mode=1777 shm "$root/dev/shm" || exit 1
cp "$dir"/hello_send "$dir"/hello_recv "$root/packages"

in_root()
{
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"
}

# What there is, but for what dpkg and the linker write about it.
files()
{
    (cd "$root" && find . -xdev ! -path './var/lib/dpkg/*' ! -path './var/log/*' \
        ! -path './var/cache/ldconfig/*' ! -path './packages/*' -printf '%P %y %m %l\n' | sort)
}

before=$(files)
dpkg_before=$(in_root dpkg --get-selections)
packages=()
for name in libtram0 libtram-dev tram; do
    package=$(echo "$dir/${name}_$version"-*.deb)
    packages+=("packages/$(basename "$package")")
    cp "$package" "$root/packages"
    same "$name needs" "$(dpkg-deb -f "$package" Depends | tr ',' '\n' |
        sed 's/ (.*//; s/^ *//' | grep -vx -e libc6 -e libtram0)" ''
done

# The binding is for all processors, and the minimal system has no python3: this one's reads it.
package=$(echo "$dir/python3-tram_$version"-*_all.deb)
same 'python3-tram needs' "$(dpkg-deb -f "$package" Depends | tr ',' '\n' |
    sed 's/ (.*//; s/^ *//; s/:any//' | sort -u | xargs)" 'libtram0 python3'
same 'python3-tram' "$(PYTHONPATH=$dir/programs/usr/lib/python3/dist-packages \
    TRAM_DIR=$root/dev/shm/py \
    TRAM_LIBRARY=$(echo "$dir"/programs/usr/lib/*/libtram.so.0) PYTHONDONTWRITEBYTECODE=1 \
    python3 -c '
import tram, tram.aio
with tram.Node(None, "1.0.0.1") as node:
    node.send("1.0.0.1", b"to itself")
    print(node.recv().data.decode())' 2>&1)" 'to itself'
rm -rf "$root/dev/shm/py"

out=$(in_root dpkg --install "${packages[@]}" 2>&1)
same "dpkg --install ($out)" $? 0
same 'tram --version' "$(in_root tram --version)" "tram $version"
same 'nothing else was installed' "$(diff <(echo "$dpkg_before") <(in_root dpkg --get-selections) |
    sed -n 's/^> \([a-z0-9-]*\).*/\1/p' | xargs)" 'libtram-dev libtram0 tram'
same 'pages and completions' "$(in_root dpkg -L tram libtram-dev | grep -c -e '/man/man.*gz' \
    -e completions/)" "$(find man completion -type f | wc -l)"

# talk USER PROGRAM…: two programs, then the tool, one to the other.
talk()
{
    local user=$1 line='' out
    in_root setpriv --reuid "$user" --regid "$user" --clear-groups /packages/hello_send
    same "$user: hello_send" $? 0
    exec 3< <(in_root setpriv --reuid "$user" --regid "$user" --clear-groups \
        timeout 20 /packages/hello_recv 2>&1)
    read -r -t 20 line <&3
    same "$user: hello_recv" "$line" 'hello, world'
    exec 3<&-
    out=$(echo packed | in_root setpriv --reuid "$user" --regid "$user" --clear-groups \
        tram send --from 1.0.0.1 --to 1.0.0.3 2>&1)
    same "$user: tram send ($out)" $? 0
    same "$user: tram recv" "$(in_root setpriv --reuid "$user" --regid "$user" --clear-groups \
        tram recv --id 1.0.0.3 --count 1)" packed
}

talk 0
talk 65534

out=$(in_root dpkg --remove tram libtram-dev libtram0 2>&1)
same "dpkg --remove ($out)" $? 0
out=$(in_root dpkg --purge tram libtram-dev libtram0 2>&1)
same "dpkg --purge ($out)" $? 0
same 'files left' "$(diff <(echo "$before") <(files))" ''
same 'packages left' "$(in_root dpkg --get-selections)" "$dpkg_before"

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
