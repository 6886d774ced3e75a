#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The agent as a service: what it tells a manager over $NOTIFY_SOCKET, and the files in packaging/. TAP on stdout.

    test_service.py [STATEFERRY]"""
import fcntl
import functools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import tap

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / os.environ.get("O", "build") / "stateferry")
PACKAGING = ROOT / "packaging"
EXPOSURE_MAX = 1.5
WATCHDOG_US = 400000
SECONDS = 20


class Manager:
    """A service manager's socket, and an agent that knows of it."""

    def __init__(self, folder, watchdog=True):
        self.folder = pathlib.Path(folder)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.folder / "notify"))
        (self.folder / "a").mkdir()
        (self.folder / "b").mkdir()
        self.conf = self.folder / "stateferry.hcl"
        self.conf.write_text(f'''
agent {{
  store  = "{folder}/store"
  socket = "{folder}/socket"
}}
backend "local" "a" {{
  dir = "{folder}/a"
}}
backend "local" "b" {{
  dir = "{folder}/b"
}}
replicate "ab" {{
  from = "a"
  to   = ["b"]
}}
''')
        self.conf.chmod(0o600)
        self.env = dict(os.environ, NOTIFY_SOCKET=str(self.folder / "notify"))
        if watchdog:
            self.env["WATCHDOG_USEC"] = str(WATCHDOG_US)
        self.log = open(self.folder / "log", "wb")
        self.process = None

    def run(self):
        self.process = subprocess.Popen([PROGRAM, "-c", str(self.conf), "run"], env=self.env, stdout=self.log, stderr=self.log)

    def hears(self, *prefixes, skip=()):
        """The next datagram that begins with none of skip: it must begin with one of prefixes."""
        deadline = time.monotonic() + SECONDS
        while True:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                text = self.socket.recv(4096).decode()
            except TimeoutError:
                raise AssertionError(f"not told {prefixes} within {SECONDS} s; log:\n{(self.folder / 'log').read_text()}") from None
            if not text.startswith(tuple(skip)) or not skip:
                assert text.startswith(prefixes), f"{text!r}, not {prefixes}"
                return text

    def ends(self):
        code = self.process.wait(SECONDS)
        self.process = None
        return code

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.socket.close()
        self.log.close()


def managed(test):
    @functools.wraps(test)
    def run():
        with tempfile.TemporaryDirectory() as folder:
            m = Manager(folder)
            try:
                test(m)
            finally:
                m.close()
    return run


@managed
def ready_is_told_when_it_is_true(m):
    m.run()
    assert m.hears("READY=1") == "READY=1\n"
    done = subprocess.run([PROGRAM, "-c", str(m.conf), "status"], capture_output=True, timeout=SECONDS)
    assert done.returncode in (0, 3), done
    m.process.send_signal(signal.SIGTERM)
    m.hears("STOPPING=1", skip=("WATCHDOG=1",))
    assert m.ends() == 0


@managed
def the_watchdog_is_fed(m):
    m.run()
    m.hears("READY=1")
    start = time.monotonic()
    for _ in range(5):
        m.hears("WATCHDOG=1")
    assert time.monotonic() - start >= 3 * WATCHDOG_US / 2e6
    # A process that stands still says nothing.
    m.process.send_signal(signal.SIGSTOP)
    m.socket.settimeout(0.01)
    try:
        while True:
            m.socket.recv(4096)
    except TimeoutError:
        pass
    m.socket.settimeout(2 * WATCHDOG_US / 1e6)
    try:
        raise AssertionError(m.socket.recv(4096))
    except TimeoutError:
        pass
    m.process.send_signal(signal.SIGCONT)
    m.hears("WATCHDOG=1")


@managed
def a_reload_is_told_from_start_to_end(m):
    m.run()
    m.hears("READY=1")
    for broken in (False, True):
        if broken:
            m.conf.write_text("this is no configuration")
        m.process.send_signal(signal.SIGHUP)
        text = m.hears("RELOADING=1", skip=("WATCHDOG=1",))
        told = int(re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)\n", text)[1])
        assert 0 <= time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6 - told < SECONDS * 1e6, told
        m.hears("READY=1", skip=("WATCHDOG=1",))
    assert m.process.poll() is None


KEY, OTHER_KEY = "11" * 32, "22" * 32
KEY_BASE64 = "ERERERERERERERERERERERERERERERERERERERERERE="


