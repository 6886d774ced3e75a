# SPDX-License-Identifier: MIT
"""The stateferry program as the tests use it: a configuration, single commands, and the running agent.

Everything it prints (but the bytes of `cat`) is kept and searched for secrets when the test ends. No command runs
without a deadline, and every process is ended by its id."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time

from hcl import Block
from servers import die_with_parent

COMMAND_SECONDS = 60
STOP_SECONDS = 12           # SIGTERM ends the agent within 10 s
SLOW = float(os.environ.get("STATEFERRY_TEST_SLOW", "1"))   # sanitizer builds: 3
SPEAKS_STATE = ("cat", "show", "export")
# All that the leak check says when a kill of ours meets it at the end of a process: it found nothing out.
LEAK_CHECK_CUT = re.compile(r"^==\d+==Unable to get registers from thread \d+\.$", re.M)
SANITIZER_EXIT = 99         # no exit code of ours: a finding fails whatever waited for the process


class Result:
    """How a command ended."""

    def __init__(self, args, code, out, err, seconds):
        self.args, self.code, self.out, self.err, self.seconds = args, code, out, err, seconds

    @property
    def json(self):
        try:
            doc = json.loads(self.out)
        except ValueError:
            raise AssertionError(f"{self} printed no JSON: {self.out[:2000]!r}") from None
        assert doc.get("format_version") == "1.0", doc
        return doc

    def __str__(self):
        return f"stateferry {' '.join(map(str, self.args))}"


def eventually(ask, seconds=20, what=""):
    """Asks until the answer is true, and returns it. AssertionError counts as no."""
    deadline, last = time.monotonic() + seconds * SLOW, None
    while True:
        try:
            last = ask()
            if last:
                return last
        except AssertionError as e:
            last = e
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or ask} (last: {last})"
        time.sleep(0.05)


class Agent:
    """One configuration with its store."""

    def __init__(self, program, folder, name="agent", env=None):
        self.program, self.folder, self.name = pathlib.Path(program), pathlib.Path(folder) / name, name
        self.folder.mkdir(parents=True)
        (self.folder / "home").mkdir()
        keep = {k: v for k, v in os.environ.items()
                if not k.startswith(("AWS_", "ARM_", "TF_", "STATEFERRY_", "XDG_", "GOOGLE_", "GCE_", "SSL_CERT_", "CURL_", "HARNESS_", "CI_"))
                and "proxy" not in k.lower()}
        self.env = keep | {"HOME": str(self.folder / "home")} | (env or {})
        for option, more in (("ASAN_OPTIONS", "detect_leaks=1"), ("UBSAN_OPTIONS", "print_stacktrace=1")):
            self.env[option] = ":".join(filter(None, [self.env.get(option), f"exitcode={SANITIZER_EXIT}", more,
                                                      f"log_path={self.folder / 'sanitizer'}"]))
        self.prefix = []            # words before the program: a namespace, a limit
        self.blocks = [Block("agent", store=str(self.folder / "store"), name=name)]
        self.process = None
        self.calls = 0
        self.logs = []              # what was said, for check_secrets

    # --- configuration -----------------------------------------------------------------------------------------------

    def backend(self, kind, label, args=None, blocks=(), **more):
        given = {"poll": "200ms"} | (args or {}) | more
        self.blocks.append(Block("backend", kind, label, blocks=blocks, **given))
        return label

    def replicate(self, name, from_, to, blocks=(), **more):
        self.blocks.append(Block("replicate", name, blocks=blocks, from_=from_,
                                 to=[to] if isinstance(to, str) else to, **more))

    def snapshot(self, name, from_, to, **more):
        self.blocks.append(Block("snapshot", name, from_=from_, to=[to] if isinstance(to, str) else to, **more))

    def forget(self, kind, *labels):
        """Takes blocks out of the configuration again."""
        self.blocks = [b for b in self.blocks if (b.kind, *b.labels[-len(labels):]) != (kind, *labels)]

    def write(self):
        conf = self.folder / "stateferry.hcl"
        conf.touch(0o600)
        conf.write_text("\n".join(b.text() for b in self.blocks) + "\n")
        return conf

    # --- commands ----------------------------------------------------------------------------------------------------

    def command(self, *args):
        conf = self.write()
        return [*map(str, self.prefix), str(self.program), "-c", str(conf), *map(str, args)]

    def call(self, *args, code=0, text=True, timeout=COMMAND_SECONDS, stdin=None):
        """One command to its end; code: what it must exit with (a number, several, or None for any)."""
        self.calls += 1
        begun = time.monotonic()
        process = subprocess.Popen(self.command(*args), cwd=self.folder, env=self.env, preexec_fn=die_with_parent,
                                   stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(stdin, timeout * SLOW)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"stateferry {args} did not end within {timeout * SLOW} s:\n"
                                 f"{err.decode(errors='replace')}") from None
        seconds = time.monotonic() - begun
        log = self.folder / f"call-{self.calls:03}.log"
        said = err if set(args) & set(SPEAKS_STATE) else out + err
        log.write_bytes(b"$ " + " ".join(map(str, args)).encode() + b"\n" + said +
                        f"\nexit {process.returncode} after {seconds:.3f} s\n".encode())
        self.logs.append(log)
        result = Result(args, process.returncode, out.decode() if text else out, err.decode(errors="replace"), seconds)
        wanted = code if isinstance(code, (tuple, list)) else [code]
        assert code is None or process.returncode in wanted, (
            f"{result} ended with {process.returncode}, not {code}:\n{said.decode(errors='replace')[-4000:]}")
        return result

    def json(self, *args, code=0, **kw):
        return self.call("--json", *args, code=code, **kw).json

    def sync(self, *edges, code=0, **kw):
        """One pass; its JSON."""
        return self.json("sync", *edges, code=code, **kw)

    def start(self, *args, ready=20):
        """stateferry run, until it says ready."""
        assert self.process is None, "it runs already"
        self.calls += 1
        self.run_log = self.folder / f"run-{self.calls:03}.log"
        self.logs.append(self.run_log)
        with open(self.run_log, "wb") as log:
            self.process = subprocess.Popen(self.command("run", *args), cwd=self.folder, env=self.env, stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        eventually(lambda: self.alive() and " ready" in self.said(), ready, f"{self.name} is ready")
        return self

    def alive(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.said()[-4000:]}")
        return True

    def said(self):
        return self.run_log.read_text(errors="replace")

    def stop(self):
        """SIGTERM, which must end it cleanly."""
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_SECONDS * SLOW)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"no end within {STOP_SECONDS} s of SIGTERM:\n{self.said()[-4000:]}") from None
        assert code == 0, f"ended with {code} after SIGTERM:\n{self.said()[-4000:]}"

    def kill(self):
        process, self.process = self.process, None
        process.kill()
        process.wait()

    def reload(self):
        self.write()
        self.process.send_signal(signal.SIGHUP)

    def start_command(self, *args):
        """A command that is going to be killed: its process."""
        self.calls += 1
        log = self.folder / f"call-{self.calls:03}.log"
        self.logs.append(log)
        with open(log, "wb") as out:
            return subprocess.Popen(self.command(*args), cwd=self.folder, env=self.env, stdout=out, stderr=out,
                                    stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)

    # --- what tests ask ----------------------------------------------------------------------------------------------

    def status(self):
        return self.json("status", code=None)

    def states(self, backend=None):
        """name -> state, as `list` prints them."""
        return {s["name"]: s for s in self.json("list", *([backend] if backend else []))["states"]}

    def replica(self, backend, name, target):
        """The replica of a source's state at one target."""
        found = [r for r in self.states(backend)[name]["replicas"] if r["backend"] == target]
        assert len(found) == 1, f"{name} has {len(found)} replicas at {target}"
        return found[0]

    def replica_is(self, status, backend, name, target, seconds=20):
        """Waits until the replica has that status."""
        return eventually(lambda: self.replica(backend, name, target)["status"] == status, seconds,
                          f"{name} at {target} is {status}")

    def versions(self, state):
        """Newest first, as `log` prints them."""
        return self.json("log", state)["versions"]

    def cat(self, state):
        return self.call("cat", state, text=False).out

    @staticmethod
    def edge(doc, name):
        """One edge of a sync's JSON."""
        return next(e for e in doc["edges"] if e["name"] == name)

    def quarantine(self):
        return self.json("quarantine", "ls")["quarantine"]

    def problem(self, doc, state=None):
        """The only problem of a sync's or status's JSON (about that state)."""
        found = [p for p in doc["problems"] if state is None or p["state"] == state]
        assert len(found) == 1, f"problems: {doc['problems']}"
        return found[0]

    # --- the end -----------------------------------------------------------------------------------------------------

    def end(self):
        if self.process is not None:
            self.kill()

    def check_sanitizers(self):
        """What a sanitizer found in any process of this agent, also in one that was killed afterwards. UBSan of gcc
        ignores its log_path and says it on stderr."""
        found = [log for log in sorted(self.folder.glob("sanitizer.*"))
                 if LEAK_CHECK_CUT.sub("", log.read_text(errors="replace")).strip()]
        found += [log for log in self.logs if b"runtime error: " in log.read_bytes()]
        assert not found, "\n".join(p.read_text(errors="replace")[:6000] for p in found)

    def check_secrets(self, secrets):
        for log in self.logs:
            said = log.read_bytes()
            for secret in secrets:
                assert secret.encode() not in said, f"a secret is in {log}"
