#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command line between two folders, as TAP: exit codes, text, JSON, wrong input, owners beside owners, signals."""
import hashlib
import fcntl
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import tap

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = (ROOT / os.environ.get("O", "build") / "stateferry").resolve()
GOLDEN = ROOT / "tests/golden/state"
CONF = """agent {{
  store = "store"
}}
backend "local" "live" {{
  dir = "live"
}}
backend "local" "dr" {{
  dir = "dr"
}}
replicate "out" {{
  from = "live"
  to   = ["dr"]
}}
{more}"""


class Place:
    """A folder with a configuration, two folders of states and a store."""

    def __init__(self, more=""):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ferry-cli-"))
        for name in ("live", "dr"):
            (self.dir / name).mkdir()
        self.configure(more)

    def configure(self, more="", text=None):
        path = self.dir / "stateferry.hcl"
        path.write_text(text if text is not None else CONF.format(more=more))
        path.chmod(0o600)

    def put(self, golden, name="x.tfstate"):
        shutil.copyfile(GOLDEN / golden, self.dir / "live" / name)

    def run(self, *args, code=0):
        done = subprocess.run([BINARY, *args], cwd=self.dir, capture_output=True, timeout=60)
        assert done.returncode == code, f"{args} ended with {done.returncode}, not {code}: {done.stderr.decode()}"
        return done

    def text(self, *args, code=0):
        return self.run(*args, code=code).stdout.decode()

    def error(self, *args, code):
        return self.run(*args, code=code).stderr.decode()

    def json(self, *args, code=0):
        doc = json.loads(self.run("--json", *args, code=code).stdout)
        assert doc["format_version"] == "1.0"
        return doc

    def start(self):
        agent = subprocess.Popen([BINARY, "run"], cwd=self.dir, stderr=subprocess.PIPE)
        line = agent.stderr.readline().decode()
        assert "ready" in line, line
        return agent

    def close(self):
        shutil.rmtree(self.dir)


