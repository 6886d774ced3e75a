# SPDX-License-Identifier: MIT
#
#   make              build $(O)/stateferry
#   make demo         the main job on embedded defaults, with real output
#   make check        every test; make adds the hours-long ones
#   make help         the other targets
#
# O=dir builds elsewhere, SAN=address,undefined or SAN=thread adds sanitizers,
# CFLAGS and LDFLAGS are yours; ours live in SF_CFLAGS and SF_LDFLAGS.

O          ?= build
CC         ?= cc
AR         ?= ar
PKG_CONFIG ?= pkg-config
CFLAGS     ?= -O2 -g
PREFIX     ?= /usr/local
DESTDIR    ?=
SAN        ?=
WERROR     ?= -Werror
# Who computes SHA-256: mbedtls, or openssl (libssl-dev), several times faster on large states where the processor has SHA instructions.
DIGEST     ?= mbedtls
PYTHON     ?= python3

LAYERS  := base loop net conf store provider sync serve daemon cli
SRCS    := $(sort $(foreach l,$(LAYERS),$(wildcard src/$(l)/*.c src/$(l)/*/*.c)))
OBJS    := $(SRCS:%.c=$(O)/%.o)
TESTS   := $(sort $(wildcard tests/unit/*/test_*.c))
# Shared by several unit tests: fakes and helpers that are no test themselves.
TESTLIB := $(sort $(wildcard tests/lib/*.c) $(filter-out $(TESTS),$(wildcard tests/unit/*/*.c)))
# Programs of ours that tests in Python call.
TOOLS   := $(sort $(wildcard tests/tools/*.c))
BENCHES := $(sort $(wildcard tests/bench/*.c))
# Power cuts, from a record of what was written.
CRASHES := $(sort $(wildcard tests/crash/*.c))
FUZZERS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
HEADERS := $(sort $(wildcard include/*/*.h))

TEST_BINS  := $(TESTS:tests/unit/%.c=$(O)/unit/%)
TOOL_BINS  := $(TOOLS:tests/tools/%.c=$(O)/tools/%)
BENCH_BINS := $(BENCHES:tests/bench/%.c=$(O)/bench/%)
FUZZ_BINS  := $(FUZZERS:tests/fuzz/%.c=$(O)/fuzz/%)
# A fuzz target over its corpus, without libFuzzer: any compiler, any sanitizer.
CORPUS_BINS := $(FUZZERS:tests/fuzz/%.c=$(O)/corpus/%)
CRASH_BIN  := $(O)/crash/explore

PKGS := libevent_core libevent_pthreads libcurl libzstd expat jansson libmicrohttpd
LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null) -llmdb -lmbedcrypto
ifeq ($(DIGEST),openssl)
LIBS += -lcrypto
DIGEST_CFLAGS := -DSF_DIGEST_OPENSSL
endif

VERSION := $(shell cat VERSION)

WARN := -Wall -Wextra -Wformat=2 -Wconversion -Wsign-conversion -Wshadow -Wvla \
	-Wimplicit-fallthrough -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
	-Werror=format-security -Werror=implicit-function-declaration $(WERROR)

