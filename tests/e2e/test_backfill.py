# SPDX-License-Identifier: MIT
"""Versions that a source kept before the agent came, or between two of its looks: they are versions here, and none of them travels."""
import time

import pytest

from servers import FakeGcsInMemory, Ministack, Moto
from states import lineage, serial_of, state

ROUNDS = 5
NAMES = {"brainboard": "9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e01", "remote": "prod", "gitlab": "prod", "harness": "prod", "gcs": "net/prod/default.tfstate"}
SERVERS = {"brainboard": lambda places: places("brainboard-s3", cls=Ministack, versioning=True),
           "ministack": lambda places: places("s3", cls=Ministack, versioning=True),
           "moto": lambda places: places("s3", cls=Moto, versioning=True),
           "gcs": lambda places: places("gcs", cls=FakeGcsInMemory, versioning=True)}
OFF = ("ministack", "moto", "gcs", "brainboard")     # where it has to be asked for


class Applied:
    """A state that terraform wrote five times before anybody looked: its bytes, and a moment after the second."""

    def __init__(self, places, terraform, kind):
        self.live, self.name = SERVERS.get(kind, lambda places: places(kind))(places), NAMES.get(kind, "net/prod.tfstate")
        if hasattr(self.live, "prepare"):
            self.live.prepare(self.name)
        self.tf = terraform("tf", self.live.terraform(self.name), cli=getattr(self.live, "cli", ""), env=getattr(self.live, "env", None))
        self.tf.init()
        self.bodies = [body for body in [self.live.get(self.name)] if body]      # init may have made one
        for n in range(ROUNDS):
            self.apply(n)
            if n == 1:
                self.then = self.bodies[-1]
                time.sleep(1.1)
                self.moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                time.sleep(1.1)

    def apply(self, n):
        self.tf.apply(text=f"round {n}", items=3)
        self.bodies.append(self.live.get(self.name))

    @property
    def serials(self):
        return [serial_of(body) for body in self.bodies]


@pytest.fixture(params=["remote", "gitlab", "harness", "ministack", "moto", "gcs", "brainboard"])
def kind(request):
    return request.param


@pytest.fixture
def applied(agent, places, terraform, kind):
    a = Applied(places, terraform, kind)
    a.live.add(agent, "live", **({"backfill": 100} if kind in OFF else {}))
    a.dr = places("local")
    a.dr.add(agent, "dr")
    return a


def log(agent, a):
    """Oldest first."""
    return agent.json("log", f"live:{a.name}")["versions"][::-1]


def test_before_the_agent_came(agent, applied, kind, workdir):
    a = applied
    agent.replicate("out", "live", "dr")
    assert agent.edge(agent.sync(), "out")["written"] == 1
    seen = log(agent, a)
    assert [v["serial"] for v in seen] == a.serials and [v["head"] for v in seen][-2:] == [False, True]
    assert [v["verdict"] for v in seen] == ["first"] + ["advance"] * (len(seen) - 1)
    for n, body in enumerate(a.bodies, 1):
        agent.call("restore", f"live:{a.name}@{n}", "--out", workdir / f"v{n}", "--yes")
        assert (workdir / f"v{n}").read_bytes() == body
    if kind != "gitlab":            # it does not tell when a version was made
        agent.call("restore", f"live:{a.name}", "--at", a.moment, "--to", "dr:then.tfstate", "--keep-serial", "--yes")
        assert a.dr.get("then.tfstate") == a.then
    copy = a.name if a.name.endswith(".tfstate") else f"{a.name}.tfstate"
    assert a.dr.get(copy) == a.bodies[-1]
    for n in range(ROUNDS, ROUNDS + 3):         # nobody looks meanwhile
        a.apply(n)
    assert agent.edge(agent.sync(), "out")["written"] == 1
    assert [v["serial"] for v in log(agent, a)] == a.serials
    assert a.dr.get(copy) == a.bodies[-1]
    agent.call("restore", f"live:{a.name}@2", "--yes")
    assert a.tf.pull()["serial"] == a.serials[-1] + 1
    agent.sync()
    a.apply(ROUNDS + 3)
    agent.sync()
    assert [v["serial"] for v in log(agent, a)] == [*a.serials[:-1], a.serials[-2] + 1, a.serials[-1]]


@pytest.mark.parametrize("kind", ["remote"])
def test_each_is_a_snapshot(agent, applied, kind):
    a = applied
    agent.snapshot("history", "live", "dr", every="change", compress="none")
    for _ in a.bodies:
        agent.sync()
    kept = sorted(p for p in a.dr.folder.rglob("*.tfstate") if "history" in p.parts and p.is_file())
    assert [p.read_bytes() for p in kept] == a.bodies


@pytest.mark.parametrize("kind", ["remote", "ministack"])
def test_a_migration_says_that_they_stay(agent, applied, kind):
    """What it says of those in the store is so, and a snapshot block has each of them."""
    a = applied
    said = agent.call("migrate", "live", "dr", "--yes").out
    assert "older ones stay at the old place, and up to 100 of each are kept in the store" in said, said
    assert [v["serial"] for v in log(agent, a)] == a.serials
    again = agent.json("migrate", "live", "dr", "--dry-run")
    assert again["older_versions_stay"] is True and again["backfill"] == 100
    assert "older ones" not in agent.call("migrate", "dr", "live", "--dry-run").out     # a folder has none
    agent.snapshot("history", "live", "dr", every="change", compress="none")
    for _ in a.bodies:
        agent.sync()
    assert [v["serial"] for v in log(agent, a)] == a.serials
    kept = sorted(p for p in a.dr.folder.rglob("*.tfstate") if "history" in p.parts and p.is_file())
    assert [p.read_bytes() for p in kept] == a.bodies


@pytest.mark.parametrize("kind", ["remote"])
def test_no_more_than_asked_for(agent, applied, kind):
    a = applied
    agent.forget("backend", "live")
    a.live.add(agent, "live", backfill=2)
    agent.replicate("out", "live", "dr")
    agent.sync()
    assert [v["serial"] for v in log(agent, a)] == a.serials[-3:]
    agent.forget("backend", "live")
    a.live.add(agent, "live", backfill=0)
    for n in range(ROUNDS, ROUNDS + 2):
        a.apply(n)
    agent.sync()
    assert [v["serial"] for v in log(agent, a)] == [*a.serials[-5:-2], a.serials[-1]]


def test_serials_with_gaps(agent, places):
    """GitLab lists no versions: each serial below the current one is asked for, and one that is not there is nobody's fault."""
    live, dr, line = places("gitlab"), places("local"), lineage()
    bodies = {serial: state(serial, line) for serial in (2, 5, 9)}
    for body in bodies.values():
        live.put("prod", body)
    live.add(agent, "live")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    said = agent.call("sync", "out").err
    assert "could not be read" not in said, said
    assert [v["serial"] for v in agent.json("log", "live:prod")["versions"]] == [9, 5, 2]
    assert dr.get("prod.tfstate") == bodies[9]
    asked = [e["target"] for e in live.server.requests("GET") if "/versions/" in e["target"]]
    assert [int(t.rpartition("/")[2]) for t in asked] == list(range(9))
    live.put("prod", state(10, line))
    agent.sync()
    assert len([e for e in live.server.requests("GET") if "/versions/" in e["target"]]) == len(asked)
