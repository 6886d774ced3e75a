# SPDX-License-Identifier: MIT
"""From a change at the source to the replica at the target, seen in the target's own files."""
import random
import time

import measure
from table import at_most, seconds
from world import Text

CHANGES = 100
STATE_BYTES = 20000
LOOK = 0.0003
LIMIT = 20.0
POLL = 1.0
MEAN_GAP = 0.5


def mark(path):
    """What changes when a file is replaced or rewritten whole."""
    try:
        st = path.stat()
        return st.st_ino, st.st_mtime_ns, st.st_size
    except FileNotFoundError:
        return None


def wait(path, body):
    """Until that file holds these bytes."""
    deadline, before = time.monotonic() + LIMIT, 0
    while True:
        now = mark(path)
        if now != before:
            before = now
            if now is not None and now[2] == len(body) and path.read_bytes() == body:
                return time.monotonic()
        if time.monotonic() > deadline:
            raise measure.Failed(f"{path.name} was not replicated within {LIMIT} s")
        time.sleep(LOOK)


def watched_folder(world, target, count):
    """Latencies of changes to a file that is written in place, as terraform does it. target: "s3" or "local"."""
    agent, folder, bucket, other = world.agent(), world.folder(), world.bucket(), world.folder()
    agent.backend("local", "live", dir=str(folder), poll="60s")
    if target == "s3":
        world.add_bucket(agent, "dr", bucket)
    else:
        agent.backend("local", "dr", dir=str(other))
    agent.replicate("out", "live", "dr")
    landed = world.data(bucket, "vpc.tfstate") if target == "s3" else other / "vpc.tfstate"
    text, pause, took = Text(STATE_BYTES), random.Random(1), []
    (folder / "vpc.tfstate").write_bytes(text.bytes())
    agent.start()
    wait(landed, text.bytes())
    for _ in range(count):
        time.sleep(pause.uniform(0.02, 0.15))
        body, begun = text.next(), time.monotonic()
        with open(folder / "vpc.tfstate", "r+b") as f:
            f.write(body)
            f.truncate()
        took.append(wait(landed, body) - begun)
    agent.stop()
    return took


def polled_bucket(world, count):
    """Latencies of changes to different states of a polled bucket, at random moments; from the answer to the PUT."""
    agent, bucket, folder = world.agent(), world.bucket(), world.folder()
    world.add_bucket(agent, "live", bucket, poll=f"{POLL:.0f}s")
    agent.backend("local", "dr", dir=str(folder))
    agent.replicate("out", "live", "dr")
    texts = {f"app-{i}.tfstate": Text(STATE_BYTES, i) for i in range(count)}
    world.fill(bucket, {n: t.bytes() for n, t in texts.items()})
    agent.start()
    for name, text in texts.items():
        wait(folder / name, text.bytes())
    client, gap, took, under_way = world.s3.client(), random.Random(1), [], {}
    due, todo = time.monotonic() + POLL, list(texts)
    while todo or under_way:
        if todo and time.monotonic() >= due:
            name = todo.pop()
            before = mark(folder / name)
            client.put(bucket, name, texts[name].next())
            under_way[name] = (time.monotonic(), before)
            due = time.monotonic() + gap.expovariate(1 / MEAN_GAP)
        for name, (begun, before) in list(under_way.items()):
            if mark(folder / name) != before and (folder / name).read_bytes() == texts[name].bytes():
                took.append(time.monotonic() - begun)
                del under_way[name]
            elif time.monotonic() - begun > LIMIT:
                raise measure.Failed(f"{name} was not replicated within {LIMIT} s")
        time.sleep(0.001)
    agent.stop()
    return took


def row(table, what, took, budget=None):
    p50, p99 = measure.percentile(took, 50), measure.percentile(took, 99)
    table.row(what, f"p50 {seconds(p50)}, p99 {seconds(p99)}", f"slowest of {len(took)} {seconds(max(took))}",
              budget=budget(p50, p99) if budget else None)


def measure_all(world, table, quick):
    count = 30 if quick else CHANGES
    table.section("From a change to its replica",
                  f"States of {STATE_BYTES // 1000} KB, `stateferry run`. The budget is the poll interval + 200 ms; a watched folder has no interval.")

    def watched(_p50, p99):
        return at_most(p99, 0.2, "200 ms")

    row(table, "folder (inotify) to S3", watched_folder(world, "s3", count), watched)
    row(table, "folder (inotify) to folder", watched_folder(world, "local", count), watched)
    took = polled_bucket(world, count)
    row(table, f"S3 polled every {POLL:.0f} s to folder", took,
        lambda p50, p99: at_most(p99, POLL + 0.2, f"{POLL + 0.2:.1f} s (poll + 200 ms)"))
    late = [max(0.0, t - POLL) for t in took]
    table.row("the same, what is above the poll interval", f"p99 {seconds(measure.percentile(late, 99))}",
              f"{sum(t > POLL for t in took)} of {len(took)} took longer than the interval; polling is faster after a change")
