# SPDX-License-Identifier: ISC
# The whole daemon in the simulated world: SEEDS seeds, two runs of some to show that a seed replays
# exactly, and the control without syncs, which must be caught losing mail.
sim=build/tests/sim/waypost-sim
last=${SEEDS:-2000}
half=$((last / 2))
"$sim" --seeds "1-$half" --keep-going >build/logs/sim-1 2>&1 &
first=$!
"$sim" --seeds "$((half + 1))-$last" --keep-going >build/logs/sim-2 2>&1
wait "$first"
passed=0
failed=0
tally() { # a run's log, and its status when it counts as one test
    p=$(sed -n 's/^stage sim: \([0-9]*\) passed.*/\1/p' "$1")
    f=$(sed -n 's/^stage sim: .* \([0-9]*\) failed$/\1/p' "$1")
    passed=$((passed + ${p:-0}))
    failed=$((failed + ${f:-1}))
    grep -E '^(violation|seed) ?' "$1" | head -n 40
}
tally build/logs/sim-1
tally build/logs/sim-2
once() { # name, arguments: one test
    name=$1
    shift
    if "$sim" "$@" >"build/logs/sim-$name" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        tail -n 20 "build/logs/sim-$name"
    fi
}
once twice --seeds 1-50 --twice
once control --seeds 1-300 --control no-sync
grep '^control:' build/logs/sim-control | sed 's/^/note /'
echo "stage sim: $passed passed, $failed failed"
[ "$failed" = 0 ]
