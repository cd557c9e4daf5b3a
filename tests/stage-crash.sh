# SPDX-License-Identifier: ISC
# The promise against the real daemon: killed, without power, space, descriptors or memory, with
# failing calls and a damaged spool. Two rows of tests at a time; needs root for the file systems.
set -u
top=$(mktemp -d /tmp/crash.XXXXXX)
export CRASH_NOTES="$top/notes"
export WAYPOST="${WAYPOST:-$PWD/build/waypost}"
ninja -C build waypost >/dev/null || exit 1

row() { # name, files
    name=$1
    shift
    timeout 900 /usr/bin/python3 -B -m pytest -q --tb=short --durations=5 -p no:cacheprovider --basetemp="$top/$name" \
        --junitxml="$top/$name.xml" "$@" >"$top/$name.log" 2>&1
}
cd tests/crash || exit 1
row one test_kill.py test_starved.py test_damage.py &
row two test_power.py test_full.py test_peer.py test_syscalls.py
wait
cat "$top/one.log" "$top/two.log"
[ ! -e "$CRASH_NOTES" ] || cat "$CRASH_NOTES"
passed=0
failed=0
for name in one two; do
    # A row that was cut short has no result, which counts as one failure.
    counts=$(/usr/bin/python3 ../junit.py "$top/$name.xml")
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
done
# What a test that was cut short left mounted.
awk -v t="$top/" 'index($2, t) == 1 { print $2 }' /proc/mounts | while read -r m; do umount "$m"; done
rm -rf "$top"
echo "stage crash: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