def wait(what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("did not happen in time")


def sync_and_look(p):
    p.put("seq/001.tfstate")
    assert p.json("sync")["edges"][0]["written"] == 1
    assert (p.dir / "dr/x.tfstate").read_bytes() == (GOLDEN / "seq/001.tfstate").read_bytes()
    assert p.json("sync")["edges"][0]["unchanged"] == 1
    status = p.json("status")
    assert status["verdict"] == "ok" and status["states"] == 1 and status["replicas"]["current"] == 1
    p.put("seq/004.tfstate")
    p.run("sync")
    versions = p.json("log", "live:x.tfstate")["versions"]
    assert [v["serial"] for v in versions] == [4, 1] and versions[0]["head"] and not versions[1]["head"]
    assert p.run("cat", "live:x.tfstate@1").stdout == (GOLDEN / "seq/001.tfstate").read_bytes()
    assert p.run("cat", "x.tfstate").stdout == (GOLDEN / "seq/004.tfstate").read_bytes()
    assert p.json("list")["states"][0]["replicas"][0]["status"] == "current"
    assert p.json("check")["ok"] is True
    assert p.text("list", "dr").startswith("no state is known there; "), "a target alone has none of its own"
    assert "serial" in p.text("list") and "advance" in p.text("log", "live:x.tfstate")


def checks_of(doc):
    return {check["name"]: check for check in doc["checks"]}


def doctor(p):
    """One line for each thing that has to be right; the worst of them is the exit code."""
    first = p.json("doctor", code=3)
    said = checks_of(first)
    assert said["store"]["status"] == "warn" and "there is none at" in said["store"]["message"] and not first["ok"]
    assert said["reach live"]["status"] == said["reach dr"]["status"] == said["configuration"]["status"] == "ok"
    assert not (p.dir / "store").exists()
    p.put("seq/001.tfstate")
    p.run("sync")
    healthy = p.json("doctor")
    assert healthy["ok"] and {c["status"] for c in healthy["checks"]} == {"ok"}
    assert {"libraries", "memory lock", "permissions", "disk", "agent", "states", "store"} <= checks_of(healthy).keys()
    lines = p.text("doctor").splitlines()
    assert len(lines) == len(healthy["checks"]) and all(re.match(r"ok    \S.*: ", line) for line in lines), lines
    agent = p.start()
    try:
        assert checks_of(p.json("doctor"))["agent"]["message"].startswith(f"runs, process {agent.pid}, since 20")
    finally:
        agent.terminate()
        assert agent.wait(20) == 0
        agent.stderr.close()
    # What waits for a person is a warning, with the next step.
    (p.dir / "live/x.tfstate").write_bytes(b"")
    p.run("sync", code=13)
    held = p.json("doctor", code=3)
    assert [c for c in held["checks"] if c["status"] == "warn" and c["hint"]]
    assert "\n      next: " in p.text("doctor", code=3)
    # What is broken fails, with the code of its kind; of several kinds, 1.
    shutil.rmtree(p.dir / "dr")
    assert checks_of(p.json("doctor", code=1))["reach dr"]["status"] == "fail"
    (p.dir / "dr").mkdir()
    (p.dir / "store").chmod(0o755)
    open_store = checks_of(p.json("doctor", code=1))["permissions"]
    assert open_store["status"] == "fail" and "chmod 700" in open_store["hint"]
    p.configure(text="backend {\n")
    broken = p.json("doctor", code=10)
    assert [c["name"] for c in broken["checks"] if c["status"] == "fail"] == ["configuration"]


def a_path_that_is_no_text_leaves_a_document(p):
    name = os.fsdecode(b"b\xff.hcl")
    shutil.copy2(p.dir / "stateferry.hcl", p.dir / name)
    assert p.json("-c", name, "config", "check")["path"].endswith("b\ufffd.hcl")
    assert len(p.json("-c", name, "config", "check", "--probe")["backends"]) == 2
    assert "b\ufffd.hcl" in checks_of(p.json("-c", name, "doctor", code=3))["configuration"]["message"]


def damage_is_held(p):
    p.put("seq/004.tfstate")
    p.run("sync")
    (p.dir / "live/x.tfstate").write_text("<html>502</html>")
    assert p.json("sync", code=13)["edges"][0]["held"] == 1
    assert p.json("status", code=3)["verdict"] == "behind"
    assert p.json("quarantine", "ls")["quarantine"][0]["verdict"] == "damaged"
    p.error("quarantine", "release", "live:x.tfstate", code=13)
    assert (p.dir / "dr/x.tfstate").read_bytes() == (GOLDEN / "seq/004.tfstate").read_bytes()
    p.put("seq/001.tfstate")
    p.run("sync", code=13)
    p.run("quarantine", "release", "live:x.tfstate")
    p.run("sync")
    assert (p.dir / "dr/x.tfstate").read_bytes() == (GOLDEN / "seq/001.tfstate").read_bytes()


def advice_fits(p):
    """What the source still holds is not mended by dropping it from the store; decisions say what they did."""
    p.put("seq/001.tfstate")
    p.run("sync")
    assert "nothing was to do" in p.text("adopt", "--yes")
    (p.dir / "live/x.tfstate").write_text("<html>502</html>")
    p.run("sync", code=13)
    for code in (0, 1):
        hint = p.json("status", code=3)["problems"][0]["hint"]
        assert "repair the source" in hint and "restore live:x.tfstate@head" in hint and "drop" not in hint, hint
        assert "repair the source" in p.text("status", code=3)
        p.run("quarantine", "drop", "live:x.tfstate@2", "--yes", code=code)
    p.put("seq/004.tfstate")
    p.run("sync")
    assert "live:x.tfstate: version 3 is the head" in p.text("quarantine", "release", "live:x.tfstate")
    assert p.json("quarantine", "release", "--state", "x.tfstate")["head"] == 3
    p.error("quarantine", "drop", "--state", "x.tfstate", "--yes", code=2)


def unusable_names_are_told(p):
    """What is listed and cannot be kept is no state, and all the same status does not say that all is well."""
    p.put("seq/001.tfstate")
    (p.dir / "live/out.tfstate").symlink_to("/etc/hostname")
    p.run("sync", code=3)
    for more in ("", "?"):
        problem = p.json("status", code=3)["problems"][0]
        assert problem["kind"] == "unusable" and "out" in problem["message"] and "exclude" in problem["hint"], problem
        assert "2 listed names" in problem["message"] or not more
        if not more:
            (p.dir / "live/out2.tfstate").symlink_to("/etc/hostname")
            p.run("sync", code=3)
    shutil.rmtree(p.dir / "live")
    (p.dir / "live").mkdir()
    p.put("seq/001.tfstate")
    p.run("sync", "--dry-run")
    assert p.json("status", code=3)["verdict"] == "behind"
    p.run("sync")
    assert p.json("status")["verdict"] == "ok"


def dry_run_of_what_would_be_made(p):
    p.configure(text=CONF.format(more="").replace('dir = "dr"', 'dir = "new/dr"\n  create = true'))
    p.put("seq/001.tfstate")
    doc = p.json("sync", "--dry-run")
    assert doc["problems"] == [] and doc["edges"][0]["written"] == 1, doc
    assert not (p.dir / "new").exists()
    p.run("sync")
    assert (p.dir / "new/dr/x.tfstate").exists()


def dry_run_of_a_chain_counts_once(p):
    """What is target of one edge and source of the next compares while the first source is still read."""
    chain = 'backend "local" "third" {\n  dir = "third"\n}\nreplicate "on" {\n  from = "dr"\n  to   = ["third"]\n}\n'
    (p.dir / "third").mkdir()
    p.configure(text=CONF.format(more="") + chain)
    p.put("seq/001.tfstate")
    for _ in range(2):
        p.run("sync")
    p.put("seq/004.tfstate")
    doc = p.json("sync", "--dry-run")
    assert [(e["written"], e["unchanged"]) for e in doc["edges"]] == [(1, 0), (0, 1)], doc
    assert [(e["edge"], e["serial"]) for e in doc["plan"]] == [("out", 4)], doc


def a_source_that_is_none_any_more(p):
    """What is left of it is kept, and says nothing of how things stand."""
    p.put("seq/001.tfstate")
    p.run("sync")
    (p.dir / "live/x.tfstate").write_text("<html>502</html>")
    p.run("sync", code=13)
    assert p.json("status", code=3)["states"] == 1
    shutil.copyfile(GOLDEN / "seq/001.tfstate", p.dir / "dr/y.tfstate")
    p.configure(text=CONF.format(more="").replace('"live"', '"old"').replace('dir = "old"', 'dir = "dr"')
                .replace('"dr"\n}\nrep', '"third"\n  create = true\n}\nrep').replace('local" "dr"', 'local" "third"').replace('["dr"]', '["third"]'))
    p.run("sync")
    status = p.json("status")
    assert status["verdict"] == "ok" and status["states"] == 2, status
    p.run("sync", "--max-age", "1h")
    assert "configured again" in p.error("cat", "live:x.tfstate", code=1)


def a_store_that_is_none(p):
    p.put("seq/001.tfstate")
    p.run("sync")
    (p.dir / "store/data.mdb").write_bytes(b"x" * 8192)
    message = p.error("sync", code=14)
    assert "backup" in message and "new store begins" in message, message


def a_store_that_is_lost_is_no_new_one(p):
    p.put("seq/001.tfstate")
    p.run("sync")
    data = p.dir / "store/data.mdb"
    whole = data.read_bytes()
    data.write_bytes(whole[:5 * 4096])
    for command in (["check"], ["sync"]):
        message = p.error(*command, code=14)
        assert "cut off" in message and "backup" in message, message
    for lost in (lambda: data.write_bytes(b""), data.unlink):
        lost()
        for command in (["status"], ["sync"]):
            message = p.error(*command, code=14)
            assert "gone or empty" in message and "backup" in message, message
    data.write_bytes(whole)
    data.chmod(0o600)
    p.run("status")


def nothing_found(p):
    p.put("seq/001.tfstate")
    p.run("sync")
    assert "no resource null_resource.nope" in p.error("show", "x.tfstate", "null_resource.nope", code=1)
    assert "no state had a version then" in p.error("restore", "--at", "365d", "--all", "--yes", code=1)
    assert p.json("restore", "--at", "365d", "--all", "--dry-run", code=1)["error"]["kind"] == "not_found"
    assert p.error(code=2).count("see ") == 1
    shutil.rmtree(p.dir / "live")
    assert "create = true" in p.text("sync", code=1)


def restore_asks(p):
    p.put("seq/001.tfstate")
    p.run("sync")
    p.put("seq/004.tfstate")
    [would] = p.json("sync", "--dry-run")["plan"]
    assert would == {"edge": "out", "state": "x.tfstate", "target": "dr", "serial": 4, "probe": False,
                     "bytes": (GOLDEN / "seq/004.tfstate").stat().st_size}
    assert p.text("sync", "--dry-run").startswith("out: would write x.tfstate to dr, serial 4, ")
    p.run("sync")
    assert "plan" not in p.json("sync") and p.json("sync", "--dry-run")["plan"] == []
    assert "--yes" in p.error("restore", "live:x.tfstate@1", code=2)
    plan = p.json("restore", "live:x.tfstate@1", "--dry-run")["plan"][0]
    assert (plan["serial_before"], plan["serial_after"]) == (4, 5)
    p.run("restore", "live:x.tfstate@1", "--yes")
    assert json.loads((p.dir / "live/x.tfstate").read_bytes())["serial"] == 5
    ours, theirs, _ = p.json("log", "live:x.tfstate")["versions"]
    assert ours["who"].startswith("stateferry@") and ours["operation"] == "stateferry" and len(ours["run"]) == 36
    assert theirs["who"] is theirs["operation"] is theirs["run"] is None
    assert [ours[k] for k in ("added", "changed", "removed")] == [theirs["removed"], theirs["changed"], theirs["added"]], (ours, theirs)
    assert p.text("log", "live:x.tfstate").splitlines()[0].endswith(f"  by {ours['who']} (stateferry)")
    p.run("sync")
    assert (p.dir / "dr/x.tfstate").read_bytes() == (p.dir / "live/x.tfstate").read_bytes()
    (p.dir / "live/x.tfstate").write_text("")
    plan, text = p.json("restore", "live:x.tfstate@2", "--dry-run")["plan"][0], p.text("restore", "live:x.tfstate@2", "--dry-run")
    instances = p.json("log", "x.tfstate")["versions"][1]["resources"]
    assert plan["serial_before"] is None and plan["changed_resources"] == instances > 0, plan
    assert "no state was there, serial 6" in text, text
    assert "version 2 -> out.tfstate: serial 4" in p.text("restore", "live:x.tfstate@2", "--out", "out.tfstate")
    assert (p.dir / "out.tfstate").read_bytes() == (GOLDEN / "seq/004.tfstate").read_bytes()
    assert (p.dir / "out.tfstate").stat().st_mode & 0o777 == 0o600
    p.error("restore", "live:x.tfstate@2", "--out", "out.tfstate", code=1)
    body = (GOLDEN / "seq/001.tfstate").read_bytes()
    [told] = p.json("restore", "live:x.tfstate@1", "--out", "old.tfstate")["result"]
    assert told == {
        "state": "live:x.tfstate", "from": 1, "to": "old.tfstate", "serial_before": None, "serial_after": 1,
        "sha256": hashlib.sha256(body).hexdigest(), "changed_resources": None, "error": None, "version": 1, "serial": 1,
        "lineage": json.loads(body)["lineage"], "bytes": len(body), "path": "old.tfstate"}
    assert (p.dir / "old.tfstate").read_bytes() == body
    assert p.json("restore", "live:x.tfstate@9", "--out", "none", code=1)["error"]["kind"] == "not_found"
    assert not (p.dir / "none").exists()


def migrate_asks(p):
    shutil.copy(GOLDEN / "seq/001.tfstate", p.dir / "live/y.tfstate")
    (p.dir / "new").mkdir()
    with open(p.dir / "stateferry.hcl", "a") as conf:
        conf.write('backend "local" "new" {\n  dir = "new"\n}\n')
    assert "--yes" in p.error("migrate", "live:y.tfstate", "new", code=2) and not list((p.dir / "new").iterdir())
    plan = p.json("migrate", "live:y.tfstate", "new", "--dry-run")["plan"][0]
    assert (plan["serial_before"], plan["serial_after"], plan["writes"]) == (None, 1, True), plan
    text = p.text("migrate", "live:y.tfstate", "new", "--yes")
    assert text.startswith("live:y.tfstate -> new:y.tfstate: no state was there, serial 1, "), text
    assert f'path          = "{p.dir}/new/y.tfstate"' in text and text.index("init -reconfigure") < text.index("terraform plan"), text
    assert (p.dir / "new/y.tfstate").read_bytes() == (GOLDEN / "seq/001.tfstate").read_bytes()
    assert "it is there already" in p.text("migrate", "live", "new", "--yes")
    assert 'no backend is called "a"' in p.error("migrate", "a", "b", "--yes", code=2)


def serials_have_all_their_digits(p):
    """A serial is any number below 2^64: neither a double nor a signed number holds it."""
    body = (GOLDEN / "seq/001.tfstate").read_text()
    assert body.count('"serial": 1,') == 1
    serials = [2**53 + 1, 2**63 - 1, 2**63, 2**64 - 2]
    for n in serials:
        (p.dir / "live/x.tfstate").write_text(body.replace('"serial": 1,', f'"serial": {n},'))
        assert f"serial {n}, " in p.text("sync", "--dry-run")
        assert p.json("sync", "--dry-run")["plan"][0]["serial"] == n
        p.run("sync")
        assert f"  serial {n}, " in p.text("list") and p.json("list")["states"][0]["serial"] == n
        assert re.search(rf"^serial +{n}$", p.text("show", "x.tfstate"), re.M) and p.json("show", "x.tfstate")["serial"] == n
    assert [v["serial"] for v in p.json("log", "x.tfstate")["versions"]] == serials[::-1]
    assert re.findall(r"  serial (\d+)  ", p.text("log", "x.tfstate")) == [str(n) for n in serials[::-1]]
    assert p.run("cat", f"x.tfstate@serial={2**63}").stdout == p.run("cat", "x.tfstate@3").stdout
    assert f"version 1 -> {p.dir}/old: serial {2**53 + 1}, " in p.text("restore", "x.tfstate@1", "--out", f"{p.dir}/old")
    assert f"serial {2**64 - 2} -> {2**64 - 1}" in p.text("restore", "x.tfstate@2", "--dry-run")
    assert f"serial {2**64 - 2} -> {2**64 - 1}" in p.text("restore", "x.tfstate@2", "--yes")
    assert json.loads((p.dir / "live/x.tfstate").read_text())["serial"] == 2**64 - 1
    p.run("sync")
    before = (p.dir / "live/x.tfstate").read_bytes()
    for more in (["--dry-run"], ["--yes"]):  # there is none above
        assert f"serial {2**64 - 1}" in p.error("restore", "x.tfstate@1", *more, code=1)
    assert (p.dir / "live/x.tfstate").read_bytes() == before
    (p.dir / "live/x.tfstate").write_text(body.replace('"serial": 1,', f'"serial": {2**63 + 5},'))
    p.run("sync", code=13)
    assert f"serial {2**63 + 5}  older" in p.text("quarantine", "ls")
    assert p.json("quarantine", "ls")["quarantine"][0]["serial"] == 2**63 + 5
    assert "x.tfstate" in p.error("sync", code=13)


def show_masks(p):
    p.put("sensitive.tfstate")
    p.run("sync")
    text, doc = p.text("show", "live:x.tfstate"), p.text("--json", "show", "live:x.tfstate")
    assert "hunter2" not in text and "hunter2" not in doc and "(sensitive)" in text
    assert "hunter2" in p.text("show", "live:x.tfstate", "--reveal")


def no_text_steers_the_terminal(p):
    body = json.loads((GOLDEN / "seq/001.tfstate").read_bytes())
    body["outputs"] = {"a": {"type": "string", "value": "\x1b[2J \u009b2J \u00e9"}}
    (p.dir / "live/x.tfstate").write_text(json.dumps(body))
    p.run("sync")
    text = p.text("show", "live:x.tfstate")
    assert "\\x1b[2J \\xc2\\x9b2J \u00e9" in text and "\x1b" not in text and "\u009b" not in text, text
    error = p.run("show", "live:x.tfstate", "a\u009b2J", code=1).stderr.decode()
    assert "\\xc2\\x9b2J" in error and "\u009b" not in error, error


def wrong_input(p):
    assert "did you mean" in p.error("sttus", code=2)
    assert "diff" in p.error("diff", "a", "b", code=2)
    assert "migrate takes FROM TO" in p.error("migrate", "live", code=2)
    p.error("status", "--nonsense", code=2)
    assert p.error("help", "drill", code=2).endswith('see "stateferry help"\n')
    libraries = p.json("version")["libraries"]
    assert libraries.keys() >= {"curl", "lmdb", "zstd", "libevent", "libmicrohttpd", "expat", "mbedtls", "jansson"}, libraries
    p.error("cat", code=2)
    p.error("status", code=1)  # no store yet: says where it looked
    assert p.json("status", code=1)["error"]["code"] == 1
    p.put("seq/001.tfstate")
    p.run("sync")
    p.error("log", "live:nobody.tfstate", code=1)
    p.error("cat", "live:x.tfstate@9", code=1)
    p.error("sync", "nobody", code=2)
    for text, word in (('backend "local" "a" {', "stateferry.hcl:1"), ('bakend "x" "y" {\n}\n', "backend"),
                       ('backend "local" "a" {\n  dirr = "x"\n}\n', "dir")):
        p.configure(text=text)
        message = p.error("config", "check", code=10)
        assert word in message, message


FED = """agent {{
  store = "store"
}}
backend "{kind}" "live" {{
{live}
}}
backend "{kind}" "dr" {{
{dr}
}}
replicate "out" {{
  from = "live"
  to   = ["dr"]
{edge}
}}
"""
BUCKET = '  bucket = "acme-states"\n  region = "eu-west-1"\n  prefix = "%s"'


def a_full_stdout_is_told_once(p):
    p.put("seq/001.tfstate", "small.tfstate")
    (p.dir / "live/large.tfstate").write_bytes((GOLDEN / "seq/001.tfstate").read_bytes() + b" " * 200_000)
    p.run("sync")
    for args in (("cat", "small.tfstate"), ("cat", "large.tfstate"), ("--json", "cat", "small.tfstate"), ("status",),
                 ("--json", "status"), ("--json", "log", "none")):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, *args], cwd=p.dir, stdout=full, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 1, args
        assert done.stderr.count(b"No space left on device; what was printed is incomplete") == 1, (args, done.stderr)
        assert done.stderr.count(b"No space") == 1, (args, done.stderr)


