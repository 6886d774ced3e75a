# SPDX-License-Identifier: MIT
"""Three agents with one configuration, each behind proxies of its own, and what goes wrong with one of them.

The source and the three targets are buckets of a server that keeps every version and enforces preconditions; each edge has its leases
with another coordinator. Whoever changes the source locks, writes and unlocks as terraform does."""
import json
import random
import signal
import threading
import time

from agent import SLOW, eventually
from fault_proxy import FaultProxy
from hcl import Block
from servers import Dynalite, Etcd, Ministack, S3Server
from states import lineage, serial_of, state

TTL = 2 * SLOW              # seconds; the least that a configuration may say, with the usual program
CLOCK_OFF = 300             # seconds that the clock of one of them is wrong
EDGES = {"to-target": "target", "to-dynamodb": "dynamodb", "to-etcd": "etcd"}
FAULTS = ("kill", "frozen in a write", "cut off", "silent", "full disk", "stop")


class Member:
    """One agent and its ways to the three servers."""

    def __init__(self, agent, servers):
        self.agent, self.name = agent, agent.name
        self.s3, self.dynamo, self.etcd = self.ways = [FaultProxy(s.port).start() for s in servers]

    def cut(self):
        for way in self.ways:
            way.stop()

    def silence(self):
        """What it sends arrives when heal() is called, not before, and by then nobody waits for the answer."""
        for way in self.ways:
            way.rules.add(times=0, hold=True)

    def heal(self):
        for way in self.ways:
            way.rules.clear()
            if not way.listens:
                way.start()

    def send(self, sig):
        self.agent.process.send_signal(sig)


