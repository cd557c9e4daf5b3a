#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Checks docs/features.md: every number once and in order, its state one of three words, the totals right, and every
test named in it there, as that file and function."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
COUNT = {"AR": 45, "WR": 43, "IS": 23, "PC": 56, "PR": 42, "F": 84, "D": 16}
STATES = ("works", "partly", "not yet")
ROW = re.compile(r"^\| *([A-Z]+)-(\d+) *\|(.*)\|(.*)\|(.*)\|$")
PYTHON = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
UNIT = re.compile(r"`(\w+/\w+_test): (\w+)`")
SIMULATED = re.compile(r"`(tests/sim/\w+_test): (\w+)`")
STORY = re.compile(r"`(tests/stories/[\w-]+\.yaml)`")


def tests_in(text):
    """The tests named, as path and the pattern of the function's definition; a story expects something."""
    found = [(ROOT / path, rf"^def {name}\(") for path, name in PYTHON.findall(text)]
    for room, kind in (("src", UNIT), (".", SIMULATED)):
        found += [(ROOT / room / f"{path}.c", rf"^static void {name}\(|\({name}[,)]") for path, name in kind.findall(text)]
    return found + [(ROOT / path, r"\bexpect:") for path in STORY.findall(text)]


def main():
    page = (ROOT / "docs" / "features.md").read_text()
    faults, seen = [], []
    tally = {state: dict.fromkeys(COUNT, 0) for state in STATES}
    for number, line in enumerate(page.splitlines(), 1):
        row = ROW.match(line)
        if not row:
            continue
        group, index, name = row[1], int(row[2]), f"{row[1]}-{row[2]}"
        behaviour, state, note = (cell.strip() for cell in row.group(3, 4, 5))
        seen.append((group, index))
        if group not in COUNT or state not in STATES:
            faults.append(f"{number}: {name}: no such group, or no such state: {state}")
            continue
        tally[state][group] += 1
        tests = tests_in(note)
        if not behaviour or (state == "works") != bool(tests) and not (state == "partly" and note) \
                or (state == "not yet") != (note == ""):
            faults.append(f"{number}: {name}: works names a test, partly what is missing, not yet nothing")
        for path, pattern in tests:
            if not path.exists() or not re.search(pattern, path.read_text(), re.M):
                faults.append(f"{number}: {name}: no such test in {path.relative_to(ROOT)}: {pattern}")
    if seen != [(group, i) for group, last in COUNT.items() for i in range(1, last + 1)]:
        faults.append("the numbers do not stand there each once and in order")
    for state in STATES:
        sums = [tally[state][group] for group in COUNT]
        line = f"| {state} | " + " | ".join(map(str, sums + [sum(sums)])) + " |"
        if line not in page.splitlines():
            faults.append(f"the totals should say: {line}")
    for fault in faults:
        print(f"docs/features.md:{fault}")
    print(f"features: {len(seen)} numbers, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
