# SPDX-License-Identifier: MIT
"""Workspaces of HCP Terraform as source and target, beside real terraform, on a strict server of its API."""
import json
import signal

import pytest

from agent import eventually
from conftest import need_tool
from forward_proxy import TlsFront
from hcl import Block
from states import lineage, padded, serial_of, state
from tfe import TFE_TOKEN
from tfe_objects import Principal

HOST = "tfe.test"
MANY = 150


@pytest.fixture(params=["cloud", "remote"])
def kind(request):
    return request.param


class Fleet:
    """An agent whose CLI configuration knows the server, as terraform's does."""

    def __init__(self, agent, places, server):
        self.agent, self.server, self.places, self.folder = agent, server, places, places("local")
        cli = agent.folder / "home" / ".terraformrc"
        cli.write_text(server.cli_config(HOST))
        cli.chmod(0o600)
        self.folder.add(agent, "folder")

    def add(self, label, kind="cloud", blocks=None, **more):
        _, args, nested = self.server.backend(kind, HOST, token=False, **(blocks or {}))
        return self.agent.backend(kind, label, args, blocks=[Block("workspaces", **nested)] if nested else (), **more)

    def source(self, kind="cloud", blocks=None, **more):
        self.add("live", kind, blocks, **more)
        self.agent.replicate("out", "live", "folder")

    def target(self, kind="cloud", blocks=None, edge=None, **more):
        self.add("tfc", kind, blocks, **{"create": True, "timeout": "5s"} | more)
        self.agent.replicate("in", "folder", "tfc", **(edge or {}))

    def back(self, name):
        """What another place gets of the target."""
        other = self.places("local")
        other.add(self.agent, "other")
        self.agent.replicate("back", "tfc", "other")
        self.agent.sync("back")
        return other.get(f"{name}.tfstate")

    def copy(self, name):
        return self.folder.get(f"{name}.tfstate")


@pytest.fixture
def fleet(agent, places, tfe):
    return Fleet(agent, places, tfe)


def test_source(fleet, kind):
    lines = {name: lineage() for name in ("prod", "test_2", "A-b")}
    for name, line in lines.items():
        fleet.server.put(name, state(3, line))
    fleet.server.add("without-a-state")
    fleet.source(kind)
    assert fleet.agent.edge(fleet.agent.sync(), "out")["written"] == 3
    fleet.server.put("prod", state(4, lines["prod"]))
    edge = fleet.agent.edge(fleet.agent.sync(), "out")
    assert (edge["changed"], edge["written"], edge["unchanged"]) == (1, 1, 2)
    assert all(fleet.copy(name) == fleet.server.body(name) for name in lines)
    before = len(fleet.server.requests())
    assert fleet.agent.edge(fleet.agent.sync(), "out")["unchanged"] == 3
    assert len(fleet.server.requests()) == before + 1
    assert fleet.server.requests("POST") == []


def test_target(fleet, kind):
    line = lineage()
    fleet.folder.put("prod.tfstate", state(3, line))
    fleet.target(kind)
    fleet.agent.sync()
    for serial in (4, 7):
        fleet.folder.put("prod.tfstate", state(serial, line))
        fleet.agent.sync()
    assert fleet.server.serials("prod") == [3, 4, 7] and fleet.server.locks() == {}
    assert fleet.server.body("prod") == state(7, line)
    made = fleet.server.workspaces["prod"].attributes
    assert made["execution-mode"] == "local"
    assert fleet.agent.edge(fleet.agent.sync(), "in")["written"] == 0