class Fleet:
    """The servers, the members, and a writer that never rests while a fault lasts."""

    def __init__(self, folder, agents, disk, shift, seed):
        self.rng = random.Random(seed)
        self.s3, self.dynamo, self.etcd = self.servers = [Ministack(folder / "s3").start(), Dynalite(folder / "dynamo").start(),
                                                          Etcd(folder / "etcd").start()]
        self.client = self.s3.client()
        for bucket in ("live", *EDGES):
            self.client.create_bucket(bucket, versioning=True)
        self.dynamo.create("locks")
        self.disk, self.line = disk, lineage()
        self.times, self.refused, self.changes, self.versions, self.n = {}, 0, 0, 0, 0
        self.members = [self.member(agents(name, env=env)) for name, env in (("one", {}), ("two", {}), ("three", shift))]
        two = self.named("two").agent
        two.prefix = disk.prefix
        two.blocks[0].args["store"] = str(disk.folder / "store")

    def named(self, name):
        return next(m for m in self.members if m.name == name)

    def member(self, agent):
        m = Member(agent, self.servers)
        agent.backend("s3", "live", self.s3.backend("live", port=m.s3.port), poll="500ms")
        lease = {
            "target": [],
            "dynamodb": [Block("dynamodb", table="locks", region=S3Server.region, endpoint=f"http://127.0.0.1:{m.dynamo.port}",
                               access_key=S3Server.access_key, secret_key=S3Server.secret_key)],
            "etcd": [Block("etcd", endpoints=[f"http://127.0.0.1:{m.etcd.port}"])],
        }
        for edge, coordinator in EDGES.items():
            agent.backend("s3", edge, self.s3.backend(edge, port=m.s3.port), poll="1s", lock_timeout="10s")
            agent.replicate(edge, "live", edge, blocks=[Block("lease", coordinator=coordinator, ttl=f"{int(TTL * 1000)}ms",
                                                              blocks=lease[coordinator])])
        return m

    def end(self):
        for m in self.members:
            m.agent.end()
            m.heal()
            m.cut()
        for server in self.servers:
            server.kill()

    # --- whose it is, as the coordinators have it -----------------------------------------------------------------------

    def record(self, edge):
        key = f"lease/{edge}@{edge}"
        if EDGES[edge] == "target":
            text = self.client.get(edge, f".stateferry/lease/{edge}")
        elif EDGES[edge] == "etcd":
            text = self.etcd.range(f".stateferry/{key}").get(f".stateferry/{key}")
        else:
            item = self.dynamo.call("GetItem", TableName="locks", Key={"LockID": {"S": f".stateferry/{key}"}}, ConsistentRead=True)
            text = item.get("Item", {}).get("LeaseRecord", {}).get("S")
        return json.loads(text) if text else {"holder": "", "name": ""}

    def holder(self, edge):
        """The name of an agent; "": nobody."""
        record = self.record(edge)
        return record["name"] if record["holder"] else ""

    def held_by(self, member):
        return [e for e in EDGES if self.holder(e) == member.name]

    def all_held(self):
        running = {m.name for m in self.members if m.agent.process is not None}
        eventually(lambda: all(self.holder(e) in running for e in EDGES), 10 * TTL, "somebody who runs holds each lease")

    def give_all_to(self, member):
        for m in self.members:
            if m is not member:
                m.agent.stop()
        eventually(lambda: len(self.held_by(member)) == len(EDGES), 10 * TTL, f"{member.name} holds all")
        for m in self.members:
            if m is not member:
                m.agent.start()

    # --- one round -------------------------------------------------------------------------------------------------------

    def change(self, name, serial):
        """As terraform: lock, write, unlock."""
        lock = json.dumps({"ID": f"{name}-{serial}", "Operation": "OperationTypeApply", "Who": "terraform@ci"}).encode()
        self.writer.put("live", name + ".tflock", lock, If_None_Match="*")
        self.writer.put("live", name, state(serial, self.line, text=f"{name} {serial}"))
        self.writer.delete("live", name + ".tflock")
        self.changes += 1

    def write(self, names, over):
        self.writer = self.s3.client()
        serial = 0
        while not over.is_set():
            serial += 1
            for name in names:
                self.change(name, serial)
            over.wait(random.uniform(0.02, 0.25))

    def round(self, fault):
        names = [f"r{self.n:04}/{x}.tfstate" for x in "ab"]
        self.n += 1
        self.all_held()
        victim = self.named("two") if fault == "full disk" else max(self.members, key=lambda m: (len(self.held_by(m)), self.rng.random()))
        if fault == "full disk":
            self.give_all_to(victim)
        over = threading.Event()
        writer = threading.Thread(target=self.write, args=(names, over))
        writer.start()
        try:
            getattr(self, "do_" + fault.replace(" ", "_"))(victim, fault, names)
            time.sleep(self.rng.uniform(0, TTL / 4))
        finally:
            over.set()
            writer.join()
        self.settled(fault, names)

    def took_over(self, victim, held, since, fault):
        """Waits until others hold what the victim held, and keeps how long that took."""
        left, seconds = set(held), self.times.setdefault(fault, [])
        deadline = time.monotonic() + 20 * TTL
        while left:
            for edge in list(left):
                if self.holder(edge) not in ("", victim.name):
                    left.discard(edge)
                    seconds.append(time.monotonic() - since)
            assert time.monotonic() < deadline, f"{fault}: nobody took over {left} from {victim.name}"
            time.sleep(0.02)

    def do_kill(self, victim, fault, _):
        time.sleep(self.rng.uniform(0, TTL / 2))
        held, since = self.held_by(victim), time.monotonic()
        victim.agent.kill()
        self.took_over(victim, held, since, fault)
        victim.agent.start()

    def do_stop(self, victim, fault, _):
        time.sleep(self.rng.uniform(0, TTL / 2))
        held, since = self.held_by(victim), time.monotonic()
        victim.send(signal.SIGTERM)
        self.took_over(victim, held, since, fault)
        victim.agent.stop()
        victim.agent.start()

    def do_frozen_in_a_write(self, victim, fault, names):
        """The write that hung arrives when the replica is newer already: before its sender wakes up, or after."""
        rule = victim.s3.rules.add("PUT", f"/to-*/{names[0]}", hold=True, nth=self.rng.choice((1, 7)))  # what makes it, or changes it
        rule.wait(10 * TTL)
        late = next(e for e in reversed(victim.s3.requests("PUT")) if e["fault"])
        held, since = self.held_by(victim), time.monotonic()
        victim.send(signal.SIGSTOP)
        try:
            self.took_over(victim, held, since, fault)
            edge = late["path"].split("/")[1]
            eventually(lambda: serial_of(self.client.get(edge, names[0]) or b'{"serial": 0}') > late["serial"], 30 * TTL,
                       f"round {self.n}: the successor goes on with {names[0]} at {edge}")
            if self.rng.random() < 0.5:
                rule.release()
                time.sleep(0.1)
        finally:
            victim.send(signal.SIGCONT)
        time.sleep(self.rng.uniform(0, 0.3))
        victim.heal()

    def do_cut_off(self, victim, fault, _):
        held, since = self.held_by(victim), time.monotonic()
        victim.cut()
        self.took_over(victim, held, since, fault)
        victim.heal()

    def do_silent(self, victim, fault, _):
        held, since = self.held_by(victim), time.monotonic()
        victim.silence()
        self.took_over(victim, held, since, fault)
        victim.heal()

    def do_full_disk(self, victim, fault, names):
        """Whoever cannot keep a version may not write one, and must not be in the way of those who can."""
        since = time.monotonic()
        self.disk.fill()
        try:
            self.took_over(victim, list(EDGES), since, fault)
        finally:
            self.disk.empty()

    # --- what must hold afterwards ---------------------------------------------------------------------------------------

    def settled(self, fault, names):
        what = f"round {self.n}, {fault}"
        for name in names:
            want = self.client.get("live", name)
            for edge in EDGES:
                eventually(lambda: self.client.get(edge, name) == want, 30 * TTL, f"{what}: {name} at {edge} is that of the source")
        eventually(lambda: not [k for b in EDGES for k in self.client.keys(b) if k.endswith(".tflock")], 30 * TTL, f"{what}: no lock is left")
        for edge in EDGES:
            for name in names:
                self.never_backwards(edge, name, what)
        for m in self.members:
            self.refused += sum(e["status"] in (409, 412) and e["path"].endswith(".tfstate") for e in m.s3.requests("PUT"))
            for way in m.ways:
                way.journal.clear()

    def never_backwards(self, edge, name, what):
        """In the server's own list each version is newer than the one before: nobody went back, and nobody wrote one twice."""
        ids = self.client.versions(edge, name)
        serials = [serial_of(self.client.request("GET", edge, name, query=[("versionId", i)])[1]) for i in reversed(ids)]
        assert serials and all(a < b for a, b in zip(serials, serials[1:])), f"{what}: {name} at {edge} was {serials}"
        self.versions += len(serials)

    def last(self):
        """All end in order, and leave nothing."""
        for m in self.members:
            m.agent.stop()
        assert all(self.holder(e) == "" for e in EDGES)
        assert [k for b in ("live", *EDGES) for k in self.client.keys(b) if k.endswith(".tflock")] == []

    def table(self):
        """How long take-overs took, by fault."""
        yield "fault, take-overs, p50 s, max s"
        for fault in FAULTS:
            found = sorted(self.times.get(fault, []))
            if found:
                yield f"{fault}, {len(found)}, {found[len(found) // 2]:.2f}, {found[-1]:.2f}"
