# SPDX-License-Identifier: MIT
"""Two agents share an edge: one writes, the other follows when the first is killed, stopped, frozen or refused. What counts is the order of
things, never how long they took. LEASES=all takes every kind of target; ROUNDS of test_rounds print how long the take-overs took."""
import copy
import datetime
import itertools
import os
import shutil
import signal
import statistics
import time
import urllib.parse

import pytest

from agent import eventually
from hcl import Block
from servers import Dynalite, S3Server
from states import lineage, serial_of, state
from test_metrics import ask

NAME = "net/prod.tfstate"
REMOTE = ["s3", "s3-table", "gcs", "azurerm"]
LOCKED = ["http", "remote"]     # nothing but a lock: their leases are kept in a table, and the two share one way
WRITES = ("PUT", "POST", "DELETE", "PATCH")
ALL = os.environ.get("LEASES") == "all"
ROUNDS = int(os.environ.get("ROUNDS", "3"))
TABLES = itertools.count(1)
TTL = "3s"                      # as short as a busy machine bears: a holder has half of it for a renewal
LAST = 60                       # a dead holder is followed within twice that, but the machine may be very busy
pytestmark = pytest.mark.deadline(180)


def some(*picked, of):
    """Every pair of those lists, or in the daily run those that were picked."""
    return [(a, b) for a in of[0] for b in of[1]] if ALL else picked


def all_current(agent):
    """The verdict may still be that it did not react for a while: it was frozen."""
    replicas = agent.status()["replicas"]
    return replicas["current"] == sum(replicas.values()) > 0


class Fleet:
    """Two agents, each with a way of its own to the target."""

    def __init__(self, agents, places, proxy, kind, names=(NAME,), table=None, **lease):
        self.kind, self.names, self.line, self.serial = kind, names, lineage(), 0
        self.live, self.dr = places("local"), places(kind)
        self.ways = [self.dr, self.dr]
        if kind in REMOTE:
            self.ways[1] = copy.copy(self.dr)
            self.ways[1].front = proxy(self.dr.bucket.server if kind.startswith("s3") else self.dr.server)
            self.ways[1].rules = self.ways[1].front.rules
        self.agents = [agents("one"), agents("two")]
        for agent, way in zip(self.agents, self.ways):
            self.live.add(agent, "live")
            way.add(agent, "dr", **({"states": [self.at(n) for n in names]} if kind == "http" else {}))
            agent.replicate("out", "live", "dr", key="{path}" if kind == "remote" else None, blocks=[
                Block("lease", coordinator="dynamodb" if table else None, blocks=table or (), **({"ttl": TTL} | lease))])
        if kind == "remote":
            self.dr.prepare(*map(self.at, names))
        self.change()

    def at(self, name):
        """What it is called at the target."""
        return name.removesuffix(".tfstate") if self.kind == "remote" else name

    def get(self, name):
        return self.dr.get(self.at(name))

    def change(self):
        self.serial += 1
        for name in self.names:
            self.live.put(name, state(self.serial, self.line))

    def start(self):
        """The first one holds the lease, the second one follows; all is replicated."""
        self.agents[0].start()
        self.held_by(0)
        self.agents[1].start()
        self.arrives()
        eventually(lambda: self.lease(1)["standing"] == "theirs", LAST, "the second one follows")
        return self

    def lease(self, i):
        return self.agents[i].json("lease", "ls")["leases"][0]

    def held_by(self, i, seconds=LAST):
        eventually(lambda: self.lease(i)["standing"] == "ours", seconds, f"{self.agents[i].name} holds the lease")

    def arrives(self, seconds=LAST):
        for name in self.names:
            eventually(lambda name=name: self.get(name) == self.live.get(name), seconds, f"{name} is replicated")

    def written_by(self, i):
        return self.agents[i].said().count(": written ")

    def all_is_well(self):
        """Nothing went backwards, no lock is left, and everybody who runs says so."""
        self.change()
        self.arrives()
        eventually(lambda: self.dr.locks() == [], LAST, "no lock is left")
        for agent in self.agents:
            if agent.process is not None:
                eventually(lambda agent=agent: all_current(agent), LAST, f"{agent.name} says that all are current")
        for way in self.ways if self.kind in REMOTE else []:
            serials = [e["serial"] for e in way.writes(NAME) if 200 <= (e["status"] or 0) < 300]
            assert serials == sorted(serials), serials


