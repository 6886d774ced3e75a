# SPDX-License-Identifier: MIT
"""Memory: idle with many states known, at its peak while a large state moves; and how fast an agent starts."""
import subprocess
import time

import measure
from servers import die_with_parent
from states import lineage, padded
from table import at_most, seconds
from topic_pass import agent_between_again, command

IDLE_SECONDS = 8
IDLE_BUDGET_MB = {1000: 4, 10000: 7}
LARGE = 100 << 20
LARGE_BUDGET_MB = 16
STARTS = 7
STEP = 0.003


def idle(world, table, scale):
    """Anonymous memory of an agent that has made a pass and then has nothing to do."""
    agent = agent_between_again(scale.agent)
    agent.start()
    command(agent, "sync")
    after = measure.anon_mb(agent.process.pid)
    time.sleep(IDLE_SECONDS)
    mb = measure.anon_mb(agent.process.pid)
    agent.stop()
    limit = IDLE_BUDGET_MB[scale.count]
    table.row(f"anonymous memory idle, {scale.count:,} states", f"{mb:.1f} MB", f"right after the pass {after:.1f} MB",
              budget=at_most(mb, limit, f"{limit} MB"))


def start(_world, table, scale):
    """From fork to the log line `ready`."""
    agent, took = agent_between_again(scale.agent), []
    for _ in range(STARTS):
        begun = time.monotonic()
        process = subprocess.Popen(agent.command("run"), cwd=agent.folder, env=agent.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        for line in process.stderr:
            if b" ready" in line:
                took.append(time.monotonic() - begun)
                break
        measure.end(process)
        process.stderr.close()
    table.row(f"start with {scale.count:,} states known, to `ready`", seconds(measure.median(took)), f"slowest of {STARTS} {seconds(max(took))}",
              budget=at_most(measure.median(took), 0.030, "30 ms"))


def watched(agent, *args, limit=120):
    """A command to its end: its peak of anonymous memory in MB, its seconds."""
    begun = time.monotonic()
    process, peak = agent.start_command(*args), 0.0
    while process.poll() is None:
        try:
            peak = max(peak, measure.anon_mb(process.pid))
        except (measure.Failed, OSError):
            pass                    # it has just ended
        if time.monotonic() - begun > limit:
            measure.end(process)
            raise measure.Failed(f"{args} did not end within {limit} s")
        time.sleep(STEP)
    if process.returncode != 0:
        raise measure.Failed(f"{args} ended with {process.returncode}: {agent.logs[-1].read_text(errors='replace')[-500:]}")
    return peak, time.monotonic() - begun


def large(world, table, _quick):
    table.section("A state of 100 MB", f"Cold `stateferry sync`; RssAnon sampled every {1000 * STEP:.0f} ms.")
    body = padded(1, lineage(), LARGE)
    for way in ("S3 to a folder", "a folder to S3"):
        agent, bucket, folder = world.agent(), world.bucket(), world.folder()
        world.add_bucket(agent, "s3", bucket)
        agent.backend("local", "folder", dir=str(folder))
        if way.startswith("S3"):
            world.fill(bucket, {"big.tfstate": body})
            agent.replicate("out", "s3", "folder")
        else:
            (folder / "big.tfstate").write_bytes(body)
            agent.replicate("out", "folder", "s3")
        peak, took = watched(agent, "sync")
        landed = folder / "big.tfstate" if way.startswith("S3") else world.data(bucket, "big.tfstate")
        if landed.read_bytes() != body:
            raise measure.Failed(f"{way}: the replica differs")
        table.row(f"peak of anonymous memory, {way}", f"{peak:.1f} MB", f"took {seconds(took)}",
                  budget=at_most(peak, LARGE_BUDGET_MB, f"{LARGE_BUDGET_MB} MB"))
