#!/bin/bash
# test: timeout=60 label=noasan,notsan,noO0,nomusl
# Each installed header compiles alone, and twice, as C11 and as C++17, the C++ header as C++20,
# too, without a warning, in GCC and in Clang where it is installed; its macros can be used. (Says
# nothing of how the library is built: one build does it. Further dialects: cmake/headers.cmake.)

set -u
passed=0 failed=0
folder=$TRAM_DIR/headers
mkdir -p "$folder"

compile() # COMPILER STANDARD FILE
{
    local out more=()
    [[ $3 == *.hpp.cc ]] && more=(-Wconversion -Wsign-conversion -Wold-style-cast)
    if out=$("$1" "-std=$2" -fsyntax-only -Wall -Wextra -Wpedantic -Werror "${more[@]}" \
        -I "$TRAM_SRC/include" "$3" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$1 -std=$2 $(basename "$3"):"
        echo "$out"
    fi
}

# unit FILE HEADER: includes it twice, and uses what macros there are.
unit()
{
    printf '#include <tram/%s>\n#include <tram/%s>\n' "$2" "$2" >"$1"
    [ "$2" = tram.h ] || return
    cat >>"$1" <<'END'
extern struct tram_options options;
struct tram_options options = TRAM_OPTIONS_INIT;
int numbers(int64_t *timeout, tram_id *id);
int numbers(int64_t *timeout, tram_id *id)
{
    struct tram_options own = TRAM_OPTIONS_INIT;
    *timeout = TRAM_FOREVER + TRAM_NO_SPIN;
    *id = TRAM_ID(1, 2, 3, 4) | TRAM_EPHEMERAL;
    own.flags = TRAM_OPEN_PREFAULT | TRAM_OPEN_LOCK | TRAM_OPEN_NO_SIGBUS | TRAM_OPEN_STAMP;
    return (int) (TRAM_NOWAIT | TRAM_MORE | TRAM_HOLD | own.flags) + TRAM_STAGED;
}
END
}

compilers=0
for pair in gcc:g++ clang:clang++; do
    for header in "$TRAM_SRC"/include/tram/*; do
        name=$(basename "$header")
        if [[ $name == *.h ]] && command -v "${pair%:*}" >/dev/null; then
            unit "$folder/$name.c" "$name"
            compile "${pair%:*}" c11 "$folder/$name.c"
            compilers=$((compilers + 1))
        fi
        if command -v "${pair#*:}" >/dev/null; then
            unit "$folder/$name.cc" "$name"
            compile "${pair#*:}" c++17 "$folder/$name.cc"
            [ "$name" = tram.hpp ] && compile "${pair#*:}" c++20 "$folder/$name.cc"
        fi
    done
done

[ "$compilers" -gt 0 ] || { echo "neither gcc nor clang is here"; exit 77; }
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
