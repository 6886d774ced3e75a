#!/bin/sh
# SPDX-License-Identifier: MIT
# Everything that "make check" means, in the order in which failures are cheapest to find. Ends with one closing line over
# all kinds of tests.
set -eu
cd "$(dirname "$0")/.."
make=${MAKE:-make}
python=${PYTHON:-python3}
jobs=$(nproc 2>/dev/null || echo 2)
total=$(mktemp)
trap 'rm -f "$total"' EXIT
rc=0

say() { printf '\n== %s\n' "$*"; }
run() { $python tests/run.py --total "$total" "$@" || rc=1; }

$make -s deps CHECK=1

say "build, gcc"
$make -s -j"$jobs" O=build CC=gcc all tests
say "build, clang"
$make -s -j"$jobs" O=build-clang CC=clang all
say "headers and lint"
$make -s O=build CC=gcc headers
STATEFERRY=$PWD/build/stateferry run tests/lint/lint.py

say "unit tests and the corpora of the fuzz targets"
run --timeout 600 $(find build/unit build/corpus -type f -perm -u+x | sort)

say "the same with address and undefined behaviour sanitizers"
$make -s -j"$jobs" O=build-asan CC=gcc CFLAGS='-O1 -g' SAN=address,undefined all tests
run --timeout 900 $(find build-asan/unit build-asan/corpus -type f -perm -u+x | sort)

say "threads: store, work pool and loop with the thread sanitizer"
$make -s -j"$jobs" O=build-tsan CC=gcc CFLAGS='-O1 -g' SAN=thread tests
run --timeout 900 $(find build-tsan/unit/loop build-tsan/unit/store -type f -perm -u+x ! -name test_codec | sort)

say "the command line"
O=$PWD/build run --timeout 900 $(ls tests/cli/test_*.py)

say "end to end: real terraform, real S3"
STATEFERRY=$PWD/build/stateferry $python tests/e2e/main.py -j 2 --total "$total" ${E2E:-} || rc=1

say "all"
$python tests/run.py --sum "$total" || rc=1
exit $rc