def what_is_missing_is_named(p):
    """An empty name, a version that is not there, an age that is none: in the words of whoever typed it."""
    p.put("seq/001.tfstate")
    p.run("sync")
    for args in (("cat", ""), ("cat", "live:"), ("cat", "@1"), ("cat", "--state", ""), ("log", ""), ("show", "")):
        message = p.error(*args, code=2)
        assert "is empty" in message, (args, message)
    message = p.error("sync", "--max-age", "soon", code=2)
    assert '"soon" is no duration' in message and "max_age" not in message, message
    for args in (("drop", "x.tfstate"), ("drop", "x.tfstate", "--yes"), ("drop", "live:x.tfstate", "--yes")):
        message = p.error("quarantine", *args, code=2)
        assert f"drop needs a version, {args[1]}@V" in message and "quarantine ls" in message, message


def nothing_to_carry(p):
    """Backends alone: sync has nothing to do, and nobody is sent to sync for it."""
    p.configure(text=CONF.format(more="").split("replicate")[0])
    assert "nothing to do: the configuration has no replicate and no snapshot block" in p.text("sync")
    assert p.json("sync")["edges"] == []
    problem = p.json("status", code=3)["problems"][0]
    assert "no replicate and no snapshot block" in problem["cause"] and "sync" not in problem["next"], problem


