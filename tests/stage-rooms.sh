# SPDX-License-Identifier: ISC
# The arrows between the rooms, and what docs/features.md says.
passed=0
failed=0
for check in tests/rooms.py tests/features.py; do
    if "$check"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "stage rooms: $passed passed, $failed failed"
[ "$failed" = 0 ]
