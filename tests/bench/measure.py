# SPDX-License-Identifier: MIT
"""What a process costs: wall time, CPU, memory, by its id; and the statistics of several measurements."""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / d) for d in ("servers", "e2e")]

from servers import die_with_parent  # noqa: E402

PROC_CLOCK = 2      # CPUCLOCK_SCHED of the kernel's posix-timers.h: all threads, also those that have ended
COMMAND_SECONDS = 600


class Failed(Exception):
    """A program that is measured did not do its work."""


class Cost:
    """One command from fork to its end."""

    def __init__(self, wall, usage, out):
        self.wall, self.out = wall, out
        self.cpu = usage.ru_utime + usage.ru_stime
        self.rss_mb = usage.ru_maxrss / 1024


def run(args, codes=(0,), seconds=COMMAND_SECONDS, **kw):
    """Runs a command to its end; its Cost. Any other exit code than those of codes raises Failed with its last words."""
    args = [str(a) for a in args]
    with open(os.devnull, "rb") as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.monotonic()
        process = subprocess.Popen(args, stdin=nothing, stdout=out, stderr=err, preexec_fn=die_with_parent, **kw)
        watchdog = threading.Timer(seconds, process.kill)
        watchdog.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begun
        watchdog.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode not in codes:
            tail = (err.read()[-1000:] + out.read()[-1000:]).decode(errors="replace")
            raise Failed(f"{' '.join(args[:3])} ended with {process.returncode}: {tail}")
        return Cost(wall, usage, out.read())


def cpu_seconds(pid):
    """CPU that a running process has used, in nanosecond resolution."""
    return time.clock_gettime((~pid << 3) | PROC_CLOCK)


def anon_mb(pid):
    """Anonymous memory of a process: RssAnon."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    raise Failed(f"/proc/{pid}/status has no RssAnon")


def percentile(values, p):
    """The p-th percentile, nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * p // 100) - 1)]


def median(values):
    return percentile(values, 50)


def end(process, seconds=12):
    """SIGTERM, then SIGKILL; by the id of a process we started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