def never_into_itself(p):
    """A target whose names the source lists would be replicated again and again, ever deeper."""
    refused = [("local", '  dir = "live"', '  dir = "./live/"', ""), ("local", '  dir = "live"', '  dir = "live/copy"', ""),
               ("local", '  path = "a/t.tfstate"', '  path = "b/../a/t.tfstate"', ""),
               ("local", '  path = "live/t.tfstate"', '  dir = "live"', ""),
               ("local", '  dir = "live"', '  dir = "."', '  key = "live/copy/{name}"'),
               ("local", '  dir = "live"\n  exclude = ["copy/**"]', '  dir = "live/copies"', ""),
               ("s3", BUCKET % "", BUCKET % "copy/", ""), ("s3", BUCKET % "a/", BUCKET % "a/copy/", "")]
    taken = [("local", '  dir = "live"\n  exclude = ["copy/**"]', '  dir = "live/copy"', ""),
             ("local", '  dir = "live"', '  dir = "live/copy"', '  exclude = ["copy/**"]'),
             ("local", '  dir = "live"', '  dir = "live-copy"', ""), ("local", '  path = "a/t.tfstate"', '  path = "a/u.tfstate"', ""),
             ("s3", BUCKET % "a/", BUCKET % "b/", "")]
    for kind, live, dr, edge in refused:
        p.configure(text=FED.format(kind=kind, live=live, dr=dr, edge=edge))
        assert "into itself" in p.error("config", "check", code=10), (live, dr, edge)
    for kind, live, dr, edge in taken:
        p.configure(text=FED.format(kind=kind, live=live, dr=dr, edge=edge))
        p.run("config", "check")
    # Only the names show it: what the source is told to see is not what a sample of names looks like.
    p.configure(text=FED.format(kind="local", live='  dir = "live"\n  include = ["**/prod/**"]', dr='  dir = "live/copy"\n  create = true',
                                edge=""))
    (p.dir / "live/a/prod").mkdir(parents=True)
    p.put("seq/001.tfstate", "a/prod/x.tfstate")
    assert "into itself" in p.error("sync", code=13)
    assert not list((p.dir / "live/copy").rglob("*.tfstate"))