def test_terraform_holds_the_lock(fleet, terraform, workdir, kind):
    tf = terraform("tf", fleet.server.backend(kind, HOST, token=False, name="prod"), cli=fleet.server.cli_config(HOST))
    tf.init()
    tf.apply()
    line = tf.pull()["lineage"]
    fleet.server.tokens["tfe-of-the-agent"] = Principal("stateferry", "teams")
    (fleet.agent.folder / "home/.terraformrc").write_text(fleet.server.cli_config(HOST).replace(fleet.server.token, "tfe-of-the-agent"))
    fleet.folder.put("prod.tfstate", state(9, line))
    fleet.target(kind, lock_timeout="1s")
    run = tf.hold(workdir / "gate", text="held")
    problem = fleet.agent.problem(fleet.agent.sync(code=11))
    assert "ferry" in problem["message"] and problem["hint"]
    shown = fleet.agent.json("locks")["locks"]
    assert [(k["backend"], k["name"], k["ours"]) for k in shown] == [("tfc", "prod", False)]
    assert "Locked by Terraform" in json.dumps(shown)
    tf.release(workdir / "gate")
    assert run.done().code == 0
    fleet.agent.sync()
    assert serial_of(fleet.server.body("prod")) == 9 and fleet.server.locks() == {}
    assert tf.pull()["serial"] == 9


def test_we_hold_the_lock(fleet, terraform, kind):
    tf = terraform("tf", fleet.server.backend(kind, HOST, token=False, name="prod"), cli=fleet.server.cli_config(HOST))
    tf.init()
    tf.apply()
    fleet.folder.put("prod.tfstate", state(9, tf.pull()["lineage"]))
    fleet.target(kind)
    held = fleet.server.rules.add("PUT", "*/object/*", hold=True)
    process = fleet.agent.start_command("sync")
    held.wait()
    assert "Error acquiring the state lock" in tf.plan(ok=(1,)).out
    (who, reason), = fleet.server.locks().values()
    assert who == "ferry" and reason.startswith("stateferry lock ") and "stateferry@agent" in reason
    held.release()
    assert process.wait(20) == 0
    assert fleet.server.locks() == {} and tf.pull()["serial"] == 9


@pytest.mark.parametrize("method,path", [("POST", "*/actions/lock"), ("POST", "*/state-versions"), ("PUT", "*/object/*"), ("POST", "*/actions/unlock")])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_in_the_middle(fleet, method, path, when):
    """The next pass finds out what came of it, and leaves no lock."""
    line = lineage()
    fleet.folder.put("prod.tfstate", state(3, line))
    fleet.target()
    fleet.agent.sync()
    fleet.folder.put("prod.tfstate", state(4, line))
    rule = fleet.server.rules.add(method, path, drop=when, times=0) if when == "before" else \
        fleet.server.rules.add(method, path, applied=True, status=500, times=0)
    process = fleet.agent.start_command("sync")
    rule.wait()
    process.send_signal(signal.SIGKILL)
    process.wait()
    fleet.server.rules.clear()
    fleet.agent.sync()
    assert fleet.server.locks() == {} and fleet.server.body("prod") == state(4, line)
    versions = [(v.serial, v.status) for v in fleet.server.workspaces["prod"].versions if v.status != "discarded"]
    assert versions == [(3, "finalized"), (4, "finalized")]


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"applied": True, "status": 200, "body": b"<html>", "times": 4}], ids=["lost", "page"])
@pytest.mark.parametrize("path,method", [("*/actions/lock", "POST"), ("*/state-versions", "POST"), ("*/object/*", "PUT"), ("*/actions/unlock", "POST")])
def test_lost_answers(fleet, path, method, fault):
    """Or a proxy's page in their place: each is read back; nothing is written twice, no lock stays."""
    line = lineage()
    fleet.folder.put("prod.tfstate", state(3, line))
    fleet.target()
    fleet.agent.sync()
    fleet.folder.put("prod.tfstate", state(4, line))
    lost = fleet.server.rules.add(method, path, **fault)
    fleet.agent.sync(code=(0, 1))
    assert lost.fired >= 1
    fleet.server.rules.clear()
    fleet.agent.sync()
    assert fleet.server.serials("prod") == [3, 4] and fleet.server.locks() == {}
    assert fleet.server.body("prod") == state(4, line)


def test_throttled(fleet):
    """The server's own limit is kept after the first answer tells it; a refusal is waited for as it says."""
    fleet.server.limit = 20
    for i in range(12):
        fleet.folder.put(f"w{i}.tfstate", state(1, lineage()))
    fleet.target(timeout="30s")
    fleet.agent.sync()
    assert all(fleet.server.serials(f"w{i}") == [1] for i in range(12))
    refused = [e for e in fleet.server.requests() if e["status"] == 429]
    assert len(refused) <= 20
    fleet.server.limit = None
    fleet.server.rules.add("GET", "*/workspaces", status=429, headers={"X-RateLimit-Reset": "0.5"})
    assert fleet.agent.edge(fleet.agent.sync(), "in")["unchanged"] == 12


