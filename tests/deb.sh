#!/bin/bash
# Debian packages, in a system that has nothing else: a minimal Debian is unpacked, the packages are
# installed there, two programs talk, the tool sends and receives, for root and for another user;
# then they are removed, and the system is as it was. Run by tests/matrix.sh.
#
#     tests/deb.sh DIR     DIR has the packages (make deb), and keeps the minimal Debian, base.tar,
#                          one with Python for python3-tram, python.tar, and one with what the
#                          second layer needs, service.tar
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

# base NAME OPTION…: what was made before with these options is kept.
base()
{
    local line name=$1
    shift
    [ -s "$dir/$name.tar" ] && [ "$(cat "$dir/$name.options" 2>/dev/null)" = "$*" ] && return
    line=$(mirror)
    [ -n "$line" ] || skip "apt knows no Debian of this machine's own release"
    rm -f "$dir/new.tar"
    mmdebstrap --quiet --variant=minbase "$@" \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$dir/new.tar" "$line" \
        >"$dir/$name.log" 2>&1 || {
        tail -n 5 "$dir/$name.log"
        skip "the minimal system could not be made; $dir/$name.log says why"
    }
    mv "$dir/new.tar" "$dir/$name.tar"
    echo "$*" >"$dir/$name.options"
}

# What the user of these packages would compile: elsewhere, with what libtram-dev holds.
programs()
{
    local name lib from=$dir/programs
    rm -rf "$from"
    mkdir -p "$from"
    dpkg-deb -x "$dir"/libtram-dev_*.deb "$from"
    dpkg-deb -x "$dir"/libtram0_*.deb "$from"
    dpkg-deb -x "$dir"/libtram-service0_*.deb "$from"
    lib=$from/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
    for name in hello_send hello_recv; do
        gcc -I "$from/usr/include" "examples/$name.c" -L "$lib" -ltram -o "$dir/$name" || exit 1
    done
    gcc -I "$from/usr/include" tests/install/tls.c -L "$lib" -ltram-service -ltram \
        -Wl,-rpath-link,"$lib" -o "$dir/tls" || exit 1
}

if [ "${2-}" != --inside ]; then
    if [ "$(id -u)" -eq 0 ]; then
        enter=(unshare --mount --pid --net --fork)
    elif unshare --map-root-user --map-auto true 2>/dev/null; then
        enter=(unshare --map-root-user --map-auto --mount --pid --net --fork)
    else
        skip "that needs root, or sub-IDs of this user in /etc/subuid"
    fi
    "${enter[@]}" true 2>/dev/null ||
        skip "this machine does not let us have mounts and a network of our own"
    base base
    base python --include=python3
    base service --include=libprotobuf-c1,libprotobuf32,libssl3,libuv1
    programs
    exec "${enter[@]}" "$0" "$dir" --inside
fi

# --- Inside: mounts, processes and a network of our own -------------------------------------------

ip link set lo up || exit 1
[ -p "$dir/never" ] || mkfifo "$dir/never"

# system NAME: from now on $root is a new one of that base.
system()
{
    root=$dir/root-$1
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    mount -t tmpfs -o mode=755 tram "$root" || exit 1
    tar -xf "$dir/$1.tar" -C "$root" --exclude='./dev/*' || exit 1
    mount -t proc proc "$root/proc" || exit 1
    mkdir -p "$root/dev/shm" "$root/packages"
    touch "$root/dev/null" && mount --bind /dev/null "$root/dev/null" || exit 1
    mount -t tmpfs -o mode=1777 shm "$root/dev/shm" || exit 1
    cp "$dir"/hello_send "$dir"/hello_recv "$dir"/tls examples/*.py "$dir"/*.deb "$root/packages"
    before=$(files)
    dpkg_before=$(in_root dpkg --get-selections)
}

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

installs() # NAME…
{
    local name out packages=()
    for name in "$@"; do
        packages+=("packages/$(cd "$root/packages" && echo "${name}_$version"-*.deb)")
    done
    out=$(in_root dpkg --install "${packages[@]}" 2>&1)
    same "dpkg --install $* ($out)" $? 0
}

# What is removed, and then purged, leaves the system as it was.
leaves_nothing() # NAME…
{
    local out
    out=$(in_root dpkg --remove "$@" 2>&1)
    same "dpkg --remove ($out)" $? 0
    out=$(in_root dpkg --purge "$@" 2>&1)
    same "dpkg --purge ($out)" $? 0
    same 'files left' "$(diff <(echo "$before") <(files))" ''
    same 'packages left' "$(in_root dpkg --get-selections)" "$dpkg_before"
}

# hears USER PROGRAM…: that is a hello_recv.
hears()
{
    local user=$1 line=''
    shift
    exec 3< <(in_root setpriv --reuid "$user" --regid "$user" --clear-groups \
        timeout 20 "$@" 2>&1)
    read -r -t 20 line <&3
    same "$user: $*" "$line" 'hello, world'
    exec 3<&-
}

# needs NAME WHAT: besides libc6.
needs()
{
    same "$1 needs" "$(dpkg-deb -f "$dir/$1_$version"-*.deb Depends | tr ',' '\n' |
        sed 's/ (.*//; s/^ *//' | grep -vx libc6 | sort -u | xargs)" "$2"
}

needs libtram0 ''
needs tram 'libgcc-s1 libprotobuf-c1 libprotobuf32 libssl3 libstdc++6 libuv1'
needs libtram-service0 'libprotobuf-c1 libtram0 libuv1'
needs libtram-tls0 'libssl3 libtram-service0'
needs libtram-dev 'libtram-service0 libtram0'
needs tram-daemon 'init-system-helpers libprotobuf-c1 libssl3 libuv1'
same 'python3-tram needs' "$(dpkg-deb -f "$dir/python3-tram_$version"-*_all.deb Depends |
    tr ',' '\n' | sed 's/ (.*//; s/^ *//; s/:any//' | sort -u | xargs)" 'libtram0 python3'

