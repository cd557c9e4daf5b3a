# SPDX-License-Identifier: ISC
# The unit tests again under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer.
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
sh tests/meson-stage.sh asan build-asan -Db_sanitize=address,undefined -Db_lundef=false