def test_pages(fleet):
    """More than a page of workspaces, of which some change: an idle pass is a request for each page at most."""
    bodies = {f"net-{i:03}": state(1, lineage()) for i in range(MANY)}
    for name, body in bodies.items():
        fleet.server.put(name, body)
    fleet.server.limit = None
    fleet.source()
    assert fleet.agent.edge(fleet.agent.sync(timeout=60), "out")["written"] == MANY
    assert all(fleet.copy(name) == body for name, body in bodies.items())
    before = len(fleet.server.requests())
    assert fleet.agent.edge(fleet.agent.sync(), "out")["unchanged"] == MANY
    assert len(fleet.server.requests()) == before + 2
    changed = state(2, json.loads(bodies["net-001"])["lineage"])
    fleet.server.put("net-001", changed)
    assert fleet.agent.edge(fleet.agent.sync(), "out")["changed"] == 1
    assert fleet.copy("net-001") == changed


def test_which_workspaces(fleet):
    server = fleet.server
    server.projects["shop"] = "prj-0123456789abcdef"
    for name, project, tags in (("net-a", "Default Project", {"env": "prod"}), ("net-b", "shop", {"env": "test"}), ("app", "shop", {"env": "prod", "x": ""})):
        server.add(name, project).tags |= tags
        server.put(name, state(1, lineage()))
    for label, kind, blocks, found in [("all", "cloud", None, {"net-a", "net-b", "app"}), ("tags", "cloud", {"tags": ["x"]}, {"app"}),
                                       ("pairs", "cloud", {"tags": {"env": "prod"}}, {"net-a", "app"}),
                                       ("both", "cloud", {"tags": {"env": "prod"}, "project": "shop"}, {"app"}),
                                       ("project", "cloud", {"project": "shop"}, {"net-b", "app"}),
                                       ("one", "cloud", {"name": "app"}, {"app"}), ("same", "remote", {"name": "app"}, {"app"}),
                                       ("prefix", "remote", {"prefix": "net-"}, {"a", "b"})]:
        fleet.add(label, kind, blocks)
        fleet.agent.replicate(f"from-{label}", label, "folder", key=label + "/{name}")
        fleet.agent.sync(f"from-{label}")
        assert set(fleet.agent.states(label)) == found, label


def test_a_renamed_workspace(fleet):
    """It is another state by its name, which the journal says; the old one's replica stays, and nothing is wrong."""
    line = lineage()
    fleet.server.put("before", state(3, line))
    fleet.source()
    fleet.agent.sync()
    fleet.server.rename("before", "after")
    fleet.server.put("after", state(4, line))
    said = fleet.agent.call("sync").err
    assert "before: it is called after now" in said and "warn" not in said, said
    assert fleet.copy("after") == state(4, line) and fleet.copy("before") == state(3, line)
    assert "gone" in fleet.agent.states("live")["before"]["flags"] and fleet.agent.status()["verdict"] == "ok"


def test_renamed_while_we_hold_it(fleet):
    """Our lock is let go under the new name, for it is the workspace's."""
    line = lineage()
    fleet.server.put("before", state(3, line))
    fleet.folder.put("before.tfstate", state(4, line))
    fleet.target()
    held = fleet.server.rules.add("PUT", "*/object/*", hold=True)
    process = fleet.agent.start_command("sync")
    held.wait()
    fleet.server.rename("before", "after")
    held.release()
    process.wait(30)
    assert fleet.server.locks() == {}