@pytest.fixture
def fleet(agents, places, proxy):
    made = []

    def make(kind, **kw):
        made.append(Fleet(agents, places, proxy, kind, **kw))
        return made[-1]

    yield make
    for f in made:
        for agent in f.agents:              # a frozen one cannot be ended
            if agent.process is not None:
                agent.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("kind, how", some(("local", "killed"), ("s3", "killed"), ("s3", "stopped"), ("azurerm", "stopped"),
                                            of=(["local", *REMOTE], ["killed", "stopped"])))
def test_successor(fleet, kind, how):
    f = fleet(kind).start()
    f.change()
    f.arrives()
    eventually(lambda: all_current(f.agents[1]), LAST, "who follows has seen it")
    assert f.written_by(1) == 0
    if kind in REMOTE:                      # nor has it tried to, but for the probe
        wrote = [urllib.parse.unquote(e["target"]) for e in f.ways[1].front.journal if e["method"] in WRITES]
        assert [w for w in wrote if ".stateferry/probe/" not in w] == []
    f.agents[0].kill() if how == "killed" else f.agents[0].stop()
    f.change()
    f.held_by(1)
    assert f.lease(1)["epoch"] >= 2 and f.lease(1)["transitions"] >= 1
    f.arrives()
    f.agents[0].start()
    eventually(lambda: f.lease(0)["standing"] == "theirs", LAST, "it follows now")
    f.all_is_well()


def test_both_tell_who_has_it(fleet):
    f = fleet("s3", ttl="20s").start()
    for i, agent in enumerate(f.agents):
        text = ask(agent, "/metrics")[2]
        assert f'stateferry_lease_held{{edge="out",target="dr"}} {1 - i}\n' in text
        assert 'stateferry_lease_transitions_total{edge="out",target="dr"} 0\n' in text
        for command in ("status", "locks"):
            assert "lease of out at dr: held by one" in agent.call(command).out
    f.agents[1].call("lease", "release", "out", code=11)
    assert "only that agent can hand it over" in f.agents[1].call("lease", "release", "out", code=11).err
    f.agents[0].call("lease", "release", "out")
    f.held_by(1)
    f.agents[0].reload()
    assert f.lease(0)["standing"] == "released"
    f.agents[0].call("lease", "release", "--back", "out")
    f.all_is_well()


def test_a_copy_releases_nothing(fleet):
    """A store that was copied to another host speaks in the name of an agent that lives."""
    f = fleet("local", ttl="20s").start()
    copied = f.agents[1]
    copied.stop()
    shutil.rmtree(copied.folder / "store")
    shutil.copytree(f.agents[0].folder / "store", copied.folder / "store", ignore=shutil.ignore_patterns("*.sock"))
    for started in (False, True):
        if started:
            copied.start()
            for command in ("status", "locks"):
                assert "lease of out at dr: not known whose" in copied.call(command, code=None).out
        for option in ([], ["--back"]):
            assert "not active on this host" in copied.call("lease", "release", *option, "out", code=10).err
        assert f.lease(1)["name"] == "one" and f.lease(1)["epoch"] == 1
    assert f.lease(0)["standing"] == "ours"
    f.change()
    f.arrives()


def test_older_store_says_so_while_another_works(fleet):
    f = fleet("local")
    one, two = f.agents
    one.start()
    f.arrives()
    one.kill()
    shutil.copytree(one.folder / "store", one.folder / "backup", ignore=shutil.ignore_patterns("*.sock"))
    one.start()
    f.change()
    f.arrives()
    one.kill()
    shutil.copyfile(one.folder / "backup" / "data.mdb", one.folder / "store" / "data.mdb")
    one.start()
    eventually(lambda: one.call("lease", "ls", code=10), LAST, "it has seen that its store is an older one")
    two.start()
    f.held_by(1)
    eventually(lambda: "held by two" in one.call("lease", "ls", code=10).out, LAST, "both are said")
    said = one.call("status", code=1).out
    assert "older than what its agent did" in said and "next: stateferry adopt" in said, said
    one.call("adopt", "--yes")
    f.all_is_well()


