# SPDX-License-Identifier: ISC
# Every behaviour as a story a user can read, played through the simulated world.
passed=0
failed=0
for story in tests/stories/*.yaml; do
    if build/waypost-simulate --quiet "$story" >build/logs/story 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        cat build/logs/story
    fi
done
lives=$(/usr/bin/python3 tests/sim/laptop.py --days "${LAPTOP_DAYS:-1000}" build/waypost-simulate 2>&1)
if [ $? = 0 ]; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
fi
printf "%s\n" "$lives" | tail -n 40
echo "stage stories: $passed passed, $failed failed"
[ "$failed" = 0 ]