# talk USER: two programs.
talk()
{
    in_root setpriv --reuid "$1" --regid "$1" --clear-groups /packages/hello_send
    same "$1: hello_send" $? 0
    hears "$1" /packages/hello_recv
}

# The library needs nothing that a minimal system has not.
system base
installs libtram0
same 'nothing else was installed' "$(diff <(echo "$dpkg_before") <(in_root dpkg --get-selections) |
    sed -n 's/^> \([a-z0-9-]*\).*/\1/p' | xargs)" 'libtram0'
talk 0
talk 65534
leaves_nothing libtram0

# tool USER: from one node to the other.
tool()
{
    local user=$1 out
    out=$(echo packed | in_root setpriv --reuid "$user" --regid "$user" --clear-groups \
        tram send --from 1.0.0.1 --to 1.0.0.3 2>&1)
    same "$user: tram send ($out)" $? 0
    same "$user: tram recv" "$(in_root setpriv --reuid "$user" --regid "$user" --clear-groups \
        tram recv --id 1.0.0.3 --count 1)" packed
}

# log NAME PATTERN: wait until that daemon says so.
log()
{
    local until=$((SECONDS + 20))
    until grep -q "$2" "$root/plant/$1.log" || [ "$SECONDS" -ge "$until" ]; do
        read -r -t 0.1 <>"$dir/never"
    done
    same "$1 says '$2'" "$(grep -q "$2" "$root/plant/$1.log" && echo yes)" yes
}

# Two hosts by TLS, with keys that the tool made: a node of one sends to a node of the other. And a
# program's own tls://, for which it loads what libtram-tls0 holds.
hosts()
{
    local out alpha beta user=(env -i PATH=/usr/sbin:/usr/bin chroot "$root" setpriv
        --reuid 65534 --regid 65534 --clear-groups env -C /plant)
    mkdir "$root/plant" && chown 65534:65534 "$root/plant"
    "${user[@]}" mkdir -m 700 a b
    out=$("${user[@]}" tram keys --keys ca init plant 2>&1 &&
        "${user[@]}" tram keys --keys ca host alpha beta 2>&1)
    same "tram keys ($out)" $? 0
    "${user[@]}" tramd --dir a --keys alpha.keys --listen 127.0.0.1 --host-server here \
        2>"$root/plant/alpha.log" &
    alpha=$!
    "${user[@]}" tramd --dir b --keys beta.keys --listen 127.0.0.2 --host-server alpha@127.0.0.1 \
        2>"$root/plant/beta.log" &
    beta=$!
    log alpha 'host beta: connected'
    log beta 'host alpha: connected'
    exec 3< <("${user[@]}" timeout 20 tram recv --dir b --id 1.0.0.3 --count 1)
    out=$(echo carried | "${user[@]}" timeout 20 tram send --dir a --from 1.0.0.1 --to 1.0.0.3 2>&1)
    same "tram send to another host ($out)" $? 0
    read -r -t 20 line <&3
    same 'tram recv from another host' "$line" carried
    exec 3<&-
    same 'tram hosts' "$("${user[@]}" tram hosts --dir a | awk 'NR > 1 { print $1 }' | xargs)" \
        'alpha beta'
    out=$("${user[@]}" timeout 20 /packages/tls alpha.keys 2>&1)
    same "a program's tls:// ($out)" $? 0
    kill "$alpha" "$beta"
    wait "$alpha" "$beta" 2>/dev/null
    rm -rf --one-file-system "${root:?}/plant"
}

# The tool; and the second layer: its daemon serves a bus for a user, and nothing of it runs by
# itself.
system service
installs libtram0 libtram-service0 libtram-tls0 libtram-dev tram-daemon tram
same 'tram --version' "$(in_root tram --version)" "tram $version"
same 'pages and completions' "$(for package in "$dir"/*.deb; do dpkg-deb -c "$package"; done |
    grep -c -e '/man/man.*gz' -e completions/.)" "$(find man completion -type f | wc -l)"
tool 0
tool 65534
same 'tramd --version' "$(in_root tramd --version)" "tramd $version"
same 'enabled' "$(find "$root/etc/systemd" -name 'tramd*' 2>/dev/null)" ''
same 'the example' "$(in_root sh -c 'zcat -f /usr/share/doc/tram-daemon/examples/tramd.conf* \
    >/tmp/conf && tramd --check-config --config /tmp/conf')" /tmp/conf
rm "$root/tmp/conf"
exec 3< <(in_root setpriv --reuid 65534 --regid 65534 --clear-groups timeout 20 tramd 2>&1)
read -r -t 20 line <&3
same 'tramd serves' "${line##* tramd }" 'info: serves /dev/shm/tram-65534/default, with 0 names'
exec 3<&-
hosts
leaves_nothing tram tram-daemon libtram-dev libtram-tls0 libtram-service0 libtram0

# Python: from it to C, and to it from C. (The receivers are other users: the first one still runs.)
system python
installs libtram0 python3-tram
in_root python3 /packages/hello_send.py
same 'hello_send.py' $? 0
hears 0 /packages/hello_recv
in_root setpriv --reuid 65534 --regid 65534 --clear-groups /packages/hello_send
hears 65534 python3 /packages/hello_recv.py
leaves_nothing python3-tram libtram0

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