KEPT = """agent {{
  store = "store"
}}
backend "{kind}" "live" {{
{live}
}}
backend "{kind}" "dr" {{
{dr}
}}
snapshot "kept" {{
  from   = "live"
  to     = ["dr"]
{snapshot}
}}
"""
COPY = 'replicate "copy" {{\n  from = "live"\n  to   = ["dr"]\n{}\n}}\n'


def snapshots_beside_states(p):
    """A state's snapshots lie in a folder of the state's name: where the state itself lies too, one is in the way of the other."""
    folders = {"kind": "local", "live": '  dir = "live"', "dr": '  dir = "dr"'}
    buckets = {"kind": "s3", "live": BUCKET % "", "dr": BUCKET % "x/"}
    refused = [(folders, '  prefix = ""', COPY.format("")), (folders, '  prefix = "a/"', COPY.format('  key = "a/{path}"')),
               (folders, '  prefix = ""\n  include = ["prod/**"]', COPY.format('  include = ["prod/*"]')),
               ({"kind": "local", "live": '  dir = "live"', "dr": '  dir = "."'}, '  prefix = "live"', ""),
               (buckets, '  prefix = ""', COPY.format('  exclude = ["x/**"]')),
               ({"kind": "s3", "live": BUCKET % "states/", "dr": BUCKET % ""}, '  prefix = "states/"', "")]
    taken = [(folders, '  prefix = ""', ""), (folders, "", COPY.format("")), (buckets, "", COPY.format('  exclude = ["x/**"]')),
             (folders, '  prefix = ""\n  include = ["prod/**"]', COPY.format('  include = ["test/*"]')),
             (folders, '  prefix = ""', COPY.format('  key = "copy/{name}"'))]
    for places, snapshot, more in refused:
        for text in (KEPT.format(**places, snapshot=snapshot) + more, more + KEPT.format(**places, snapshot=snapshot)):
            p.configure(text=text)
            message = p.error("config", "check", code=10)
            assert "in the way of its snapshots" in message and re.search(r"stateferry.hcl:\d+:\d+", message), (snapshot, more, message)
    for places, snapshot, more in taken:
        p.configure(text=KEPT.format(**places, snapshot=snapshot) + more)
        p.run("config", "check")


