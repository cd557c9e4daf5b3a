# SPDX-License-Identifier: ISC
# The arrows between the rooms.
tests/rooms.py && echo "stage rooms: 1 passed, 0 failed" || { echo "stage rooms: 0 passed, 1 failed"; exit 1; }
