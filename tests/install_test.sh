#!/bin/bash
# test: timeout=120 label=noasan,notsan
# What is installed can be used by others: into a DESTDIR; from there the examples are built, in C
# and C++, through pkg-config and through CMake, with the shared and the static library, and talk to
# each other; the tree is moved, and does it again; and removing leaves nothing. (A sanitizer would
# have to be in the user's program, too.)

set -u
passed=0 failed=0
top=$TRAM_BUILD/install-test
dest=$top/dest
prefix=/opt/some/where
cc=${TRAM_CC:-cc}
case $(basename "$cc") in
*clang*) cxx=clang++ ;;
*musl*) cxx= ;; # has no C++ library
*) cxx=g++ ;;
esac
[ -n "$cxx" ] && ! command -v "$cxx" >/dev/null && cxx=
rm -rf "$top"
mkdir -p "$top"
trap 'rm -rf "$top"' EXIT

same() # TITLE GOT WANT
{
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s:\n  have: %s\n  want: %s\n' "$1" "$2" "$3"
    fi
}

works() # TITLE COMMAND…
{
    local title=$1 out
    shift
    out=$("$@" 2>&1)
    same "$title" "$?${out:+: $out}" "0${out:+: $out}"
}

there() # TREE NAME…: below the prefix
{
    local tree=$1 name
    shift
    for name in "$@"; do
        same "$name is installed" "$(compgen -G "$tree/$name" >/dev/null && echo yes)" yes
    done
}

# talk TITLE SENDER RECEIVER: what one sends the other prints.
talk()
{
    local line='' receiver
    works "$1: send" "$2"
    exec 3< <(exec "$3" 2>&1)
    receiver=$!
    read -r -t "$((10 * ${TRAM_TIME_SCALE:-1}))" line <&3
    kill "$receiver"
    wait "$receiver" 2>/dev/null
    exec 3<&-
    same "$1: receive" "$line" 'hello, world'
}

# --- Into a DESTDIR -------------------------------------------------------------------------------

works 'make install' make -C "$TRAM_SRC" --no-print-directory -s install-built \
    BUILD="$TRAM_BUILD" DESTDIR="$dest" PREFIX="$prefix"
tree=$dest$prefix
same 'nothing beside the prefix' "$(find "$dest" -type f ! -path "$tree/*")" ''
version=$("$TRAM_SRC/tools/version.sh")
there "$tree" bin/tram include/tram/tram.h lib/libtram.so lib/libtram.so.0 \
    "lib/libtram.so.$version" lib/libtram.a lib/pkgconfig/tram.pc lib/cmake/tram/tram-config.cmake \
    share/doc/tram/LICENSE share/doc/tram/README.md \
    share/bash-completion/completions/tram share/zsh/site-functions/_tram \
    'lib/python3*/*-packages/tram/aio.py' 'lib/python3*/*-packages/tram/py.typed'
if [ "${TRAM_SERVICE:-ON}" = ON ]; then
    there "$tree" bin/tramd share/bash-completion/completions/tramd \
        lib/cmake/tram/tram-protobuf.cmake share/doc/tram/examples/typed.proto \
        share/zsh/site-functions/_tramd share/doc/tram/examples/tramd.conf \
        lib/systemd/system/tramd@.service
    there "$tree" include/tram/service.h lib/libtram-service.so lib/libtram-service.so.0 \
        "lib/libtram-service.so.$version" lib/pkgconfig/tram-service.pc \
        lib/systemd/user/tramd.service
    same 'where the unit finds the daemon' \
        "$(sed -n 's/^ExecStart=\(\S*\).*/\1/p' "$tree/lib/systemd/user/tramd.service")" \
        "$prefix/bin/tramd"
fi
same 'pages' "$(cd "$tree/share" && find man -type f | sort)" \
    "$(cd "$TRAM_SRC" && find man -name '*.[1-9]' | sort)"
ours=(-name '*.h*') # all, or those of libtram
[ "${TRAM_SERVICE-}" = OFF ] && ours=('(' -name tram.h -o -name '*.hpp' ')')
same 'headers' "$(cd "$tree/include" && find . -type f | sort)" \
    "$(cd "$TRAM_SRC/include" && find . "${ours[@]}" | sort)"