@managed
def a_reload_cannot_move_what_lies_open(m):
    m.env.pop("WATCHDOG_USEC", None)
    plain = m.conf.read_text().replace("agent {", f'agent {{\n  name = "one"\n  encryption_key = "{KEY}"')
    m.conf.write_text(plain)
    m.run()
    m.hears("READY=1")
    refused = {
        "encryption_key is not the one": [plain.replace(KEY, OTHER_KEY), plain.replace(f'encryption_key = "{KEY}"', "")],
        "store changes only with a restart": [plain.replace("/store\"", "/store2\"")],
        "socket changes only with a restart": [plain.replace("/socket\"", "/socket2\"")],
        "name changes only with a restart": [plain.replace('"one"', '"two"')],
    }
    for why, texts in refused.items():
        for text in texts:
            assert text != plain
            size = (m.folder / "log").stat().st_size
            m.conf.write_text(text)
            m.process.send_signal(signal.SIGHUP)
            m.hears("RELOADING=1")
            m.hears("READY=1")
            said = (m.folder / "log").read_text()[size:]
            assert f"the old configuration stays: {why}" in said and KEY not in said and OTHER_KEY not in said, said
    # The same key in another spelling is no change; and what was refused left nothing behind.
    m.conf.write_text(plain.replace(KEY, KEY_BASE64))
    m.process.send_signal(signal.SIGHUP)
    m.hears("RELOADING=1")
    m.hears("READY=1")
    assert "the new configuration is in use" in (m.folder / "log").read_text()
    assert not (m.folder / "store2").exists()
    m.process.send_signal(signal.SIGTERM)
    m.hears("STOPPING=1")
    assert m.ends() == 0


def a_manager_that_is_gone_is_no_reason_to_stop():
    with tempfile.TemporaryDirectory() as folder:
        m = Manager(folder)
        m.socket.close()
        m.run()
        deadline = time.monotonic() + SECONDS
        while b"cannot tell the service manager" not in (m.folder / "log").read_bytes():
            assert time.monotonic() < deadline, (m.folder / "log").read_text()
            time.sleep(0.05)
        time.sleep(2 * WATCHDOG_US / 1e6)
        assert m.process.poll() is None
        m.process.send_signal(signal.SIGTERM)
        assert m.ends() == 0
        m.close()


def units_are_hardened():
    if shutil.which("systemd-analyze") is None:
        raise tap.Skip("no systemd-analyze here")
    for unit in sorted((PACKAGING / "systemd").glob("*.service")):
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
                              capture_output=True, text=True, timeout=SECONDS)
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
        if found is None:
            raise tap.Skip(f"systemd-analyze is too old: {done.stderr.strip()[:80]}")
        assert float(found[1]) <= EXPOSURE_MAX, f"{unit.name}: {found[1]}"


def units_are_understood():
    """Nothing is reported but that the program and its man page are not installed."""
    if shutil.which("systemd-analyze") is None:
        raise tap.Skip("no systemd-analyze here")
    units = sorted(map(str, (PACKAGING / "systemd").iterdir()))
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=SECONDS)
    told = [line for line in done.stderr.splitlines()
            if not re.search(r"is not executable: No such file|Command 'man |Failed to (open|connect|prepare)", line)]
    assert not told, told


CRON_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def cron_jobs():
    """The settings of the crontab, and its commands. What is not one of the two would be mail to root every minute."""
    settings, jobs = {}, []
    for line in (PACKAGING / "cron/stateferry").read_text().splitlines():
        assignment = re.fullmatch(r"([A-Z_]+)=(.*)", line)
        if assignment:
            settings[assignment[1]] = assignment[2]
        elif line and not line.startswith("#"):
            *when, user, command = line.split(None, 6)
            for field, (low, high) in zip(when, CRON_FIELDS, strict=True):
                at = re.fullmatch(r"(?:\*|(\d+))(?:/(\d+))?", field)
                assert at and all(low <= int(n) <= high for n in at.groups() if n), line
            assert user == "stateferry" and "%" not in command, line  # cron makes "%" a line break
            jobs.append(command)
    return settings, jobs


def what_cron_runs_speaks_only_of_trouble():
    settings, jobs = cron_jobs()
    assert len(jobs) == 2 and settings["SHELL"] == "/bin/sh"
    with tempfile.TemporaryDirectory() as folder:
        m = Manager(folder)
        m.close()
        (m.folder / "bin").mkdir()
        (m.folder / "bin/stateferry").symlink_to(pathlib.Path(PROGRAM).resolve())
        env = settings | {"PATH": f"{m.folder}/bin:{settings['PATH']}", "STATEFERRY_CONFIG": str(m.conf), "HOME": folder}

        def runs(command):
            return subprocess.run([settings["SHELL"], "-c", command], env=env, cwd=folder, capture_output=True, text=True, timeout=60)

        (m.folder / "a/x.tfstate").write_text('{"version":4,"serial":1,"lineage":"l","outputs":{},"resources":[]}')
        for command in jobs:
            done = runs(command)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), (command, done)
        assert (m.folder / "b/x.tfstate").read_bytes() == (m.folder / "a/x.tfstate").read_bytes()
        with open(m.folder / "store/owner", "r+") as owner:  # another pass at work
            fcntl.flock(owner, fcntl.LOCK_EX)
            done = runs(jobs[0])
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
        (m.folder / "a/x.tfstate").write_text("")
        for command in jobs:
            assert "x.tfstate" in runs(command).stdout, command
        m.conf.write_text("agent {")
        for command in jobs:
            assert str(m.conf.name) in runs(command).stdout, command


TESTS = [ready_is_told_when_it_is_true, the_watchdog_is_fed, a_reload_is_told_from_start_to_end,
         a_reload_cannot_move_what_lies_open,
         a_manager_that_is_gone_is_no_reason_to_stop, units_are_hardened, units_are_understood,
         what_cron_runs_speaks_only_of_trouble]


if __name__ == "__main__":
    sys.exit(tap.run(TESTS))