# Tables to unwind the stack by are for exceptions, which C has not: 13 % of the binary. A debugger has its own, by -g.
SMALL := -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections
# What each byte of a state goes through is built for speed; all else waits for the network, the disk or a person, and is built
# for size, where CFLAGS ask for no more than -O2: -Oz makes 1.7 % less of it than -Os, where the compiler knows it.
HOT  := base/buf base/crc32c base/digest base/map base/state_scan base/utf8 store/blob store/codec store/frame
COLD := $(filter-out $(HOT:%=src/%.c),$(wildcard src/*/*.c src/*/*/*.c))

# Probed, because compilers differ: whatever is refused is left out.
PROBE_WARN := -Wduplicated-cond -Wlogical-op -Wtrampolines -Wbidi-chars=any
PROBE_HARD := -fstack-protector-strong -fstack-clash-protection -fcf-protection=return \
	-ftrivial-auto-var-init=zero -fstrict-flex-arrays=3
PROBE_LINK := -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code -Wl,-z,nodlopen -Wl,--as-needed -Wl,--gc-sections

# Tables of pointers are relocated at start; packed, that is told in 70 KB less. Not every linker and C library knows how: tried by running it.
RELR        := -Wl,-z,pack-relative-relocs
RELR_SAMPLE := int a; int *volatile p = &a; int main(void){return p != &a;}

SF_CFLAGS = -std=c11 -D_GNU_SOURCE -DSF_VERSION='"$(VERSION)"' $(DIGEST_CFLAGS) -Iinclude -Isrc \
	-fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing -fPIE $(WARN) $(PROBED)
SF_LDFLAGS = -pie -pthread $(PROBED_LINK)

ifeq ($(SAN),)
SF_CFLAGS += $(FORTIFY) $(SMALL)
else
SF_CFLAGS  += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
SF_LDFLAGS += -fsanitize=$(SAN)
endif

.PHONY: all help deps demo install check check-long check-unit check-corpus check-cli bench fuzz lint tidy headers clean tests
.SECONDARY:

all: $(O)/stateferry

help:
	@sed -n 's/^#   //p' Makefile
	@echo "make deps         install the build libraries with apt, when some are missing"
	@echo "make install      to DESTDIR and PREFIX"
	@echo "make check-long   clang-tidy, valgrind, fuzzing, power cuts, kills and agents; PARTS=... names some; into tests/RESULTS.md"
	@echo "make check-unit   the C unit tests alone"
	@echo "make check-cli    what a shell or a Python test can see: the configuration against terraform fmt"
	@echo "make check-e2e    end to end with real terraform and real servers"
	@echo "make servers      fetch those servers into a cache folder"
	@echo "make bench        what it costs, beside rclone, mc and restic; BENCH=--quick: a fast look"
	@echo "make fuzz         libFuzzer targets (clang), FUZZ_SECONDS each"
	@echo "make model        leases and unanswered writes, checked in every state by spin"
	@echo "make sim          agents, faulty networks and servers in virtual time; SEEDS=1-200, or SEED=7 TRACE=1"
	@echo "make sim-bugs     the same with one mistake in the program: how many seeds it takes to find each out"
	@echo "make lint         layers, headers, tables against the man page"
	@echo "make tidy         clang-tidy over src/"

# --- what the compiler can do, found once per build folder -----------------------------------------------------------

try = $(shell for f in $(2); do echo 'int main(void){return 0;}' | \
	$(CC) -Werror $$f $(3) -x c - -o /dev/null 2>/dev/null && echo "$$f"; done)

$(O)/flags.mk: Makefile
	@mkdir -p $(@D)
	@t=$@.$$$$; { echo "PROBED := $(call try,$(CC),$(PROBE_WARN)) $(if $(SAN),,$(call try,$(CC),$(PROBE_HARD)))"; \
	   echo "PROBED_LINK := $(call try,$(CC),$(PROBE_LINK))"; \
	   echo "FOR_SIZE := $(firstword $(call try,$(CC),-Oz) -Os)"; \
	   if echo '$(RELR_SAMPLE)' | $(CC) -fPIE -pie -Wl,--fatal-warnings $(RELR) -x c - -o $$t.relr 2>/dev/null && $$t.relr; \
	   then echo 'PROBED_LINK += $(RELR)'; fi; \
	   if echo 'int main(void){return 0;}' | $(CC) -Werror -O2 -D_FORTIFY_SOURCE=3 -x c - -o /dev/null 2>/dev/null; \
	   then echo 'FORTIFY := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3'; \
	   else echo 'FORTIFY := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2'; fi; } > $$t; rm -f $$t.relr; mv $$t $@

ifeq ($(filter clean help deps demo check,$(MAKECMDGOALS)),)
include $(O)/flags.mk
endif

# --- program -----------------------------------------------------------------------------------------------------------

$(COLD:%.c=$(O)/%.o): COLDLY = $(if $(SAN),,$(patsubst -O2,$(FOR_SIZE),$(filter -O2,$(CFLAGS))))

$(O)/%.o: %.c $(O)/flags.mk VERSION
	@mkdir -p $(@D)
	$(CC) $(SF_CFLAGS) $(CFLAGS) $(COLDLY) -MMD -MP -c -o $@ $<

$(O)/libstateferry.a: $(OBJS)
	@rm -f $@
	$(AR) rcs $@ $^

$(O)/stateferry: $(O)/src/main.o $(O)/libstateferry.a
	$(CC) $(SF_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

-include $(OBJS:.o=.d) $(O)/src/main.d

# --- what a newcomer types ------------------------------------------------------------------------------------------

# Debian's names; installed only when something is missing. CHECK=1: what the tests want besides.
DEPS_BUILD := build-essential pkg-config libevent-dev libcurl4-openssl-dev liblmdb-dev libmbedtls-dev libzstd-dev \
	libexpat1-dev libjansson-dev libmicrohttpd-dev
DEPS_CHECK := clang clang-tidy valgrind python3 python3-venv python3-pip curl jq openssl libssl-dev mandoc
SUDO       ?= $(shell [ "$$(id -u)" = 0 ] || echo sudo)

deps:
	@missing=; for p in $(DEPS_BUILD) $(if $(CHECK),$(DEPS_CHECK)); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing:$$missing"; \
		$(SUDO) apt-get update -q >/dev/null && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing >/dev/null; \
	fi

demo: deps
	@$(MAKE) -s O=$(O) all
	@STATEFERRY=$(O)/stateferry sh tests/demo.sh

install: all
	install -D -m 0755 $(O)/stateferry $(DESTDIR)$(PREFIX)/bin/stateferry
	install -D -m 0644 packaging/man/stateferry.1 $(DESTDIR)$(PREFIX)/share/man/man1/stateferry.1
	install -D -m 0644 packaging/completion/stateferry.bash \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/stateferry
	install -D -m 0644 conf/stateferry.hcl $(DESTDIR)$(PREFIX)/share/doc/stateferry/stateferry.hcl
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/stateferry/examples conf/examples/*.hcl
	for u in packaging/systemd/*; do \
		install -D -m 0644 $$u $(DESTDIR)$(PREFIX)/lib/systemd/system/$$(basename $$u) || exit 1; \
		sed -i 's,^ExecStart=/usr/bin/,ExecStart=$(PREFIX)/bin/,' \
			$(DESTDIR)$(PREFIX)/lib/systemd/system/$$(basename $$u) || exit 1; \
	done

# --- tests -------------------------------------------------------------------------------------------------------------

$(O)/libtest.a: $(TESTLIB:%.c=$(O)/%.o)
	@rm -f $@
	$(AR) rcs $@ $^

$(O)/unit/%: $(O)/tests/unit/%.o $(O)/libtest.a $(O)/libstateferry.a
	@mkdir -p $(@D)
	$(CC) $(SF_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/tools/%: $(O)/tests/tools/%.o $(O)/libtest.a $(O)/libstateferry.a
	@mkdir -p $(@D)
	$(CC) $(SF_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/bench/%: $(O)/tests/bench/%.o $(O)/libtest.a $(O)/libstateferry.a
	@mkdir -p $(@D)
	$(CC) $(SF_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(CRASH_BIN): $(CRASHES:%.c=$(O)/%.o) $(O)/libtest.a $(O)/libstateferry.a
	@mkdir -p $(@D)
	$(CC) $(SF_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/corpus/%: $(O)/tests/fuzz/%.o $(O)/libtest.a $(O)/libstateferry.a
	@mkdir -p $(@D)
	$(CC) $(SF_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# Instrumented as a whole: make O=build-fuzz CC=clang SAN=fuzzer-no-link,address,undefined build-fuzz/fuzz/fuzz_json
$(O)/fuzz/%: $(O)/tests/fuzz/%.o $(O)/libstateferry.a
	@mkdir -p $(@D)
	$(CC) $(SF_LDFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

-include $(patsubst %.c,$(O)/%.d,$(TESTS) $(TESTLIB) $(TOOLS) $(BENCHES) $(CRASHES) $(FUZZERS))

# Agents, servers and the network between them in virtual time; and with one mistake in the program, each of tests/sim/bugs: one that
# cannot be made any more ends the build.
SIM      := $(sort $(wildcard tests/sim/*.c))
SIM_BUGS := $(patsubst tests/sim/bugs/%.bug,$(O)/sim/bugs/%,$(sort $(wildcard tests/sim/bugs/*.bug)))
$(O)/sim/sim: $(SIM:%.c=$(O)/%.o) $(O)/libstateferry.a
	@mkdir -p $(@D)
	$(CC) $(SF_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/sim/bugs/%.c: tests/sim/bugs/%.bug tests/sim/bugs.py $(SRCS)
	@mkdir -p $(@D)
	@$(PYTHON) tests/sim/bugs.py --make $< $@

$(O)/sim/bugs/%.o: $(O)/sim/bugs/%.c
	$(CC) $(SF_CFLAGS) $(LAYERS:%=-iquote src/%) $(CFLAGS) -w -c -o $@ $<

$(SIM_BUGS): %: %.o $(SIM:%.c=$(O)/%.o) $(O)/libstateferry.a
	$(CC) $(SF_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

-include $(SIM:%.c=$(O)/%.d)

tests: $(TEST_BINS) $(TOOL_BINS) $(CORPUS_BINS) $(CRASH_BIN)

check-unit: $(TEST_BINS)
	@$(PYTHON) tests/run.py --jobs "$$(nproc)" $(TEST_BINS)

.PHONY: servers check-e2e
servers:
	@$(PYTHON) tests/servers/install.py

check-e2e: all $(TOOL_BINS)
	@STATEFERRY=$(abspath $(O))/stateferry $(PYTHON) tests/e2e/main.py $(E2E)

check-corpus: $(CORPUS_BINS)
	@$(PYTHON) tests/run.py $(CORPUS_BINS)

check-cli: all $(TOOL_BINS)
	@O=$(abspath $(O)) $(PYTHON) tests/run.py $(sort $(wildcard tests/cli/test_*.py))

# Beside rclone, mc and restic, in one run: tests/bench/RESULTS.md. BENCH=--quick: a fast look, writes nothing.
bench: all $(BENCH_BINS)
	@O=$(abspath $(O)) $(PYTHON) tests/bench/peers.py $(BENCH)

# Leases, and writes without an answer, in every state; and that broken variants are found out.
.PHONY: model
model:
	@$(PYTHON) tests/model/run.py

# Up to five agents in a virtual world of faults, seed by seed: SEEDS=1-200, or SEED=7 TRACE=1 to see what happened in one.
SEEDS ?= 1-200
.PHONY: sim
sim: $(O)/sim/sim
	@$(O)/sim/sim --jobs "$$(nproc)" --table $(if $(TRACE),--trace) $(if $(SEED),$(SEED),$(SEEDS))

# Each mistake must be found out, within 2000 seeds.
.PHONY: sim-bugs
sim-bugs: $(O)/sim/sim $(SIM_BUGS)
	@$(PYTHON) tests/sim/bugs.py $(SIM_BUGS)

# libFuzzer over the committed corpora, FUZZ_SECONDS each.
FUZZ_SECONDS ?= 30
fuzz:
	@$(MAKE) -s O=build-fuzz CC=clang CFLAGS='-O1 -g' SAN=fuzzer-no-link,address,undefined \
		$(FUZZERS:tests/fuzz/%.c=build-fuzz/fuzz/%)
	@set -e; for f in $(FUZZERS:tests/fuzz/fuzz_%.c=%); do \
		mkdir -p build-fuzz/found/$$f; \
		build-fuzz/fuzz/fuzz_$$f -max_total_time=$(FUZZ_SECONDS) build-fuzz/found/$$f tests/fuzz/corpus/$$f; \
	done

# Everything, under two compilers and the sanitizers; tests/check.sh is the list.
check:
	@MAKE="$(MAKE)" PYTHON="$(PYTHON)" sh tests/check.sh

# What takes longer: PARTS of tests/long.py, all unless named. Writes tests/RESULTS.md.
check-long:
	@$(PYTHON) tests/long.py $(PARTS)

lint: headers all
	@STATEFERRY=$(abspath $(O))/stateferry $(PYTHON) tests/run.py tests/lint/lint.py

# .clang-tidy says what is asked; every finding is an error.
tidy:
	@$(PYTHON) tests/run.py --timeout 1800 tests/lint/tidy.py

headers: $(O)/flags.mk
	@set -e; for h in $(HEADERS); do \
		$(CC) $(SF_CFLAGS) -fsyntax-only -x c -include "$$h" /dev/null; \
	done; echo "$(words $(HEADERS)) headers compile alone"

clean:
	rm -rf $(O)