@pytest.mark.parametrize("made", [False, True], ids=["there", "made"])
def test_renamed_after_we_were_killed(fleet, made):
    """Only the journal knows of the lock then; it has the workspace's id, of one that was made for the write, too."""
    line = lineage()
    if not made:
        fleet.server.put("before", state(3, line))
    fleet.folder.put("before.tfstate", state(4, line))
    fleet.target()
    held = fleet.server.rules.add("PUT", "*/object/*", hold=True, drop="before")
    process = fleet.agent.start_command("sync")
    held.wait()
    process.kill()
    process.wait()
    held.release()
    assert list(fleet.server.locks()) == ["before"]
    fleet.server.rules.clear()
    fleet.server.rename("before", "after")
    fleet.agent.sync()
    assert fleet.server.locks() == {}
    assert fleet.server.body("before") == state(4, line)     # a workspace of that name is made anew


def test_probe_of_what_does_not_answer(agent, places):
    """Says once whose trouble it is."""
    live = places("remote")
    live.add(agent, "live")
    live.rules.add(times=0, status=200, body=b"")
    said = agent.json("probe", "live", code=1)["error"]["message"]
    assert said == f"live: 127.0.0.1:{live.server.port}/acme: listing workspaces: the answer is none of this API", said


def test_no_workspace_without_create(fleet):
    fleet.folder.put("prod.tfstate", state(3, lineage()))
    fleet.target(create=False)
    problem = fleet.agent.problem(fleet.agent.sync(code=1))
    assert "create = true" in problem["hint"] and fleet.server.workspaces == {}


def test_a_name_that_no_workspace_has(fleet):
    fleet.folder.put("net/prod.tfstate", state(3, lineage()))
    fleet.target()
    problem = fleet.agent.problem(fleet.agent.sync(code=None))
    assert "letters, digits" in problem["message"] and fleet.server.workspaces == {}


@pytest.mark.parametrize("right,words", [("can-read-state-versions", ["read"]), ("can-create-state-versions", ["write"]), ("can-lock", ["lock"])])
def test_a_missing_permission(fleet, right, words):
    line = lineage()
    fleet.server.put("prod", state(3, line))
    fleet.folder.put("prod.tfstate", state(4, line))
    fleet.server.me.without = {right}
    fleet.target()
    problem = fleet.agent.problem(fleet.agent.sync(code=12))
    text = problem["message"] + problem["hint"]
    assert all(w in text for w in words), text
    assert fleet.server.locks() == {} and fleet.server.serials("prod") == [3]


def test_the_token_of_an_organization(fleet):
    fleet.server.tokens[fleet.server.token] = Principal("acme", "organizations")
    line = lineage()
    fleet.server.put("prod", state(3, line))
    fleet.folder.put("prod.tfstate", state(4, line))
    fleet.target()
    problem = fleet.agent.problem(fleet.agent.sync(code=12))
    assert "write" in problem["message"] + problem["hint"]
    assert fleet.server.locks() == {} and fleet.server.serials("prod") == [3]


def test_an_expired_token(fleet):
    fleet.server.put("prod", state(3, lineage()))
    fleet.source()
    fleet.agent.sync()
    del fleet.server.tokens[fleet.server.token]
    problem = fleet.agent.problem(fleet.agent.sync(code=12))
    assert "401" in problem["message"] and "a new one where it is from" in problem["hint"] and "/.terraformrc" in problem["hint"], problem
    fleet.server.tokens[fleet.server.token] = fleet.server.me
    fleet.agent.sync()


def test_a_token_that_no_header_can_carry(fleet):
    fleet.source(token="bad\ncanary-2b")
    result = fleet.agent.call("--json", "-v", "sync", code=10)
    problem = result.json["problems"][0]
    assert "line break" in problem["message"] and "configuration" in problem["hint"], problem
    assert "canary-2b" not in result.out + result.err


def test_a_new_token_is_found_while_it_runs(fleet):
    """What login wrote in the meantime is read when the old one is refused."""
    line = lineage()
    fleet.server.put("prod", state(3, line))
    fleet.source()
    fleet.agent.start()
    eventually(lambda: fleet.copy("prod") == state(3, line))
    fleet.server.tokens = {"tfe-canary-of-login": fleet.server.me}
    login = fleet.agent.folder / "home/.terraform.d/credentials.tfrc.json"
    login.parent.mkdir()
    login.write_text(json.dumps({"credentials": {HOST: {"token": "tfe-canary-of-login"}}}))
    fleet.server.put("prod", state(4, line))
    eventually(lambda: fleet.copy("prod") == state(4, line))
    fleet.agent.stop()
    fleet.agent.check_secrets(["tfe-canary-of-login"])


