# SPDX-License-Identifier: ISC
# The one form of the sources.
mkdir -p build/logs
find src tests bench -name '*.[ch]' -print0 | xargs -0 clang-format --dry-run -Werror 2>&1 | grep -E 'error:' | sort -u | head -n 20 >build/logs/format.faults
cat build/logs/format.faults
[ -s build/logs/format.faults ] && { echo "stage format: 0 passed, 1 failed"; exit 1; }
echo "stage format: 1 passed, 0 failed"