same 'the installed tool' "$("$tree/bin/tram" --version)" "tram $version"
same 'open to others' "$(find "$tree" ! -type l ! -perm -444)" ''
same 'writable for others' "$(find "$tree" ! -type l -perm /022)" ''
same 'paths of this machine' "$(grep -rlF "$TRAM_SRC" "$tree/lib/pkgconfig" "$tree/lib/cmake")" ''

# --- pkg-config -----------------------------------------------------------------------------------

pc()
{
    PKG_CONFIG_SYSROOT_DIR=$dest PKG_CONFIG_LIBDIR=$tree/lib/pkgconfig pkg-config "$@" tram
}

same 'pkg-config: version' "$(pc --modversion)" "$version"
same 'pkg-config: flags' "$(pc --cflags --libs | xargs)" "-I$tree/include -L$tree/lib -ltram"
works 'pkg-config: valid' pc --validate
mkdir -p "$top/pc"
if [ "${TRAM_SERVICE-}" = ON ]; then
    same 'libtram-service.so has no path in it' \
        "$(readelf -d "$tree/lib/libtram-service.so" | grep -c -e RUNPATH -e RPATH)" 0
    # shellcheck disable=SC2046 # words
    works 'loop_epoll, pkg-config' "$cc" "$tree/share/doc/tram/examples/loop_epoll.c" \
        $(PKG_CONFIG_SYSROOT_DIR=$dest PKG_CONFIG_LIBDIR=$tree/lib/pkgconfig \
            pkg-config --cflags --libs tram-service) -Wl,-rpath-link,"$tree/lib" -o "$top/pc/loop"
    same 'loop_epoll, needs' "$(LD_LIBRARY_PATH=$tree/lib ldd "$top/pc/loop" |
        grep -c 'not found')" 0
fi
# libtram-tls.so is found beside libtram-service.so, wherever that lies.
if [ "${TRAM_TLS-}" = ON ]; then
    there "$tree" "lib/libtram-tls.so.$version" lib/libtram-tls.so.0
    # shellcheck disable=SC2046 # words
    works 'tls, pkg-config' "$cc" "$TRAM_SRC/tests/install/tls.c" \
        $(PKG_CONFIG_SYSROOT_DIR=$dest PKG_CONFIG_LIBDIR=$tree/lib/pkgconfig \
            pkg-config --cflags --libs tram-service) -Wl,-rpath,"$tree/lib" -o "$top/pc/tls"
    mkdir "$top/keys"
    works 'tram keys init' env -C "$top/keys" "$tree/bin/tram" keys --keys ca init plant
    works 'tram keys host' env -C "$top/keys" "$tree/bin/tram" keys --keys ca host alpha
    works "tls://, shared library" timeout "$((20 * ${TRAM_TIME_SCALE:-1}))" \
        "$top/pc/tls" "$top/keys/alpha.keys"
fi
examples=$tree/share/doc/tram/examples
for name in hello_send hello_recv; do
    # shellcheck disable=SC2046 # words
    works "$name, C, pkg-config" "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror \
        -D_GNU_SOURCE "$examples/$name.c" $(pc --cflags --libs) -o "$top/pc/$name-c"
    # shellcheck disable=SC2046
    works "$name, C, static" "$cc" -static "$examples/$name.c" \
        $(pc --static --cflags --libs) -o "$top/pc/$name-static"
    [ -n "$cxx" ] || continue
    # shellcheck disable=SC2046
    works "$name, C++, pkg-config" "$cxx" -std=c++17 -Wall -Wextra -Wpedantic -Werror \
        -x c++ "$examples/$name.c" $(pc --cflags --libs) -o "$top/pc/$name-cc"
done
(
    export LD_LIBRARY_PATH=$tree/lib
    talk 'pkg-config, C and C' "$top/pc/hello_send-c" "$top/pc/hello_recv-c"
    talk 'pkg-config, static to C' "$top/pc/hello_send-static" "$top/pc/hello_recv-c"
    talk 'pkg-config, C to static' "$top/pc/hello_send-c" "$top/pc/hello_recv-static"
    if [ -n "$cxx" ]; then
        talk 'pkg-config, C++ to C' "$top/pc/hello_send-cc" "$top/pc/hello_recv-c"
        talk 'pkg-config, C to C++' "$top/pc/hello_send-c" "$top/pc/hello_recv-cc"
    fi
    echo "$passed $failed" >"$top/count"
)
read -r passed failed <"$top/count"

