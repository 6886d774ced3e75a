#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a terminal shows, as TAP: the progress line of sync and restore while they work, above it the log, gone at the end; and what a
restore would do, before it asks."""
import fcntl
import http.server
import json
import os
import pathlib
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

import tap

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = (ROOT / os.environ.get("O", "build") / "stateferry").resolve()
GOLDEN = ROOT / "tests/golden/state"
SECONDS = 30
ERASE = "\r\x1b[K"
CONF = """agent {
  store = "store"
}
backend "local" "live" {
  dir = "live"
}
backend "local" "dr" {
  dir = "dr"
}
replicate "out" {
  from = "live"
  to   = ["dr"]
}
"""


class Place:
    """Two folders; x.tfstate has changed since it was replicated, and somebody holds the lock of its replica."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ferry-cli-"))
        for name in ("live", "dr"):
            (self.dir / name).mkdir()
        conf = self.dir / "stateferry.hcl"
        conf.write_text(CONF)
        conf.chmod(0o600)
        self.put("seq/001.tfstate", "x.tfstate")
        subprocess.run([BINARY, "sync"], cwd=self.dir, capture_output=True, timeout=SECONDS, check=True)
        self.held = open(self.dir / "dr/x.tfstate", "r+b")
        fcntl.lockf(self.held, fcntl.LOCK_EX)
        self.put("seq/002.tfstate", "x.tfstate")

    def put(self, golden, name):
        shutil.copyfile(GOLDEN / golden, self.dir / "live" / name)

    def let_go(self):
        self.held.close()

    def close(self):
        self.held.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Slow(http.server.ThreadingHTTPServer):
    """A place for states that answers no read before it is let go."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.free.wait(SECONDS)
            body = self.server.states.get(self.path)
            self.answer(404 if body is None else 200, body or b"")

        def do_POST(self):
            self.server.states[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(200, b"")

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    def __init__(self, place, names):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.free, self.states = threading.Event(), {}
        threading.Thread(target=self.serve_forever, daemon=True).start()
        with open(place.dir / "stateferry.hcl", "a") as conf:
            conf.write('backend "http" "slow" {\n  exclusive = true\n'
                       f'  address = "http://127.0.0.1:{self.server_address[1]}/{{name}}"\n  states = {names}\n}}\n')


class Terminal:
    """A command whose stderr (all: stdout too; answers: stdin too) is a terminal."""

    def __init__(self, place, *args, all_of_it=False, answers=False, columns=100, env=None):
        self.fd, tty = pty.openpty()
        fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        out = tty if all_of_it else subprocess.PIPE
        keep = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
        self.process = subprocess.Popen([BINARY, *args], cwd=place.dir, stdin=tty if answers else subprocess.DEVNULL, stdout=out, stderr=tty,
                                        env=keep | {"TERM": "xterm"} | (env or {}))
        os.close(tty)
        self.text = ""

    def types(self, line):
        os.write(self.fd, line.encode() + b"\n")

    def read(self, seconds):
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                self.text += os.read(self.fd, 65536).decode()
                return True
            except OSError:  # the other end is closed
                pass
        return False

    def shows(self, pattern):
        deadline = time.monotonic() + SECONDS
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.text!r}"
            self.read(0.1)

    def stays_silent(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.read(0.05)
        assert "\x1b" not in self.text and "sync:" not in self.text, self.text

    def ends(self, code=0):
        """What the screen shows at the end: every line after all erasing."""
        out = self.process.communicate(timeout=SECONDS)[0]
        while self.read(0.2):
            pass
        assert self.process.returncode == code, (self.process.returncode, self.text)
        os.close(self.fd)
        self.out = (out or b"").decode()
        return [line.rpartition(ERASE)[2].replace("\r", "") for line in self.text.split("\n")]


def is_shown_and_erased(p):
    t = Terminal(p, "sync")
    t.shows(r"sync: writing \[-{20}\] 0 of 1, 1 states seen, 1 changed, 0 written \(0 B\)")
    p.let_go()
    screen = t.ends()
    assert not any("sync:" in line for line in screen), screen
    assert any(" info " in line and "written" in line for line in screen), screen
    assert screen[-1] == "" and t.text.endswith(ERASE), t.text
    assert "\x1b[3" not in t.text, t.text
    assert t.out.startswith("out: 1 states, 1 changed; 1 written"), t.out


def is_shown_beside_a_running_agent(p):
    slow = Slow(p, '["y.tfstate"]')
    with open(p.dir / "stateferry.hcl", "a") as conf:
        conf.write('replicate "far" {\n  from = "slow"\n  to = ["dr"]\n}\n')
    p.let_go()
    agent = subprocess.Popen([BINARY, "run"], cwd=p.dir, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + SECONDS
        while not (p.dir / "store/agent.sock").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        t = Terminal(p, "sync", "far")
        t.shows(r"sync: looking")
        slow.states["/y.tfstate"] = (GOLDEN / "seq/001.tfstate").read_bytes()
        slow.free.set()
        screen = t.ends()
        assert screen == [""], screen
        assert t.out.startswith("far: 1 states"), t.out
    finally:
        slow.free.set()
        agent.terminate()
        agent.communicate(timeout=SECONDS)
        slow.shutdown()


def trouble_is_painted(p):
    (p.dir / "live/y.tfstate").write_text("<html>")
    t = Terminal(p, "--color=always", "sync")
    t.shows(r"sync: writing .*\x1b\[33m1 held\x1b\[0m")
    p.let_go()
    t.ends(3)
    assert "1 held" in t.out, t.out


def no_color_is_honoured(p):
    (p.dir / "live/y.tfstate").write_text("<html>")
    t = Terminal(p, "sync", all_of_it=True, env={"NO_COLOR": "1"})
    t.shows(r"sync: writing .*, 1 held")
    p.let_go()
    t.ends(3)
    assert not re.search(r"\x1b\[\d*m", t.text), t.text


def is_cut_to_the_terminal(p):
    t = Terminal(p, "sync", columns=30)
    t.shows(r"sync: writing")
    p.let_go()
    t.ends()
    drawn = [part for part in t.text.replace("\r\n", "\n").replace("\n", ERASE).split(ERASE) if part.startswith("sync: writing")]
    assert drawn and all(len(part) == 29 for part in drawn), drawn


def is_not_for_json_quiet_or_dumb(p):
    for args, env in ((("--json", "sync"), {}), (("-q", "sync"), {}), (("sync",), {"TERM": "dumb"})):
        t = Terminal(p, *args, env=env)
        t.stays_silent(1)
        assert t.process.poll() is None, "it did not wait for the lock"
        t.process.terminate()
        t.ends(130)
        assert "\x1b" not in t.text, t.text


def an_interrupt_erases_it(p):
    t = Terminal(p, "sync")
    t.shows("sync: writing")
    t.process.terminate()
    screen = t.ends(130)
    assert not any(line.startswith("sync:") for line in screen), screen


def a_restore_shows_it(p):
    slow = Slow(p, '["y"]')
    t = Terminal(p, "restore", "live:x.tfstate@1", "--to", "slow:y", "--yes")
    t.shows("restore: looking at what is there")
    slow.free.set()
    screen = t.ends()
    assert not any("restore:" in line for line in screen) and screen[-1] == "", screen
    assert t.out.startswith("version 1 -> slow:y: no state was there, serial 1"), t.out
    assert slow.states["/y"] == (GOLDEN / "seq/001.tfstate").read_bytes()
    slow.shutdown()


def a_migration_shows_it(p):
    slow = Slow(p, '["y"]')
    t = Terminal(p, "migrate", "live:x.tfstate", "slow:y", "--yes")
    t.shows("migrate: looking at what is there")
    slow.free.set()
    screen = t.ends()
    assert not any("migrate:" in line for line in screen), screen
    assert t.out.startswith("live:x.tfstate -> slow:y: no state was there, serial 2"), t.out
    assert slow.states["/y"] == (GOLDEN / "seq/002.tfstate").read_bytes()
    slow.shutdown()


def a_restore_of_all_shows_how_many(p):
    p.let_go()
    slow = Slow(p, '["a", "b"]')
    for name in ("a", "b"):
        slow.states["/" + name] = (GOLDEN / "seq/001.tfstate").read_bytes()
    with open(p.dir / "stateferry.hcl", "a") as conf:
        conf.write('replicate "back" {\n  from = "slow"\n  to = ["dr"]\n}\n')
    slow.free.set()
    subprocess.run([BINARY, "sync"], cwd=p.dir, capture_output=True, timeout=SECONDS, check=True)
    slow.free.clear()
    t = Terminal(p, "restore", "--at", "0s", "--all", "--yes")
    t.shows(r"restore: looking at what is there \[#{6}-{14}\] 1 of 3")
    slow.free.set()
    assert t.ends()[-1] == "" and t.out.count("version ") == 3, t.out
    slow.shutdown()


def restore_shows_its_plan_and_asks(p):
    before = (p.dir / "live/x.tfstate").read_bytes()
    serial = json.loads(before)["serial"]
    plan = rf"version 1 -> live:x.tfstate: serial {serial} -> {serial + 1}, \d+ resources change\r\n"
    for answer, code in (("no", 2), ("x.tfstate@1", 0)):
        t = Terminal(p, "--json", "restore", "x.tfstate@1", answers=True)
        t.shows(plan + r'(.*\r\x1b\[K)?Type "x.tfstate@1" to go on: ')
        assert (p.dir / "live/x.tfstate").read_bytes() == before
        t.types(answer)
        t.ends(code)
    [done] = json.loads(t.out)["result"]
    assert done["serial_after"] == json.loads((p.dir / "live/x.tfstate").read_bytes())["serial"] == serial + 1, t.out
    t = Terminal(p, "restore", "x.tfstate@9", answers=True)  # nothing to ask about
    assert not any("Type" in line for line in t.ends(1)) and "no version 9" in t.text, t.text


def restore_of_all_shows_its_plan(p):
    t = Terminal(p, "restore", "--at", "0s", "--all", answers=True)
    t.shows(r"version 1 -> live:x.tfstate: [\s\S]*Type \"all\" to go on: ")
    t.types("all")
    t.ends()


TESTS = [is_shown_and_erased, is_shown_beside_a_running_agent, trouble_is_painted, no_color_is_honoured, is_cut_to_the_terminal,
         is_not_for_json_quiet_or_dumb, an_interrupt_erases_it, a_restore_shows_it, a_migration_shows_it, a_restore_of_all_shows_how_many,
         restore_shows_its_plan_and_asks, restore_of_all_shows_its_plan]


if __name__ == "__main__":
    sys.exit(tap.run(TESTS, Place))