def test_own_authority(fleet, certificates):
    """Enterprise with a certificate of one's own: discovery, API and blobs, read and written."""
    line, more = lineage(), fleet.places("local")
    fleet.server.put("prod", state(3, line))
    fleet.server.scheme = "https"
    with TlsFront(certificates, fleet.server.port) as front:
        args = {"hostname": f"localhost:{front.port}", "organization": "acme", "token": fleet.server.token}
        fleet.agent.backend("remote", "live", args)
        fleet.agent.replicate("out", "live", "folder")
        problem = fleet.agent.problem(fleet.agent.sync(code=12))
        assert "certificate" in problem["message"]
        fleet.agent.forget("backend", "live")
        fleet.agent.backend("remote", "live", args, ca_file=str(certificates.folder / "ca.pem"), create=True)
        more.add(fleet.agent, "more")
        fleet.agent.replicate("in", "more", "live")
        more.put("made.tfstate", state(5, line))
        fleet.agent.sync()
    assert fleet.copy("prod") == state(3, line) and fleet.server.body("made") == state(5, line)
    assert all("token" not in e for e in fleet.server.errors)


@pytest.mark.parametrize("dialect", ["old", "otf"])
def test_dialects(agent, places, tfes, dialect):
    fleet = Fleet(agent, places, tfes(dialect=dialect))
    line = lineage()
    fleet.folder.put("prod.tfstate", state(3, line))
    fleet.target()
    fleet.agent.sync()
    fleet.folder.put("prod.tfstate", state(4, line))
    fleet.agent.sync()
    assert fleet.server.serials("prod") == [3, 4] and fleet.server.locks() == {}
    assert fleet.back("prod") == state(4, line)
    reach = next(c for c in fleet.agent.json("probe", "tfc", code=None)["checks"] if c["name"] == "reach")["detail"]
    assert reach.endswith({"old": "Terraform Enterprise v202304-1, API 2.6", "otf": ": a server, API 2.5"}[dialect]), reach


@pytest.mark.parametrize("what", ["older", "lineage", "other"])
def test_what_the_target_holds_otherwise(fleet, what):
    """Never forced, whatever is there."""
    line = lineage()
    fleet.server.put("prod", {"older": state(9, line), "lineage": state(2, lineage()), "other": state(5, line, text="other")}[what])
    before = fleet.server.body("prod")
    fleet.folder.put("prod.tfstate", state(5, line))
    fleet.target()
    fleet.agent.sync(code=13)
    assert fleet.server.body("prod") == before and fleet.server.locks() == {}


def test_a_large_state(fleet):
    line = lineage()
    body = padded(3, line, 3 << 20)
    fleet.folder.put("prod.tfstate", body)
    fleet.target()
    fleet.agent.sync()
    assert fleet.server.body("prod") == body
    assert fleet.back("prod") == body


def test_a_version_that_takes_its_time(fleet):
    fleet.server.processing = 1.0
    line = lineage()
    fleet.folder.put("prod.tfstate", state(3, line))
    fleet.target()
    fleet.agent.sync()
    assert fleet.server.serials("prod") == [3] and fleet.server.locks() == {}


def test_credentials_helper(fleet):
    """A program that terraform would ask, too."""
    need_tool("sh")
    home = fleet.agent.folder / "home"
    helper = home / ".terraform.d/plugins/terraform-credentials-vault"
    helper.parent.mkdir(parents=True)
    helper.write_text(f"#!/bin/sh\n[ \"$1 $2\" = \"get {HOST}\" ] && echo '{{\"token\":\"{fleet.server.token}\"}}'\n")
    helper.chmod(0o700)
    (home / ".terraformrc").write_text(fleet.server.cli_config(HOST, token=False) + 'credentials_helper "vault" {\n}\n')
    fleet.server.put("prod", state(3, lineage()))
    fleet.source()
    fleet.agent.sync()
    assert fleet.copy("prod") == fleet.server.body("prod")


