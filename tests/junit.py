#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""junit.py FILE: how many tests of a pytest run passed and failed. A run without a result counts as one failure."""
import sys
import xml.etree.ElementTree as tree

try:
    suite = tree.parse(sys.argv[1]).getroot().find("testsuite").attrib
    bad = int(suite["failures"]) + int(suite["errors"])
    print(int(suite["tests"]) - bad - int(suite["skipped"]), bad)
except (OSError, tree.ParseError):
    print(0, 1)