def test_older_store_gives_up_what_it_holds(fleet):
    """One record shows that the store is an older one, another does not."""
    f = fleet("local")
    one, two = f.agents
    more = [Block("lease", ttl=TTL)]
    for agent in f.agents:
        agent.replicate("more", "live", "dr", key="more/{name}", blocks=more)
    one.start()
    f.arrives()
    eventually(lambda: f.get(f"more/{NAME}") == f.live.get(NAME), LAST, "both edges work")
    one.stop()
    shutil.copytree(one.folder / "store", one.folder / "backup", ignore=shutil.ignore_patterns("*.sock"))
    one.forget("replicate", "more")
    one.start()
    f.change()
    f.arrives()
    one.stop()
    shutil.copyfile(one.folder / "backup" / "data.mdb", one.folder / "store" / "data.mdb")
    one.replicate("more", "live", "dr", key="more/{name}", blocks=more)
    one.start()
    eventually(lambda: one.call("lease", "ls", code=10), LAST, "it has seen that its store is an older one")
    assert "nothing is written until the store is adopted" in one.said()
    two.start()
    f.change()
    f.arrives()
    eventually(lambda: f.get(f"more/{NAME}") == f.live.get(NAME), LAST, "the other one has both edges")
    one.call("adopt", "--yes")
    two.stop()
    f.change()
    f.arrives()
    eventually(lambda: f.get(f"more/{NAME}") == f.live.get(NAME), LAST, "it has both edges again")


def test_store_is_removed_under_the_holder(fleet):
    """Who can keep nothing any more leaves the work to who can."""
    f = fleet("local").start()
    shutil.rmtree(f.agents[0].folder / "store")
    f.change()
    f.held_by(1)
    f.arrives()
    assert "removed while it was in use" in f.agents[0].said()
    f.agents[0].stop()
    f.agents[0].start()
    f.all_is_well()


def test_reload_keeps_it(fleet):
    f = fleet("s3", ttl="20s").start()
    for n in range(3):
        f.agents[0].replicate(f"more-{n}", "live", "dr", key=f"more-{n}/{{name}}")
        f.agents[0].reload()
        eventually(lambda n=n: f.dr.get(f"more-{n}/{NAME}") is not None, LAST, "the new edge works")
        assert f.lease(0)["standing"] == "ours" and f.lease(0)["epoch"] == 1
    f.all_is_well()