def test_probe_and_doctor(fleet):
    fleet.add("tfc")
    fleet.server.put("prod", state(3, lineage()))
    said = fleet.agent.json("probe", "tfc", code=None)["checks"]
    checks = {c["name"]: c["ok"] for c in said}
    assert len(checks) == len(said), f"each check has one answer: {said}"
    assert checks["reach"] and checks["auth"] and checks["list"] and checks["read"], checks
    assert fleet.server.locks() == {} and fleet.server.serials("prod") == [3]
    reach = next(c for c in said if c["name"] == "reach")["detail"]
    assert reach.endswith(": HCP Terraform, API 2.6"), reach
    fleet.agent.call("config", "check", "--probe")


def test_an_upload_that_fails_for_good(fleet):
    """Its version stays pending, and our own lock with it, until we remove that by force; the old state is still the current one."""
    line = lineage()
    fleet.server.put("prod", state(3, line))
    fleet.folder.put("prod.tfstate", state(4, line))
    fleet.target()
    fleet.server.rules.add("PUT", "*/object/*", status=403, times=0)
    fleet.agent.sync(code=1, timeout=60)
    assert fleet.server.locks() == {} and fleet.server.body("prod") == state(3, line)
    assert fleet.server.requests("POST", "prod")[-1]["target"].endswith("/actions/force-unlock")
    fleet.server.rules.clear()
    fleet.agent.sync()
    assert fleet.server.serials("prod") == [3, 4] and fleet.server.locks() == {}


def test_an_upload_that_fails_without_the_right_to_force(fleet):
    line = lineage()
    fleet.server.put("prod", state(3, line))
    fleet.folder.put("prod.tfstate", state(4, line))
    fleet.server.me.without = {"can-force-unlock"}
    fleet.target()
    fleet.server.rules.add("PUT", "*/object/*", status=403, times=0)
    said = fleet.agent.call("sync", code=None, timeout=60).err
    assert list(fleet.server.locks()) == ["prod"] and "prod stays locked" in said and "by force" in said
    shown = fleet.agent.json("locks")["locks"]
    assert [(k["name"], k["ours"]) for k in shown] == [("prod", True)]
    fleet.server.rules.clear()
    fleet.server.me.without = set()
    fleet.agent.sync(timeout=60)
    assert fleet.server.serials("prod") == [3, 4] and fleet.server.locks() == {}


def test_versions_of_the_past(fleet):
    """What the server kept before the agent came is not asked for; a version that went back in time is held."""
    line = lineage()
    for serial in (1, 2, 5):
        fleet.server.put("prod", state(serial, line))
    fleet.source()
    fleet.agent.sync()
    fleet.server.put("prod", state(2, line))
    problem = fleet.agent.problem(fleet.agent.sync(code=13))
    assert problem["state"] == "prod" and fleet.copy("prod") == state(5, line)


def workspace(tf, server, name):
    """Terraform on that workspace of the prefix, as it finds it after init."""
    (tf.folder / ".terraform").mkdir(exist_ok=True)
    (tf.folder / ".terraform/environment").write_text(name)
    (tf.folder / "terraformrc").write_text(server.cli_config(HOST))