# As README.md says it.
block() # LANGUAGE N
{
    awk -v open="^\`\`\`$1\$" -v n="$2" '
        /^```$/ { inside = 0 }
        inside && count == n { print }
        $0 ~ open { inside = 1; count++ }' "$TRAM_SRC/README.md"
}
mkdir -p "$top/readme"
cp "$examples/hello_send.c" "$top/readme/mine.c"
block cmake 1 >"$top/readme/CMakeLists.txt"
lines=0
while read -r command; do
    works "README: $command" env -C "$top/readme" PKG_CONFIG_SYSROOT_DIR="$dest" \
        PKG_CONFIG_LIBDIR="$tree/lib/pkgconfig" bash -c "${command/#cc/$cc}"
    lines=$((lines + 1))
done < <(block sh 8)
same 'README: lines for pkg-config' "$lines" 2
works 'README: CMake, configure' cmake -G Ninja -S "$top/readme" -B "$top/readme/build" \
    -DCMAKE_PREFIX_PATH="$tree" -DCMAKE_C_COMPILER="$cc"
works 'README: CMake, build' ninja -C "$top/readme/build"
works 'README: CMake, run' "$top/readme/build/mine"
works 'README: static, run' "$top/readme/mine-static"
rm -rf "${TRAM_DIR:?}/default" # what was sent so and not received

# --- CMake, here and elsewhere --------------------------------------------------------------------

# The daemon that was installed, and two programs that tram_protobuf_generate() was for.
typed() # TITLE TREE BUILD
{
    local daemon server
    "$2/bin/tramd" 2>/dev/null &
    daemon=$!
    "$3/typed_server" &
    server=$!
    same "$1" "$(timeout "$((10 * ${TRAM_TIME_SCALE:-1}))" "$3/typed_client" ann 7 | xargs)" \
        'ann has place 1 1. ann 7'
    kill "$server" "$daemon"
    wait "$server" "$daemon" 2>/dev/null
    rm -rf "${TRAM_DIR:?}/default"
}

with_cmake() # TITLE TREE
{
    local title=$1 build=$top/cmake languages=(c) sender receiver
    [ -n "$cxx" ] && languages+=(cpp)
    works "$title: configure" cmake -G Ninja -S "$TRAM_SRC/tests/install" -B "$build" \
        -U tram_DIR -DCMAKE_PREFIX_PATH="$2" -DCMAKE_C_COMPILER="$cc" \
        ${cxx:+-DCMAKE_CXX_COMPILER="$cxx"} -DWITH_CXX="${cxx:+ON}" \
        -DWANTED_VERSION="${version%.*}" -DEXAMPLES="$2/share/doc/tram/examples"
    same "$title: found" "$(sed -n 's/^tram_DIR:[A-Z]*=//p' "$build/CMakeCache.txt")" \
        "$2/lib/cmake/tram"
    works "$title: build" ninja -C "$build"
    for sender in "${languages[@]}"; do
        for receiver in "${languages[@]}"; do
            talk "$title, $sender to $receiver" "$build/hello_send-$sender-tram" \
                "$build/hello_recv-$receiver-tram"
            talk "$title, $sender to $receiver, static" "$build/hello_send-$sender-tram_static" \
                "$build/hello_recv-$receiver-tram_static"
        done
    done
    if [ "${TRAM_SERVICE:-ON}" = ON ]; then
        typed "$title, typed service" "$2" "$build"
    fi
    same "$title: its library" "$(readelf -d "$build/hello_send-c-tram" | sed -n \
        -e 's/.*(NEEDED).*\[\(libtram.*\)\]/\1/p' -e 's/.*(RUNPATH).*\[\(.*\)\]/\1/p' | xargs)" \
        "libtram.so.0 $2/lib"
}

with_cmake CMake "$tree"
mv "$dest" "$top/moved"
with_cmake 'CMake, moved' "$top/moved$prefix"
mv "$top/moved" "$dest"

# --- And away -------------------------------------------------------------------------------------

mkdir -p "$tree/share/doc/tram"
touch "$tree/share/doc/tram/mine"
remove=(make -C "$TRAM_SRC" --no-print-directory -s uninstall-built BUILD="$TRAM_BUILD"
    DESTDIR="$dest" PREFIX="$prefix")
works 'make uninstall' "${remove[@]}"
same "what is not ours stays" "$(find "$dest" -type f)" "$tree/share/doc/tram/mine"
rm "$tree/share/doc/tram/mine"
works 'make uninstall, again' "${remove[@]}"
same 'nothing is left' "$(find "$dest" 2>/dev/null)" "$dest"

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
