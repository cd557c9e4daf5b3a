# SPDX-License-Identifier: ISC
# The daemon among real programs: with the build that users get, and the quick part under the sanitizers beside it, as
# most of the time is waiting.
set -u
top=$(mktemp -d /tmp/e2e.XXXXXX)
chmod 755 "$top" # tests become other users
trap 'rm -rf "$top"' EXIT
build() { # directory
    ninja -C "$1" waypost waypost-simulate >"$top/build" 2>&1 || {
        tail -n 30 "$top/build"
        exit 1
    }
}
build build
[ -e build-asan/build.ninja ] || meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false || exit 1
build build-asan

row() { # name, directory of the build, pytest's options
    name=$1
    mkdir "$top/$name"
    # Copies, as a build meanwhile would pull them away.
    cp "$2/waypost" "$2/waypost-simulate" "$top/$name"
    shift 2
    WAYPOST=$top/$name/waypost timeout 1500 /usr/bin/python3 -B -m pytest -q --tb=short --durations=10 -p no:cacheprovider \
        --continue-on-collection-errors --basetemp="$top/$name/t" --junitxml="$top/$name.xml" "$@" tests/e2e >"$top/$name.log" 2>&1
}
row normal build &
E2E_BANNER=5 row sanitizers build-asan -m "not slow"
wait
passed=0
failed=0
bad=
for name in normal sanitizers; do
    # A row that was cut short has no result, which counts as one failure.
    counts=$(/usr/bin/python3 tests/junit.py "$top/$name.xml")
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
    if [ "${counts#* }" = 0 ]; then cat "$top/$name.log"; else bad="$bad $top/$name.log"; fi
done
[ -z "$bad" ] || tail -n 80 $bad
echo "stage e2e: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