@pytest.mark.deadline(150)
def test_out_of_it_and_back(agent, tfes, make_bucket, terraform):
    """Fifty workspaces into a bucket with all their names, and into another organization; real terraform before, between and after."""
    old, new, bucket = tfes(limit=None), tfes(limit=None), make_bucket()
    words = [f"w{i:02}" for i in range(50)]
    old.add("other")
    for word in words[2:]:
        old.put(f"net-{word}", state(3, lineage()))
    projects = {}
    for word in words[:2]:
        old.add(f"net-{word}")
        tf = projects[word] = terraform(word, old.backend("remote", HOST, token=False, prefix="net-"))
        workspace(tf, old, word)
        tf.init()
        tf.apply(text=word)

    for label, server in (("live", old), ("back", new)):
        _, args, nested = server.backend(prefix="net-")
        agent.backend("remote", label, args | {"api_base": f"http://127.0.0.1:{server.port}/api/v2/"}, blocks=[Block("workspaces", **nested)],
                      create=label == "back")
    agent.backend("s3", "bucket", bucket.backend("net.tfstate"))
    moved = agent.call("migrate", "--yes", "live", "bucket", timeout=90)
    assert 'backend "s3"' in moved.out and all(s not in moved.out + moved.err for s in (TFE_TOKEN, bucket.server.secret_key))
    assert all(bucket.get(f"env:/{w}/net.tfstate") == old.body(f"net-{w}") for w in words)
    assert len(bucket.keys()) == 50 and old.locks() == {}
    for word, tf in projects.items():
        tf.point_at(("s3", bucket.backend("net.tfstate")))
        tf.init("-reconfigure")
        assert tf.call("workspace", "show").out.strip() == word and tf.unchanged()
        tf.apply(text=f"{word} in the bucket")

    moved = agent.call("migrate", "--yes", "bucket", "back", timeout=90)
    assert 'backend "remote"' in moved.out and 'prefix' in moved.out and TFE_TOKEN not in moved.out
    assert sorted(new.workspaces) == [f"net-{w}" for w in words]
    assert all(new.body(f"net-{w}") == bucket.get(f"env:/{w}/net.tfstate") for w in words)
    assert new.locks() == {} and bucket.locks() == []
    for word, tf in projects.items():
        tf.point_at(new.backend("remote", HOST, token=False, prefix="net-"))
        workspace(tf, new, word)
        tf.init("-reconfigure")
        assert tf.unchanged()
        tf.apply(text=f"{word} is back")
        assert serial_of(new.body(f"net-{word}")) == 3


def test_the_block_to_paste(fleet, terraform, kind):
    """What migrate prints is what terraform takes, apart from the token."""
    before = terraform("before", ("local", {"path": str(fleet.folder.path("prod.tfstate"))}))
    before.init()
    before.apply()
    serial = serial_of(fleet.folder.get("prod.tfstate"))
    fleet.add("tfc", kind, create=True)
    moved = fleet.agent.call("migrate", "--yes", "folder:prod.tfstate", "tfc")
    block = moved.out[moved.out.index("terraform {"):moved.out.index("\n}\n") + 3]
    assert f"# token: terraform login {HOST}\n" in block
    (before.folder / "backend.tf").write_text(block)
    (before.folder / "terraformrc").write_text(fleet.server.cli_config(HOST))
    assert "  terraform init -reconfigure\n" in moved.out or "  rm -f .terraform/terraform.tfstate\n  terraform init\n" in moved.out
    if kind == "cloud":
        (before.folder / ".terraform/terraform.tfstate").unlink()
    before.init(*(["-reconfigure"] if kind == "remote" else []))
    assert before.unchanged()
    before.apply(text="there")
    assert fleet.server.serials("prod") == [serial, serial + 1]


@pytest.mark.deadline(120)
def test_workspaces_of_terraform(fleet, terraform):
    """Made, written, selected and deleted by terraform while the agent replicates what comes of it."""
    server = fleet.server
    server.add("net-prod")
    fleet.source("remote", {"prefix": "net-"})
    fleet.agent.start()
    tf = terraform("tf", server.backend("remote", HOST, token=False, prefix="net-"))
    workspace(tf, server, "prod")
    tf.init()
    tf.apply(text="of prod")
    eventually(lambda: fleet.copy("prod") == server.body("net-prod"))
    tf.call("workspace", "new", "dev")
    tf.apply(text="of dev", items=2)
    eventually(lambda: fleet.copy("dev") == server.body("net-dev"))
    tf.call("destroy", "-no-color", "-input=false", "-auto-approve")
    eventually(lambda: fleet.copy("dev") == server.body("net-dev"))
    tf.call("workspace", "select", "prod")
    tf.call("workspace", "delete", "dev")
    assert "net-dev" not in server.workspaces
    eventually(lambda: "gone" in fleet.agent.states("live")["dev"]["flags"])
    assert fleet.copy("dev") is not None                        # its replica stays
    tf.apply(text="again")
    eventually(lambda: fleet.copy("prod") == server.body("net-prod"))
    assert fleet.agent.status()["verdict"] == "ok"
    fleet.agent.stop()