DATA_LIMIT = 88 << 20  # heap and the stacks of threads; the state alone is more than half of it


def a_large_snapshot_is_packed_in_pieces(p):
    if b"__asan_init" in BINARY.read_bytes() or b"__tsan_init" in BINARY.read_bytes():
        raise tap.Skip("a sanitizer's own memory does not fit into the limit")
    p.configure(text=KEPT.format(kind="local", live='  dir = "live"', dr='  dir = "dr"', snapshot=""))
    text = (GOLDEN / "seq/001.tfstate").read_text().rstrip()
    large = (text[:-1] + ', "pad": "' + random.Random(1).randbytes(24 << 20).hex() + '"}').encode()
    (p.dir / "live/large.tfstate").write_bytes(large)
    done = subprocess.run([BINARY, "sync"], cwd=p.dir, capture_output=True, timeout=120,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (DATA_LIMIT, DATA_LIMIT)))
    assert done.returncode == 0, done.stderr.decode()
    [packed] = (p.dir / "dr").rglob("*.zst")
    assert packed.stat().st_size < len(large)
    if shutil.which("zstd") is None:
        raise tap.Skip("no zstd to unpack it with")
    assert subprocess.run(["zstd", "-dc", packed], capture_output=True, timeout=60).stdout == large


def wrong_configuration(p):
    rows = [('agent {\n  encryption_key = "abc"\n}\n', ":2:20: encryption_key: a key is 32 bytes"),
            ('backend "local" "" {\n  dir = "a"\n}\n', "empty"),
            ('backend "local" "a" {\n  dir = ""\n}\n', "needs `path`"), ("agent {\n}\nagent {\n}\n", "first is at stateferry.hcl:1"),
            ('backend "foo" "a" {\n  dir = "a"\n}\n', "local"),
            ('backend "local" "a" {\n  dir = "a"\n  state "x" {}\n  state "x" {}\n}\n', "second block"),
            ('backend "local" "a" {\n  dir = "a"\n  state "x" {\n    alias = "z"\n  }\n  state "y" {\n    alias = "z"\n  }\n}\n',
             "already"),
            (FED.format(kind="local", live='  dir = "a"', dr='  dir = "b"', edge='  key = "../{name}"'), "gives no name"),
            (FED.format(kind="local", live='  dir = "a"', dr='  dir = "b"', edge='  state "x" {\n    key = "{nope}"\n  }'), "expected {name}"),
            (FED.format(kind="local", live='  dir = "a"', dr='  dir = "b"', edge="").replace("from =", "form ="), 'did you mean "from"'),
            (FED.format(kind="local", live='  dir = "a"', dr='  dir = "b"', edge="").replace('= "live"', '= "lve"'), 'did you mean "live"'),
            (FED.format(kind="local", live='  dir = "a"', dr='  dir = "b"', edge="").replace('["dr"]', '["qqqq"]'), 'called "qqqq"\n')]
    for text, word in rows:
        p.configure(text=text)
        message = p.error("config", "check", code=10)
        assert word in message, message
    p.configure(text="# nothing but this\n")
    for command in (["run"], ["sync"], ["config", "check"]):
        assert "found none" in p.error(*command, code=10), command
    (p.dir / "stateferry.hcl").unlink()
    for command in ("run", "sync", "status"):  # what starts the agent again must be able to tell that this does not heal
        done = subprocess.run([BINARY, command], cwd=p.dir, capture_output=True, timeout=60, env={"HOME": str(p.dir)})
        assert done.returncode == 10 and b"looked for stateferry.hcl" in done.stderr, (command, done)


