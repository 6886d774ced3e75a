# SPDX-License-Identifier: MIT
"""What a version costs on disk beside restic, and how long an old one takes to come back."""
import os

import measure
from table import ratio, seconds, size
from topic_latency import wait
from topic_pass import command
from world import Text, find

VERSIONS = 100
DEEP = 1000
SIZES = {"50 KB": 50_000, "0.8 MB": 800_000}
CATS = 7


def files(folder):
    """(bytes as the files say, bytes on disk)."""
    stats = [os.stat(os.path.join(d, f)) for d, _, names in os.walk(folder) for f in names]
    return sum(s.st_size for s in stats), sum(512 * s.st_blocks for s in stats)


class Kept:
    """One state's versions as a running agent keeps them, one by one."""

    def __init__(self, world, bytes_, count):
        self.agent, folder, other = world.agent(), world.folder(), world.folder()
        self.agent.backend("local", "live", dir=str(folder), poll="60s")
        self.agent.backend("local", "dr", dir=str(other))
        self.agent.replicate("out", "live", "dr")
        self.text, self.raw, self.count = Text(bytes_), 0, count
        self.first, body, self.file = self.text.bytes(), self.text.bytes(), folder / "vpc.tfstate"
        self.file.write_bytes(body)
        self.agent.start()
        for n in range(count):
            if n:
                body = self.text.next()
                self.file.write_bytes(body)
            self.raw += len(body)
            wait(other / "vpc.tfstate", body)
        found = len(self.agent.versions("live:vpc.tfstate"))
        if found != count:
            raise measure.Failed(f"{found} versions were kept, not {count}")
        if self.agent.cat("live:vpc.tfstate@1") != self.first:
            raise measure.Failed("version 1 came back different")


def restic(world, bytes_, count):
    """(bytes of the repository, bytes of its packs, CPU seconds of a backup): one backup after each change."""
    program, why = find("restic")
    if not program:
        return why
    folder, repo = world.folder(), world.folder()
    env = {"PATH": os.environ["PATH"], "HOME": str(world.folder()), "RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(repo)}
    measure.run([program, "init", "--quiet"], env=env)
    text, cpu = Text(bytes_), []
    for n in range(count):
        (folder / "vpc.tfstate").write_bytes(text.next() if n else text.bytes())
        cpu.append(measure.run([program, "backup", "--quiet", folder / "vpc.tfstate"], env=env).cpu)
    return files(repo)[0], files(repo / "data")[0], measure.median(cpu)


def sizes(world, table, label, bytes_, count):
    kept = Kept(world, bytes_, count)
    kept.agent.stop()
    whole, raw = files(kept.agent.folder / "store")[0] / count, kept.raw / count
    table.row(f"{label}, {count} versions: whole store", f"{size(whole)} per version, {100 * whole / raw:.2f} % of raw",
              "frames alone: see the store's rows below; the rest is tables and free pages")
    peer = restic(world, bytes_, count)
    if isinstance(peer, str):
        table.row("restic", "not measured", peer)
        return
    repo, packs, cpu = peer
    table.row(f"{label}, {count} versions: restic, whole repository", f"{size(repo / count)} per version, {100 * repo / count / raw:.2f} % of raw",
              f"{ratio(whole, repo / count)} ours; its packs alone {size(packs / count)}; CPU {seconds(cpu)} per backup")


def old_version(world, table, count):
    kept = Kept(world, SIZES["50 KB"], count)
    warm = [command(kept.agent, "cat", "live:vpc.tfstate@1").wall for _ in range(CATS)]
    kept.agent.stop()
    cold = [command(kept.agent, "cat", "live:vpc.tfstate@1").wall for _ in range(CATS)]
    table.row(f"`cat` of version 1 of {count:,}, 50 KB, agent running", seconds(measure.median(warm)), "the whole command")
    table.row(f"`cat` of version 1 of {count:,}, 50 KB, no agent", seconds(measure.median(cold)), "the whole command; the store opened for it")
    whole = files(kept.agent.folder / "store")[0]
    table.row(f"50 KB, {count:,} versions: whole store", f"{size(whole / count)} per version, {100 * whole / kept.raw:.2f} % of raw", "",
              budget=("≤ 2 % of raw at 10,000", whole <= 0.02 * kept.raw) if count >= 10000 else None)


def measure_all(world, table, quick):
    table.section("History", "One state, small edits, a version after each; restic: `restic backup` of that file after each change, its defaults "
                  "(zstd, repository format 2).")
    for label, bytes_ in SIZES.items():
        sizes(world, table, label, bytes_, 10 if quick else VERSIONS)
    old_version(world, table, 100 if quick else DEEP)
