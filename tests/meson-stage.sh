# SPDX-License-Identifier: ISC
# meson-stage.sh STAGE DIRECTORY [SETUP OPTIONS]: builds, runs the unit suite, counts.
stage=$1
dir=$2
shift 2
[ -e "$dir/build.ninja" ] || meson setup "$dir" "$@" || exit 1
ninja -C "$dir" || exit 1
# A limit is there to end what hangs, not to measure how busy this machine is.
meson test -C "$dir" --suite unit --print-errorlogs --timeout-multiplier 4
status=$?
passed=$(sed -n 's/^Ok: *\([0-9]*\).*/\1/p' "$dir/meson-logs/testlog.txt" | tail -n 1)
failed=$(sed -n 's/^\(Fail\|Timeout\): *\([0-9]*\).*/\2/p' "$dir/meson-logs/testlog.txt" | paste -sd+ | sed 's/^$/0/')
echo "stage $stage: ${passed:-0} passed, $((${failed:-0})) failed"
exit $status