WRONG = """agent {
  log            = "loud"
  encryption_key = env("NOT_SET_1")
}
backend "local" "a" {
  dir     = "a"
  poll    = "1ms"
}
backend "local" "b" {
  dri     = "b"
  timeout = "fast"
  exclude = [file("/nowhere")]
}
backend "gcs" "g" {
  bucket      = "ggg"
  credentials = "nothing"
}
backend "local" "d" {
  dir = "d"
}
backend "local" "e" {
  dir = "e"
}
replicat "x" {
}
replicate "e" {
  from = "d"
  to   = ["nope", "b"]
}
replicate "f" {
  from    = "a"
  to      = ["e"]
  wrong   = 1
}
replicate "g" {
  from    = "d"
  to      = ["e"]
  deletes = "mirror"
}
snapshot "s" {
  from  = "d"
  to    = ["e"]
  every = "soon"
}
"""


def all_that_is_wrong_is_told(p):
    """Each by itself, at its own line; what follows from another error is not one. Only config check goes on after the first."""
    want = {"2:20": '"log": expected one of', "3:20": "NOT_SET_1 is not set", "7:3": "at least 100ms", "10:3": 'did you mean "dir"',
            "11:13": '"timeout": expected a duration', "12:19": "no such file", "16:3": "neither JSON", "24:1": "did you mean `replicate`",
            "28:10": 'no backend is called "nope"', "33:3": 'unknown argument "wrong"', "38:3": 'only "keep"', "43:3": "every: expected"}
    p.configure(text=WRONG)
    said = p.error("config", "check", code=10).splitlines()
    found = {re.search(r"stateferry.hcl:(\d+:\d+): ", line)[1]: line for line in said}
    assert found.keys() == want.keys() and len(said) == len(want), "\n".join(said)
    assert all(word in found[at] for at, word in want.items()), said
    doc = p.json("config", "check", code=10)
    assert [e["message"] for e in doc["errors"]] == [line.split("configuration: ")[1].split("; ")[0] if e["hint"] else
                                                     line.split("configuration: ")[1] for e, line in zip(doc["errors"], said)]
    assert doc["error"]["message"] == doc["errors"][0]["message"] and doc["error"]["code"] == 10
    assert len(p.error("sync", code=10).splitlines()) == 1 and not (p.dir / "store").exists()
    many = "".join(f'backend "local" "b{i}" {{\n  x = 1\n}}\n' for i in range(60))
    p.configure(text=many)
    said = p.error("config", "check", code=10).splitlines()
    assert len(said) == 51 and "CONF_ERRORS_MAX" in said[-1], said[-1]


def installs_where_it_says(p):
    subprocess.run(["make", "-s", "-C", ROOT, f"O={BINARY.parent}", "install", f"DESTDIR={p.dir}/root", "PREFIX=/opt/ferry"],
                   check=True, capture_output=True)
    units = list((p.dir / "root/opt/ferry/lib/systemd/system").glob("*.service"))
    assert units
    for unit in units:
        assert "ExecStart=/opt/ferry/bin/stateferry " in unit.read_text(), unit
    for example in (ROOT / "conf/examples").glob("*.hcl"):
        assert (p.dir / "root/opt/ferry/share/doc/stateferry/examples" / example.name).read_bytes() == example.read_bytes()


def a_lock_without_a_name(p):
    """Held by a process that left no description: no ID could name it, and none is asked for."""
    p.put("seq/001.tfstate")
    p.run("sync")
    with open(p.dir / "live/x.tfstate", "r+b") as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        message = p.error("unlock", "x.tfstate", "some-id", "--yes", code=13)
        assert "end the process" in message and "unlock live" not in message, message
        assert [(x["name"], x["who"]) for x in p.json("locks")["locks"]] == [("x.tfstate", f"process {os.getpid()}")]
        p.run("sync")
        assert "locked" in p.json("list")["states"][0]["flags"]
    p.run("sync")
    assert "locked" not in p.json("list")["states"][0]["flags"] and p.json("locks")["locks"] == []
    with open(p.dir / "dr/x.tfstate", "r+b") as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        p.configure(text=CONF.format(more="").replace('dir = "dr"', 'dir = "dr"\n  lock_timeout = "1s"'))
        p.put("seq/004.tfstate")
        # status says nothing of a lock that is waited for no longer than lock_timeout
        wait(lambda: f"process {os.getpid()}" in p.error("sync", code=11) and p.json("status", code=3)["problems"])
        problem = p.json("status", code=3)["problems"][0]
        assert problem["kind"] == "locked" and f"process {os.getpid()}" in problem["cause"], problem


def secrets_stay(p):
    p.configure('backend "http" "h" {\n  address  = "http://127.0.0.1:9/"\n  username = "u"\n  password = "c4n4ry"\n}\n')
    for args in (("config", "show"), ("config", "check"), ("-v", "locks", "h")):
        done = subprocess.run([BINARY, *args], cwd=p.dir, capture_output=True, timeout=60)
        assert b"c4n4ry" not in done.stdout + done.stderr, args
    p.configure(text=CONF.format(more="").replace('"local" "live" {\n  dir = "live"', '"http" "live" {'
                '\n  address = "http://c4n4ry:c4n4ry@127.0.0.1:9/x?sig=c4n4ry"\n  retry_max = 0'))
    for args in (("config", "show"), ("config", "check"), ("-v", "sync"), ("status",), ("--json", "status"), ("-v", "locks"), ("list",),
                 ("-v", "probe", "live"), ("-v", "unlock", "live:default", "id", "--yes")):
        done = subprocess.run([BINARY, *args], cwd=p.dir, capture_output=True, timeout=60)
        assert b"c4n4ry" not in done.stdout + done.stderr, args


