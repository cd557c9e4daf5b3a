# SPDX-License-Identifier: ISC
# The daemon among real programs: with the build that users get, then the quick part under the sanitizers.
set -u
top=$(mktemp -d /tmp/e2e.XXXXXX)
trap 'rm -rf "$top"' EXIT
passed=0
failed=0
build() { # directory
    ninja -C "$1" waypost >"$top/build" 2>&1 || {
        tail -n 30 "$top/build"
        exit 1
    }
}
build build
[ -e build-asan/build.ninja ] || meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false || exit 1
build build-asan

round() { # program, pytest's options
    # A copy, as a build meanwhile would pull it away.
    cp "$1" "$top/waypost"
    shift
    WAYPOST=$top/waypost timeout 1500 /usr/bin/python3 -B -m pytest -q --tb=short --durations=10 -p no:cacheprovider --continue-on-collection-errors \
        --basetemp="$top/t" --junitxml="$top/result.xml" "$@" tests/e2e || true
    # A run that was cut short has no result, which counts as one failure.
    counts=$(/usr/bin/python3 - "$top/result.xml" <<'EOF'
import sys, xml.etree.ElementTree as tree
try:
    s = tree.parse(sys.argv[1]).getroot().find("testsuite").attrib
    bad = int(s["failures"]) + int(s["errors"])
    print(int(s["tests"]) - bad - int(s["skipped"]), bad)
except (OSError, tree.ParseError):
    print(0, 1)
EOF
    )
    rm -f "$top/result.xml"
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
}

round build/waypost
E2E_BANNER=5 round build-asan/waypost -m "not slow"
echo "stage e2e: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
