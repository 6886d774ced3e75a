#!/bin/sh
# SPDX-License-Identifier: MIT
# Everything that "make check" means, in the order in which failures are cheapest to find. Ends with one closing line over
# all kinds of tests. The unit tests, the corpora and the end-to-end tests run once, on the build with the address and
# undefined behaviour sanitizers; the command line is tested on the build that is shipped.
set -eu
cd "$(dirname "$0")/.."
make=${MAKE:-make}
python=${PYTHON:-python3}
jobs=$(nproc 2>/dev/null || echo 2)
kills=${KILLS:-60}         # of the agent, for each of five kinds of target
total=$(mktemp)
trap 'rm -f "$total"' EXIT
begun=$(date +%s)
rc=0

say() { printf '\n== %4d s  %s\n' $(($(date +%s) - begun)) "$*"; }
run() { $python tests/run.py --total "$total" "$@" || rc=1; }
programs() { find "$@" -type f -perm -u+x | sort; }

$make -s deps CHECK=1

say "build, gcc"
$make -s -j"$jobs" O=build CC=gcc all tests build/sim/sim
say "build, clang"
$make -s -j"$jobs" O=build-clang CC=clang all tests
say "build, address and undefined behaviour sanitizers"
$make -s -j"$jobs" O=build-asan CC=gcc CFLAGS='-O1 -g' SAN=address,undefined all tests
say "build, thread sanitizer"
$make -s -j"$jobs" O=build-tsan CC=gcc CFLAGS='-O1 -g' SAN=thread tests
say "build, the other digest library"
$make -s -j"$jobs" O=build-openssl CC=gcc DIGEST=openssl all build-openssl/unit/base/test_digest build-openssl/unit/net/test_sigv4
say "headers and lint"
$make -s O=build CC=gcc headers
STATEFERRY=$PWD/build/stateferry run tests/lint/lint.py

say "unit tests and the corpora of the fuzz targets, address and undefined behaviour sanitizers"
run --timeout 900 --jobs "$jobs" $(programs build-asan/unit build-asan/corpus) $(programs build-openssl/unit)

say "store, work pool and loop, thread sanitizer"
run --timeout 900 --jobs "$jobs" $(programs build-tsan/unit/loop build-tsan/unit/store ! -name test_codec)

say "power cuts, and stores that do not survive them"
run --timeout 900 build/crash/explore tests/crash/test_explore_self.py
say "the nth allocation fails, in the program that is shipped"
STATEFERRY=$PWD/build/stateferry $python tests/e2e/main.py --total "$total" -k "alloc or memory" tests/e2e/test_fail_nth.py || rc=1

say "agents, servers and a faulty network in virtual time"
run --timeout 900 tests/sim/test_sim.py

say "the command line"
O=$PWD/build run --timeout 900 $(ls tests/cli/test_*.py)

say "end to end: real terraform, real S3, $((5 * kills)) kills; address and undefined behaviour sanitizers"
KILLS=$kills STATEFERRY_TEST_SLOW=${STATEFERRY_TEST_SLOW:-3} STATEFERRY=$PWD/build-asan/stateferry \
	$python tests/e2e/main.py -j 4 --total "$total" ${E2E:-} || rc=1

say "all"
$python tests/run.py --sum "$total" || rc=1
exit $rc