def owners(p):
    p.put("seq/001.tfstate")
    agent = p.start()
    try:
        wait(lambda: subprocess.run([BINARY, "status"], cwd=p.dir, capture_output=True, timeout=60).returncode == 0)
        assert p.json("status")["agent"]["running"] is True
        assert p.json("sync")["edges"][0]["unchanged"] == 1
        p.put("seq/002.tfstate")
        wait(lambda: (p.dir / "dr/x.tfstate").read_bytes() == (GOLDEN / "seq/002.tfstate").read_bytes())
        p.configure(text="backend {")
        agent.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        p.configure()
        p.put("seq/003.tfstate")  # the old configuration stays in force
        wait(lambda: (p.dir / "dr/x.tfstate").read_bytes() == (GOLDEN / "seq/003.tfstate").read_bytes())
    finally:
        agent.terminate()
        begun = time.monotonic()
        assert agent.wait(timeout=12) == 0
        assert time.monotonic() - begun < 10
        agent.stderr.close()
    assert p.json("status")["agent"]["running"] is False


def adopt_is_acted_on_at_once(p):
    p.put("seq/001.tfstate")
    p.run("sync")
    (p.dir / "other").mkdir()
    p.configure(text=CONF.format(more="").replace('dir = "dr"', 'dir = "other"').replace('"live"\n}', '"live"\n  poll = "1h"\n}'))
    agent = p.start()
    try:
        wait(lambda: subprocess.run([BINARY, "status"], cwd=p.dir, capture_output=True, timeout=60).returncode == 1)
        assert not list((p.dir / "other").iterdir())
        moved = p.text("sync", code=10).splitlines()
        assert moved[1].startswith("  out: backend dr points to "), moved
        assert "other now" in p.text("adopt", "--yes")
        wait(lambda: (p.dir / "other/x.tfstate").exists(), 5)
        wait(lambda: subprocess.run([BINARY, "status"], cwd=p.dir, capture_output=True, timeout=60).returncode == 0, 5)
    finally:
        agent.terminate()
        agent.wait(timeout=12)
        agent.stderr.close()


def leases(p):
    def lease(*args, code=0):
        return p.json("lease", *args, code=code)["leases"][0]

    assert "no edge has a lease block" in p.text("lease", "ls")
    assert 'has no lease block' in p.error("lease", "release", "out", code=2)
    p.configure(text=CONF.format(more="").replace('to   = ["dr"]', 'to   = ["dr"]\n  lease {\n    ttl = "2s"\n  }'))
    assert 'no edge is called "nowhere"' in p.error("lease", "release", "nowhere", code=2)
    for args in (("lease", "list"), ("lease", "release"), ("lease", "ls", "--back"), ("lease", "ls", "out")):
        assert "lease takes ls | release EDGE" in p.error(*args, code=2)
    assert lease("ls")["holder"] is None and lease("ls")["epoch"] == 0
    record = p.dir / "dr/.stateferry/lease/out"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    unread = p.json("lease", "ls", code=14)
    assert unread["leases"][0]["standing"] == "unread" and "not the record of a lease" in unread["problems"][0]["message"], unread
    assert "lease of out at dr: not known whose" in p.text("lease", "ls", code=14)
    record.unlink()
    p.put("seq/001.tfstate")
    agent = p.start()
    try:
        wait(lambda: lease("ls")["standing"] == "ours")
        held = lease("ls")
        assert held["epoch"] == 1 and held["transitions"] == 0 and held["since"] and held["expires_seconds"] is None, held
        for command in ("status", "locks"):
            assert f'lease of out at dr: held by {held["name"]}, this agent, since' in p.text(command)
            assert p.json(command)["leases"] == [held]
        assert lease("release", "out")["standing"] == "released"
        status = p.json("status", code=3)
        assert status["verdict"] == "behind" and status["problems"][0]["next"] == "stateferry lease release --back out", status
        assert "nobody's, epoch 1, 0 transitions, released here" in p.text("lease", "ls")
        lease("release", "--back", "out")
        wait(lambda: lease("ls")["standing"] == "ours")
        agent.kill()
        agent.wait()
        assert lease("ls")["holder"] == held["holder"]      # whoever looks takes nothing
        assert lease("release", "out")["holder"] is None    # the process that held it is dead: it is given up for it
        assert p.json("lease", "ls")["leases"][0]["epoch"] == 3
    finally:
        agent.kill()
        agent.wait(timeout=12)
        agent.stderr.close()


TESTS = [sync_and_look, doctor, a_path_that_is_no_text_leaves_a_document, damage_is_held, advice_fits, unusable_names_are_told,
         a_source_that_is_none_any_more, a_store_that_is_none, a_store_that_is_lost_is_no_new_one, dry_run_of_what_would_be_made,
         dry_run_of_a_chain_counts_once, nothing_found, restore_asks, migrate_asks, serials_have_all_their_digits, show_masks,
         no_text_steers_the_terminal, wrong_input, a_full_stdout_is_told_once, what_is_missing_is_named, nothing_to_carry,
         never_into_itself, snapshots_beside_states, a_large_snapshot_is_packed_in_pieces, wrong_configuration,
         all_that_is_wrong_is_told,
         installs_where_it_says, a_lock_without_a_name, secrets_stay, owners, adopt_is_acted_on_at_once, leases]


if __name__ == "__main__":
    sys.exit(tap.run(TESTS, Place))
