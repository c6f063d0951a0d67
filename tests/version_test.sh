#!/bin/bash
# test: timeout=20
# All that names the version names the same one: the header has it (tools/version.sh).

set -u
passed=0 failed=0

same() # PLACE GOT WANT
{
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s: has %s; it should be %s\n' "$1" "$2" "$3"
    fi
}

cd "$TRAM_SRC" || exit
version=$(tools/version.sh)
minor=${version%.*}
same 'a version is three numbers' "${version//[0-9]/}" ..

same CMake "$(sed -n 's/^CMAKE_PROJECT_VERSION:STATIC=//p' "$TRAM_BUILD/CMakeCache.txt")" "$version"
same 'tram --version' "$("$TRAM_BIN" --version)" "tram $version"
same NEWS.md "$(sed -n 's/^## \([0-9.]*\).*/\1/p' NEWS.md | head -n 1)" "$version"
same debian/changelog \
    "$(sed -n '1s/^tram (\(.*\)-0tram[0-9]*) .*/\1/p' debian/changelog)" "$version"
python=bindings/python
same pyproject.toml "$(sed -n 's/^version = "\(.*\)"/\1/p' $python/pyproject.toml)" "$version"
same __version__ "$(sed -n 's/^__version__ = "\(.*\)"/\1/p' $python/tram/__init__.py)" "$version"
for page in man/man*/*; do
    [ -e "$page" ] || continue
    named=$(sed -n 's/^\.TH .*tram \([0-9][0-9.]*\).*/\1/p' "$page")
    same "$page" "${named:-$version}" "$version"
done

# A release need not bring a function; but none comes from a release that isn't yet.
newest=$(sed -n 's/^TRAM_\([0-9.]*\) {.*/\1/p' src/libtram.map | sort -V | tail -n 1)
same 'the newest in src/libtram.map' \
    "$(printf '%s\n' "$newest" "$minor" | sort -V | tail -n 1)" "$minor"
while read -r symbol since; do
    same "debian/libtram0.symbols, $symbol" "TRAM_${since%.*}" "${symbol#*@}"
done < <(sed -n 's/^ \(\S*@\S*\) \(\S*\)$/\1 \2/p' debian/libtram0.symbols)

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
