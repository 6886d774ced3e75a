# SPDX-License-Identifier: MIT
"""The nth allocation, write, flush, naming or opening of a pass fails: it ends with a sentence or goes on in part, never by a
crash or not at all. Then the store is whole, the replica is the old one or the new one, and the next pass leaves it right and unlocked.

FAIL=all: every call, and of the allocations FAIL_ALLOCS (300) for each kind of target; otherwise some of each."""
import os
import pathlib
import random
import shutil
import signal

import pytest

from places import replicating
from states import state

NAME = "net/prod.tfstate"
ALL = os.environ.get("FAIL") == "all"
SAMPLES = int(os.environ.get("FAIL_ALLOCS", "300")) if ALL else 6
CASES = [("local", call) for call in ("alloc", "fdatasync", "fsync", "pwrite", "ftruncate", "rename", "open")] + \
    [("s3", call) for call in ("alloc", "fdatasync", "pwrite", "open")]
CODES = (0, 1, 3, 10, 11, 12)   # all is well, or what a store or a folder that cannot be used ends with
OUT_OF_MEMORY = "out of memory"


class Failing:
    """An agent whose process meets one failure, and what it replicates."""

    def __init__(self, agent, places, kind, env):
        self.agent, self.env = agent, env
        self.live, self.dr, self.line = replicating(agent, places, kind, NAME)
        self.serial, self.count = 1, pathlib.Path(agent.folder) / "count"
        agent.sync()

    def change(self, name, serial):
        self.live.put(name, state(serial, self.line, text=f"s{self.serial}"))

    def run(self, call, nth, ever):
        """A pass in which it fails. There is something to write, under a name that is there and under a new one. What is renamed is a new
        store's host file."""
        if call == "rename":
            shutil.rmtree(pathlib.Path(self.agent.folder) / "store")
        self.call = call
        self.serial += 1
        self.new = f"net/new{self.serial}.tfstate"
        self.before = self.dr.get(NAME)
        self.change(NAME, self.serial)
        self.change(self.new, 1)
        mine = self.agent.env
        self.agent.env = mine | self.env | {"FAIL_CALL": call, "FAIL_NTH": str(nth), "FAIL_COUNT": str(self.count)} | \
            ({"FAIL_EVER": "1"} if ever else {})
        try:
            return self.agent.call("--json", "sync", code=None)
        finally:
            self.agent.env = mine

    def calls(self, call):
        """How many there are in a pass."""
        self.run(call, 0, False)
        return int(self.count.read_text())

    def check(self, result):
        """Right after the failure, and after the next pass."""
        if result.code == -signal.SIGABRT:
            assert OUT_OF_MEMORY in result.err, result.err[-2000:]
        else:
            assert result.code in CODES, f"ended with {result.code}"
            assert result.code == 0 or "stateferry: " in result.err or result.json["problems"], "nothing was said"
        assert self.dr.get(NAME) in (self.before, self.live.get(NAME)), "the replica is neither the old nor the new one"
        assert self.dr.get(self.new) in (None, b"", self.live.get(self.new)), "the new replica is torn"
        checked = self.agent.call("--json", "check", code=None)
        if self.call == "rename" and checked.code != 0:
            assert checked.json["error"]["kind"] == "not_found", "a new store that did not come to be"
        else:
            assert checked.json["ok"]
        self.agent.sync()
        assert self.dr.get(NAME) == self.live.get(NAME) and self.dr.get(self.new) == self.live.get(self.new)
        assert self.dr.locks() == [], "a lock stays"
        self.live.delete(self.new)


def chosen(call, total):
    """Which calls fail: all, or some that are spread."""
    if ALL and call != "alloc":
        return range(1, total + 1)
    samples = min(total, SAMPLES if call == "alloc" else 3)
    rng = random.Random(total)
    return sorted({1 + (i * total + rng.randrange(total)) // samples for i in range(samples)})


@pytest.mark.parametrize("library, own", [("libjansson", False), ("libexpat", False), ("stateferry", True)])
def test_readers_have_the_programs_memory(agent, places, preload, library, own):
    """A reader that has no memory would call what it reads malformed: a lock of ours would be taken for another's."""
    if b"__asan_init" in pathlib.Path(agent.program).read_bytes():
        pytest.skip("the address sanitizer allocates by itself: tests/check.sh runs this with the program that is shipped")
    one = Failing(agent, places, "s3", preload("fail_alloc") | {"FAIL_LIBRARY": library})
    assert (one.calls("alloc") > 0) == own


@pytest.mark.deadline(3600 if ALL else 120)
@pytest.mark.parametrize("ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("kind, call", CASES)
def test_nth_call_fails(agent, places, preload, kind, call, ever):
    if call == "alloc" and b"__asan_init" in pathlib.Path(agent.program).read_bytes():
        pytest.skip("the address sanitizer allocates by itself: tests/check.sh runs this with the program that is shipped")
    one = Failing(agent, places, kind, preload("fail_alloc" if call == "alloc" else "fail_nth"))
    total, bad = one.calls(call), []
    agent.sync()
    assert total > 0
    for nth in chosen(call, total):
        result = one.run(call, nth, ever)
        try:
            one.check(result)
        except AssertionError as e:
            bad.append(f"{call} {nth} of {total}: {str(e)[:1500]}\n{result.err[-600:]}")
            agent.call("sync", code=None)
    print(f"{kind}, {call}, {'for ever' if ever else 'once'}: {len(chosen(call, total))} of {total} calls failed, {len(bad)} bad")
    assert not bad, f"{len(bad)} bad\n" + "\n\n".join(bad[:5])
