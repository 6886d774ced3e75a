# SPDX-License-Identifier: MIT
"""First replication and the pass without a change, bucket to bucket, beside rclone, mc and the bare loop."""
import collections
import re

import measure
from peers_s3 import Mc, Rclone
from table import at_least, at_most, ratio, seconds
from world import BUILD, ROOT, many, names

SMALL = 5000
COLD_PASSES = 5
WARM_PASSES = 10


def constant(name, path):
    """A limit of the program, from its source: the bare loop has the same."""
    return int(re.search(rf"#define {name}\s+(\d+)", (ROOT / path).read_text())[1])


def agent_between(world, from_, to, **more):
    agent = world.agent()
    world.add_bucket(agent, "live", from_, **more)
    world.add_bucket(agent, "dr", to, **more)
    agent.replicate("out", "live", "dr")
    return agent


def command(agent, *args):
    return measure.run(agent.command(*args), env=agent.env, cwd=agent.folder)


class Scale:
    """Both topics at one number of states; keeps the agent that has replicated them all."""

    def __init__(self, world, table, count):
        self.world, self.table, self.count = world, table, count
        self.source, self.target = world.bucket(), world.bucket()
        world.fill(self.source, many(count, SMALL))
        self.peers = [p for p in (Rclone(world), Mc(world))]

    # --- first replication ------------------------------------------------------------------------------------------------

    def first(self):
        self.table.section(f"First replication of {self.count:,} states, bucket to bucket",
                           f"About {SMALL // 1000} KB each, on one server. The agent also keeps every version, takes the native lock, reads back.")
        self.agent = agent_between(self.world, self.source, self.target)
        with self.world.requests() as asked:
            ours = command(self.agent, "sync")
        self.verify("stateferry sync", self.target)
        each = sum(" s3_List" not in line for line in asked.lines) / self.count
        self.line("stateferry sync", ours, asked)
        loop = self.bare_loop(asked)
        self.table.row("requests per state and target, without the listings", f"{each:.2f}", budget=at_most(each, 7, "7"))
        if loop:
            share = 100 * loop.wall / ours.wall
            self.table.row("speed beside the bare loop", f"{share:.0f} %", f"loop {seconds(loop.wall)}, sync {seconds(ours.wall)}",
                           budget=at_least(share, 80, "80 %"))
        for peer in self.peers:
            self.peer_first(peer, ours)

    def verify(self, who, bucket):
        """A figure counts only when every state arrived, byte for byte."""
        for name in names(self.count):
            copy = self.world.data(bucket, name)
            if not copy.exists() or copy.read_bytes() != self.world.data(self.source, name).read_bytes():
                raise measure.Failed(f"{who} did not bring {name} over")

    def line(self, what, cost, asked, ours=None, budget=None):
        beside = f"sync is {ratio(ours.wall, cost.wall)} as fast" if ours else ""
        self.table.row(what, f"{seconds(cost.wall)}, CPU {seconds(cost.cpu)}, {asked.count / self.count:.2f} requests per state",
                       beside, budget=budget)

    def bare_loop(self, asked):
        """The requests that the agent sent for one state, for all of them, from as many lanes."""
        stages = collections.defaultdict(list)
        for bucket, operation, key in asked.operations(names(self.count)[self.count // 2]):
            side = "from" if bucket == self.source else "to"
            stages[side].append(f"{operation}:{side}" + (".tflock" if key.endswith(".tflock") else ""))
        list_ = self.world.folder() / "names"
        list_.write_text("\n".join(names(self.count)) + "\n")
        s3 = self.world.s3
        with self.world.requests() as sent:
            cost = measure.run([BUILD / "bench/replay", f"127.0.0.1:{s3.port}", s3.region, self.source, self.world.bucket(), list_,
                                constant("HTTP_PER_HOST_MAX", "include/net/http_client.h"), " ".join(stages["from"]),
                                constant("PLACE_LOCKS", "src/sync/core.h"), " ".join(stages["to"])],
                               env={"REPLAY_ACCESS": s3.access_key, "REPLAY_SECRET": s3.secret_key})
        cost.wall = float(cost.out.split()[1])
        self.line("bare loop: " + " ".join(stages["from"] + stages["to"]), cost, sent)
        return cost

    def peer_first(self, peer, ours):
        if not peer.program:
            self.table.row(peer.name, "not measured", peer.why)
            return
        peer.target = self.world.bucket()
        with self.world.requests() as asked:
            cost = peer.sync(self.source, peer.target)
        self.verify(peer.name, peer.target)
        faster = peer.name == "rclone" and ("faster than rclone", ours.wall < cost.wall)
        self.line(peer.name + ", two remotes", cost, asked, ours, budget=faster or None)
        if hasattr(peer, "server_side"):
            with self.world.requests() as asked:
                cost = peer.server_side(self.source, self.world.bucket())
            self.line(peer.name + ", one remote: the server copies, no byte moves", cost, asked, ours)

    # --- nothing has changed ----------------------------------------------------------------------------------------------

    def unchanged(self):
        self.table.section(f"Pass without a change over {self.count:,} states, bucket to bucket",
                           "Source and target are listed by everybody. Median of several passes, all after one that found nothing to do.")
        cold = self.cold()
        warm = self.warm()
        for peer in self.peers:
            if not peer.program:
                self.table.row(peer.name, "not measured", peer.why)
                continue
            with self.world.requests() as asked:
                costs = [peer.sync(self.source, peer.target) for _ in range(3)]
            cpu, wall = measure.median([c.cpu for c in costs]), measure.median([c.wall for c in costs])
            self.table.row(peer.name, f"{seconds(wall)}, CPU {seconds(cpu)}, {asked.count / 3:.0f} requests",
                           f"{cpu / cold:.1f} × the CPU of a cold sync, {cpu / warm:.1f} × that of the running agent")

    def cold(self):
        with self.world.requests() as asked:
            costs = [command(self.agent, "sync") for _ in range(COLD_PASSES)]
        cpu, wall = measure.median([c.cpu for c in costs]), measure.median([c.wall for c in costs])
        self.table.row("cold stateferry sync", f"{seconds(wall)}, CPU {seconds(cpu)}, {asked.count / COLD_PASSES:.0f} requests")
        return cpu

    def warm(self):
        """A pass asked of the running agent: CPU of the agent alone, what it does between passes taken off."""
        agent = agent_between_again(self.agent)
        agent.start()
        command(agent, "sync")
        pid, cpu = agent.process.pid, []
        with self.world.requests() as asked:
            for _ in range(WARM_PASSES):
                before = measure.cpu_seconds(pid)
                cost = command(agent, "sync")
                cpu.append(measure.cpu_seconds(pid) - before)
        agent.stop()
        per = asked.count / WARM_PASSES
        budget, most = 0.005 * self.count / 1000, 2 * -(-self.count // 1000)
        self.table.row("the running agent, asked for a pass", f"{seconds(cost.wall)}, CPU {seconds(measure.median(cpu))}, {per:.0f} requests",
                       f"slowest {seconds(max(cpu))}",
                       budget=(f"≤ {1000 * budget:.0f} ms CPU, ≤ {most} requests", measure.median(cpu) <= budget and per <= most))
        return measure.median(cpu)


def agent_between_again(agent):
    """The same agent, polling by itself so rarely that only the passes which are asked for count."""
    for block in agent.blocks:
        if block.kind == "backend":
            block.args["poll"] = "1h"
    return agent