def test_ten_are_handed_over(fleet):
    """All that an agent holds, when it ends; and one of them, for maintenance."""
    f = fleet("s3", ttl="60s")
    for agent in f.agents:
        for n in range(9):
            agent.replicate(f"more-{n}", "live", "dr", key=f"more-{n}/{{name}}", blocks=[Block("lease", ttl="60s")])

    def standing(i, what):
        return [x["edge"] for x in f.agents[i].json("lease", "ls")["leases"] if x["standing"] == what]

    def took(since, count):
        eventually(lambda: len(standing(1, "ours")) == count, LAST, "the second one has them")
        times = [l.split()[0] for l in f.agents[1].said().splitlines() if " lease: taken " in l][-count:]
        last = datetime.datetime.strptime(max(times), "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
        print(f"{count} taken within {last - since:.2f} s")

    f.start()
    eventually(lambda: len(standing(1, "theirs")) == 10, LAST, "the second one follows all of them")
    begun = time.time()
    f.agents[0].call("lease", "release", "more-3")
    eventually(lambda: standing(1, "ours") == ["more-3"], LAST, "that one alone")
    took(begun, 1)
    begun = time.time()
    f.agents[0].stop()
    took(begun, 10)
    f.all_is_well()


@pytest.mark.parametrize("kind, then", some(("s3", "late"), ("s3-table", "applied"), ("gcs", "lost"), ("azurerm", "late"),
                                             of=(REMOTE, ["applied", "lost", "late"])))
def test_holder_that_never_comes_back(fleet, kind, then):
    """Killed in the middle of a write, under its lock: the successor releases that, also where it would stay for ever. It has never seen
    what was being written."""
    f = fleet(kind).start()
    rule = f.ways[0].on_write(NAME, hold=True, drop={"applied": "after", "lost": "before"}.get(then, ""))
    f.agents[1].process.send_signal(signal.SIGSTOP)
    f.change()
    rule.wait()
    f.agents[0].kill()
    assert f.dr.locks() != []
    if then != "late":
        rule.release()
    f.change()
    f.agents[1].process.send_signal(signal.SIGCONT)
    f.held_by(1)
    f.arrives()
    if then == "late":                      # the write of the dead one meets what its successor wrote
        held = f.ways[0].writes(NAME)[-1]
        assert held["serial"] == 2
        rule.release()
        eventually(lambda: held["status"] is not None, LAST, "it has arrived")
        assert held["status"] in (409, 412), held
    f.all_is_well()
    assert "a lock that an earlier holder of the lease left is released" in f.agents[1].said()


@pytest.mark.parametrize("kind, when", some(("s3", "read"), ("s3", "write"), ("gcs", "read"), ("azurerm", "write"),
                                             of=(["s3", "gcs", "azurerm"], ["read", "write"])))
def test_frozen_holder(fleet, kind, when):
    """Stopped for longer than its ttl in the middle of a write, and awake again: it writes nothing over its successor's."""
    f = fleet(kind).start()
    rule = getattr(f.ways[0], "on_" + when)(NAME, hold=True)
    f.change()
    rule.wait()
    f.agents[0].process.send_signal(signal.SIGSTOP)
    f.change()
    f.held_by(1)
    f.arrives()
    before = len(f.ways[0].writes(NAME))
    rule.release()
    f.agents[0].process.send_signal(signal.SIGCONT)
    eventually(lambda: f.lease(0)["standing"] == "theirs", LAST, "it has seen that it is not the holder any more")
    assert len(f.ways[0].writes(NAME)) == before, "no write after it woke"
    if when == "write":
        held = f.ways[0].writes(NAME)[-1]
        eventually(lambda: held["status"] is not None, LAST, "it has arrived")
        assert held["status"] in (409, 412), held
    f.all_is_well()


def test_frozen_holder_does_not_count_what_its_successor_wrote(fleet):
    f = fleet("s3").start()
    rule = f.ways[0].on_write(NAME, hold=True)
    f.change()
    rule.wait()
    f.agents[0].process.send_signal(signal.SIGSTOP)
    f.held_by(1)
    f.arrives()
    rule.release()
    f.agents[0].process.send_signal(signal.SIGCONT)
    eventually(lambda: f.lease(0)["standing"] == "theirs" and all_current(f.agents[0]), LAST, "it has seen what is there")
    assert (f.written_by(0), f.written_by(1)) == (1, 1)
    f.all_is_well()


@pytest.fixture
def table(_session):
    """Where leases are kept that the target cannot carry."""
    server = _session(Dynalite)
    name = f"leases-{next(TABLES)}"
    server.create(name)
    return [Block("dynamodb", table=name, region=S3Server.region, endpoint=f"http://127.0.0.1:{server.port}",
                  access_key=S3Server.access_key, secret_key=S3Server.secret_key)]


@pytest.mark.parametrize("kind, then", some(("http", "applied"), ("remote", "lost"), of=(LOCKED, ["applied", "lost"])))
def test_holder_of_a_plain_lock_that_never_comes_back(fleet, table, kind, then):
    """As above, where nothing but that lock is between two writers."""
    f = fleet(kind, names=["prod.tfstate"], table=table).start()
    eventually(lambda: all_current(f.agents[1]), LAST, "who follows has seen it")
    assert f.written_by(1) == 0
    rule = f.dr.on_write(f.at("prod.tfstate"), hold=True, drop={"applied": "after", "lost": "before"}[then])
    f.change()
    rule.wait()
    f.agents[0].kill()
    assert f.dr.locks() != []
    rule.release()
    f.change()
    f.held_by(1)
    f.arrives()
    f.all_is_well()
    assert "a lock that an earlier holder of the lease left is released" in f.agents[1].said()


@pytest.mark.parametrize("kind", REMOTE + LOCKED if ALL else ["s3", "s3-table", "azurerm", "http"])
def test_left_lock_is_in_nobodys_way(fleet, request, terraform, kind):
    """Killed behind its last write, under its lock, and nothing new comes: terraform works there once the lease has another holder."""
    f = fleet(kind, **({"names": ["prod.tfstate"], "table": request.getfixturevalue("table")} if kind in LOCKED else {})).start()
    name = f.at(f.names[0])
    eventually(lambda: all_current(f.agents[1]), LAST, "who follows has seen it")
    rule = f.ways[0].on_write(name, hold=True, drop="after")
    f.change()
    rule.wait()
    f.agents[0].kill()
    rule.release()
    f.arrives()
    assert f.dr.locks() != []
    f.held_by(1)
    eventually(lambda: f.dr.locks() == [], LAST, "no lock is left")
    assert "a lock that an earlier holder of the lease left is released" in f.agents[1].said()
    if kind != "remote":                    # where a write is several requests, its successor finishes it
        assert f.written_by(1) == 0
        tf = terraform("tf", f.dr.terraform(name), env=getattr(f.dr, "env", None))
        tf.init()
        tf.plan()
    f.all_is_well()


def ended(f, i, how):
    """The holder is no more, in one of the ways; afterwards the other one has its place."""
    agent, begun = f.agents[i], time.monotonic()
    if how == "frozen":
        agent.process.send_signal(signal.SIGSTOP)
    else:
        agent.kill() if how == "killed" else agent.stop()
    f.change()
    f.held_by(1 - i)
    took = time.monotonic() - begun
    f.arrives()
    if how == "frozen":
        agent.process.send_signal(signal.SIGCONT)
    else:
        agent.start()
    eventually(lambda: f.lease(i)["standing"] == "theirs", LAST, "it follows now")
    return took


@pytest.mark.deadline(120 + 30 * ROUNDS)
@pytest.mark.parametrize("kind", ["local", "s3"] if ALL else ["local"])
def test_rounds(fleet, kind):
    """Whatever it is that is under way when a holder goes: one after the other, in all ways."""
    f, took = fleet(kind).start(), {}
    for n in range(ROUNDS):
        how = ["frozen", "killed", "stopped"][n % 3]
        f.change()
        took.setdefault(how, []).append(ended(f, n % 2, how))
    f.all_is_well()
    assert f.lease(0)["epoch"] == f.lease(1)["epoch"] >= 1 + ROUNDS
    for how, times in took.items():
        print(f"{kind} {how}: {len(times)} take-overs, p50 {statistics.median(times):.2f} s, max {max(times):.2f} s")


@pytest.mark.parametrize("what", ["states", "everything"])
def test_refused_holder_gives_way(fleet, what):
    """The credentials of one agent are refused, for what it writes or at all: the other one goes on."""
    names = [f"net/{n}.tfstate" for n in range(5)]
    f = fleet("s3", names=names, max_failures=3).start()
    refused = {"status": 403, "times": 0, "body": b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"}
    rules = f.ways[0].rules
    rules.add(*(("PUT", "*/net/*") if what == "states" else ("*", "*")), **refused)
    f.change()
    f.held_by(1)
    f.arrives()
    eventually(lambda: f.written_by(1) == len(names), LAST, "it has written them all")
    if what == "states":
        assert "given up for a while" in f.agents[0].said()
    rules.clear()
    f.change()
    f.arrives()
    eventually(lambda: f.dr.locks() == [], LAST, "no lock is left")


@pytest.mark.parametrize("what", ["write", "lock"])
def test_holder_whose_writes_get_no_answer_gives_way(fleet, what):
    """It can read, and its lease is renewed; but what changes a state is cut off on its way."""
    f = fleet("s3", max_failures=3).start()
    getattr(f.ways[0], "on_" + what)(NAME, drop="before", times=0)
    f.change()
    f.held_by(1)
    f.arrives()
    assert "given up for a while" in f.agents[0].said()
    f.ways[0].rules.clear()
    f.all_is_well()
