# SPDX-License-Identifier: ISC
# Each fuzzer for FUZZ_SECONDS, two at a time.
set -u
dir=build-fuzz
[ -e $dir/build.ninja ] || CC=clang meson setup $dir -Dfuzz=true -Dtests=false -Db_lundef=false -Db_sanitize=address,undefined -Dwerror=false || exit 1
ninja -C $dir || exit 1
ls $dir/tests/fuzz/*_fuzz >$dir/list
export FUZZ_DIR=$dir
# shellcheck disable=SC2016
xargs -n 1 -P 2 sh -c '
    name=$(basename "$0")
    mkdir -p "$FUZZ_DIR/corpus/$name"
    if "$0" -max_total_time="$FUZZ_SECONDS" -timeout=20 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$FUZZ_DIR/crash-$name-" "$FUZZ_DIR/corpus/$name" >"$FUZZ_DIR/$name.log" 2>&1; then
        echo "fuzz $name ok $(sed -n "s/stat::number_of_executed_units: *//p" "$FUZZ_DIR/$name.log") runs"
    else
        tail -n 40 "$FUZZ_DIR/$name.log"
        echo "fuzz $name FAILED"
    fi' <$dir/list | tee $dir/result
passed=$(grep -c '^fuzz .* ok ' $dir/result)
failed=$(grep -c '^fuzz .* FAILED' $dir/result)
echo "stage fuzz: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
