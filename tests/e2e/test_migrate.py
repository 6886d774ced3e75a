# SPDX-License-Identifier: MIT
"""Moving states to another backend: what is printed is pasted into terraform, which then sees nothing to do."""
import time

import pytest

from agent import eventually
from conftest import HTTP_PASSWORD
from hcl import Block
from places import replicating
from servers import Azurite, FakeGcs, S3Server
from states import lineage, serial_of, state

KINDS = ["local", "s3", "gcs", "azurerm", "http"]
# What the printed block leaves to variables.
SECRETS = {"AWS_ACCESS_KEY_ID": S3Server.access_key, "AWS_SECRET_ACCESS_KEY": S3Server.secret_key,
           "GOOGLE_OAUTH_ACCESS_TOKEN": FakeGcs.token, "ARM_ACCESS_KEY": Azurite.key, "TF_HTTP_PASSWORD": HTTP_PASSWORD}
FOREIGN = (b'{"ID":"9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50","Operation":"OperationTypeApply","Info":"","Who":"ann@desk",'
           b'"Version":"1.11.4","Created":"2026-11-22T00:44:48.913724782Z","Path":""}')


def named(kind, path, workspace="default"):
    """What terraform calls it there."""
    other = workspace != "default"
    return {"s3": f"env:/{workspace}/{path}.tfstate" if other else f"{path}.tfstate",
            "gcs": f"{path}/{workspace}.tfstate",
            "azurerm": f"{path}.tfstate" + (f"env:{workspace}" if other else ""),
            "local": f"{path}.tfstate.d/{workspace}/terraform.tfstate" if other else f"{path}.tfstate"}.get(kind, path)


def terraform_of(place, path):
    """Terraform's block for that place."""
    kind, args, *nested = place.terraform(named(place.kind, path))
    return kind, args | ({"workspace_dir": str(place.folder / f"{path}.tfstate.d")} if kind == "local" else {}), *nested


def paste(tf, doc, place):
    """The printed block instead of the one that is there, then what is said to come next. fake-gcs-server gives an object's bytes to
    terraform under its own port only."""
    [block] = doc["blocks"]
    hcl = block["hcl"]
    if place.kind == "gcs":
        hcl = hcl.replace(f":{place.front.port}/", f":{place.server.port}/")
    if place.kind == "remote":
        hcl = hcl.replace(f"127.0.0.1:{place.server.port}", place.host)
    (tf.folder / "backend.tf").write_text(hcl)
    for command in doc["commands"]:
        program, *args = command.split()
        if program == "rm":
            (tf.folder / args[-1]).unlink(missing_ok=True)
            continue
        assert program == "terraform"
        tf.call(*args, "-no-color", "-input=false", *(tf.arguments({}) if args == ["plan"] else []))


def at(tf, workspace, **changed):
    tf.call("workspace", "select", "-no-color", workspace)
    tf.vars |= changed
    return tf


@pytest.fixture
def project(agent, places, terraform):
    """project(from, to, workspaces): applied there by terraform; what the agent knows of both places."""
    def make(from_, to, path="net/app", workspaces=True, **more):
        live, dr = places(from_), places(to)
        for place, label, args in ((live, "live", {}), (dr, "dr", more)):
            place.add(agent, label, **({"states": [path]} if place.kind == "http" else {}), **args)
            if place.kind in ("harness", "remote", "cloud"):
                place.prepare(path)
        tf = terraform("tf", terraform_of(live, path), env=SECRETS | getattr(live, "env", {}) | getattr(dr, "env", {}),
                       cli=getattr(live, "cli", "") or getattr(dr, "cli", ""))
        tf.init()
        tf.apply(items=3)
        if workspaces:
            tf.call("workspace", "new", "-no-color", "staging")
            tf.apply(items=1, text="staging")
            at(tf, "default", items=3, text="first")
        return live, dr, tf
    return make


PAIRS = [pytest.param(f, t, id=f"{f}:{t}") for f in KINDS for t in KINDS if f != t]
# Each of these both ways, for all come back.
PAIRS += [pytest.param(f, t, id=f"{f}:{t}") for f, t in (("harness", "s3"), ("gcs", "harness"), ("local", "gitlab"), ("s3", "remote"),
                                                         ("gcs", "cloud"), ("cloud", "azurerm"), ("gitlab", "remote"))]
ONE_STATE = {"http", "harness", "gitlab", "remote", "cloud"}    # of one configuration, without the workspaces of others


@pytest.mark.deadline(150)
@pytest.mark.parametrize("from_,to", PAIRS)
def test_there_and_back(agent, project, cell, from_, to):
    cell("migrate from \\ to", from_, to, "ok")
    http = ONE_STATE & {from_, to}
    path = "app" if http else "net/app"
    live, dr, tf = project(from_, to, path, not http)
    spaces = ["default"] if http else ["default", "staging"]
    old = {w: live.get(named(from_, path, w)) for w in spaces}
    plan = agent.json("migrate", "live", "dr", "--dry-run")
    assert sorted(i["to"] for i in plan["plan"]) == sorted("dr:" + named(to, path, w) for w in spaces)
    assert [dr.get(named(to, path, w)) for w in spaces] == [None] * len(spaces)

    doc = agent.json("migrate", "live", "dr", "--yes")
    assert sorted(doc["blocks"][0]["workspaces"]) == spaces
    for w in spaces:
        assert dr.get(named(to, path, w)) == old[w] == live.get(named(from_, path, w)), w
    assert list(live.locks()) == list(dr.locks()) == []
    paste(tf, doc, dr)
    assert tf.unchanged()
    if not http:
        assert at(tf, "staging", items=1, text="staging").unchanged()
        at(tf, "default", items=3, text="first")
    tf.apply(items=4)
    assert serial_of(dr.get(named(to, path))) > serial_of(old["default"])
    assert live.get(named(from_, path)) == old["default"], "the source is left in place"
    again = {i["to"]: i["error"] for i in agent.json("migrate", "live", "dr", "--yes", code=13 if http else 3)["result"]}
    assert "the target is newer" in again["dr:" + named(to, path)]["message"]

    doc = agent.json("migrate", "dr", "live", "--yes")
    assert live.get(named(from_, path)) == dr.get(named(to, path))
    paste(tf, doc, live)
    assert tf.unchanged()
    tf.apply(items=2)
    assert serial_of(live.get(named(from_, path))) > serial_of(dr.get(named(to, path)))
    assert list(live.locks()) == list(dr.locks()) == []
    assert agent.json("check")["ok"]


def test_the_block_of_a_compatible_store(agent, places, terraform):
    """Of what terraform would ask Amazon our block needs to say nothing; the one that is printed keeps terraform from it."""
    live, dr = places("local"), places("s3")
    tf = terraform("tf", terraform_of(live, "app"), env=SECRETS)
    tf.init()
    tf.apply()
    live.add(agent, "live")
    agent.env |= {k: v for k, v in SECRETS.items() if k.startswith("AWS_")}
    agent.backend("s3", "dr", bucket=dr.bucket.name, region=dr.bucket.server.region, endpoints={"s3": f"http://127.0.0.1:{dr.front.port}"},
                  use_lockfile=True)
    paste(tf, agent.json("migrate", "live", "dr", "--yes"), dr)
    assert tf.unchanged()
    assert dr.get("app.tfstate") == live.get("app.tfstate")


def test_one_state_to_a_name_of_its_own(agent, project):
    live, dr, tf = project("s3", "gcs", workspaces=False)
    doc = agent.json("migrate", "live:net/app.tfstate", "dr:a/b/prod.tfstate", "--yes")
    assert doc["blocks"][0]["workspaces"] == ["prod"]
    tf.call("workspace", "new", "-no-color", "prod")
    paste(tf, doc, dr)
    assert tf.unchanged()
    assert dr.get("a/b/prod.tfstate") == live.get("net/app.tfstate")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["source", "target"])
def test_somebody_applies(agent, places, kind, side):
    """A lock of another one on either side: nothing is done, and it stays."""
    live, dr = places(kind if side == "source" else "s3"), places(kind if side == "target" else "s3")
    live.add(agent, "live", **({"states": ["app"]} if live.kind == "http" else {}))
    dr.add(agent, "dr")
    here, there = named(live.kind, "app"), named(dr.kind, "app")
    line = lineage()
    live.put(here, state(2, line))
    dr.put(there, state(1, line))
    held, name = (live, here) if side == "source" else (dr, there)
    held.lock(name, FOREIGN)
    error = agent.json("migrate", f"live:{here}", f"dr:{there}", "--yes", code=11)["error"]
    assert "ann@desk" in error["message"] and "wait for that run" in error["hint"], error
    assert serial_of(dr.get(there)) == 1
    other = dr if held is live else live
    assert len(held.locks()) == 1 and list(other.locks()) == []
    held.unlock(name)
    agent.call("migrate", f"live:{here}", f"dr:{there}", "--yes")
    assert dr.get(there) == live.get(here)
    assert list(live.locks()) == list(dr.locks()) == []


def test_terraform_applies_meanwhile(agent, project, workdir):
    """The lock that the agent takes is the one that terraform waits for, and the other way round."""
    live, dr, tf = project("s3", "local", workspaces=False)
    gate = workdir / "gate"
    run = tf.hold(gate, items=4)
    error = agent.json("migrate", "live:net/app.tfstate", "dr", "--yes", code=11)["error"]
    assert "terraform force-unlock" in error["hint"], error
    tf.release(gate)
    assert run.done().code == 0
    doc = agent.json("migrate", "live:net/app.tfstate", "dr", "--yes")
    tf.vars |= {"gate": gate}
    paste(tf, doc, dr)
    assert tf.unchanged()


@pytest.mark.parametrize("kind", ["s3", "gcs", "local"])
def test_what_does_not_travel(agent, places, kind):
    live, dr = places("s3"), places(kind)
    live.add(agent, "live")
    dr.add(agent, "dr")
    line = lineage()
    good, there = state(5, line, resources=8), named(kind, "app")
    go = ("migrate", "live:app.tfstate", f"dr:{there}", "--yes")
    live.put("app.tfstate", good[:-100])
    assert "damaged" in agent.json(*go, code=13)["error"]["message"]
    live.put("app.tfstate", b"")
    assert "empty" in agent.json(*go, code=13)["error"]["message"]
    assert dr.get(there) is None and live.locks() == []
    live.put("app.tfstate", good)
    for other, why in ((state(6, line), "newer"), (state(5, line, text="other"), "different content"),
                       (state(1, lineage()), "another lineage"), (b"<html>", "no state")):
        dr.put(there, other)
        error = agent.json(*go, code=13)["error"]
        assert why in error["message"] and f"restore live:app.tfstate@2 --to dr:{there}" in error["hint"], error
        assert dr.get(there) == other and list(dr.locks()) == [] and live.locks() == []
    dr.put(there, state(4, line))
    agent.call(*go)
    assert dr.get(there) == good
    kept = {v["serial"] for v in agent.versions("live:app.tfstate")}
    assert {4, 5, 6, 1} <= kept, "what was there is a version"


def test_the_way_out_of_a_conflict(agent, places):
    """What the hint says to do, done."""
    live, dr = places("s3"), places("local")
    live.add(agent, "live")
    dr.add(agent, "dr")
    live.put("app.tfstate", state(5, lineage()))
    dr.put("app.tfstate", state(9, lineage()))
    hint = agent.json("migrate", "live", "dr", "--yes", code=13)["result"][0]["error"]["hint"]
    command = hint[hint.index("stateferry restore"):].split()
    agent.call(*command[1:], "--yes")
    assert serial_of(dr.get("app.tfstate")) == 10
    assert [v["serial"] for v in agent.versions("live:app.tfstate")].count(9) == 1


def test_a_source_without_a_lock(agent, places):
    live, dr = places("s3"), places("local")
    agent.backend("s3", "live", live.bucket.backend(port=live.front.port) | {"use_lockfile": False})
    dr.add(agent, "dr")
    live.put("app.tfstate", state(1, lineage()))
    assert agent.json("migrate", "live", "dr", "--dry-run")["plan"][0]["source_locked"] is False
    said = agent.call("migrate", "live", "dr", "--yes").out
    assert "the source cannot be locked" in said
    assert dr.get("app.tfstate") == live.get("app.tfstate")


KILLED = [("live", "lock"), ("live", "read"), ("dr", "lock"), ("dr", "read"), ("dr", "write"), ("dr", "unlock"), ("live", "unlock")]


@pytest.mark.parametrize("kind", ["s3", "gcs", "http"])
@pytest.mark.parametrize("side,step", KILLED)
@pytest.mark.parametrize("then", ["applied", "lost"])
def test_killed_in_the_middle(agent, places, kind, side, step, then):
    """kill -9 while a request is under way, which arrives after all, or never; then sync settles what was left, or the next try."""
    live, dr = places("s3"), places(kind)
    live.add(agent, "live")
    dr.add(agent, "dr")
    there = named(kind, "app")
    live.put("app.tfstate", state(3, lineage()))
    place, name = (live, "app.tfstate") if side == "live" else (dr, there)
    rule = getattr(place, "on_" + step)(name, hold=True, drop="after" if then == "applied" else "before")
    process = agent.start_command("migrate", "live:app.tfstate", f"dr:{there}", "--yes")
    rule.wait()
    process.kill()
    process.wait()
    rule.release()
    time.sleep(0.2)
    if kind != "gcs":
        agent.sync()
        assert list(live.locks()) == list(dr.locks()) == []
    agent.call("migrate", "live:app.tfstate", f"dr:{there}", "--yes")
    assert dr.get(there) == live.get("app.tfstate")
    assert list(live.locks()) == list(dr.locks()) == []
    assert agent.json("check")["ok"]


def test_interrupted(agent, places):
    """A signal: both locks are given back at once."""
    live, dr = places("s3"), places("s3")
    live.add(agent, "live")
    dr.add(agent, "dr")
    live.put("app.tfstate", state(3, lineage()))
    rule = dr.on_read("app.tfstate", hold=True, nth=2)
    process = agent.start_command("migrate", "live", "dr", "--yes")
    rule.wait()
    assert len(live.locks()) == len(dr.locks()) == 1
    process.terminate()
    time.sleep(0.2)
    rule.release()
    assert process.wait(15) == 130
    assert live.locks() == dr.locks() == [] and dr.get("app.tfstate") is None
    agent.call("migrate", "live", "dr", "--yes")


def test_asked_of_a_running_agent(agent, places):
    live, dr, _ = replicating(agent, places, "s3", "app.tfstate")
    new = places("gcs")
    new.add(agent, "new")
    agent.start()
    doc = agent.json("migrate", "live:app.tfstate", "new", "--yes")
    assert doc["edges_from_source"] == ["out"]
    assert new.get("app/default.tfstate") == live.get("app.tfstate")
    eventually(lambda: dr.get("app.tfstate") == live.get("app.tfstate"), 20, "the edge goes on")
    agent.stop()
    assert list(new.locks()) == list(live.locks()) == list(dr.locks()) == []


@pytest.mark.deadline(300)
def test_fifty_workspaces_of_terraform_cloud(agent, places, terraform):
    """Out of Terraform Cloud into S3 and back, with applies by terraform before, between and after."""
    live, dr = places("remote"), places("s3")
    spaces = [f"w{i:02}" for i in range(50)]
    live.prepare(*spaces)
    live.add(agent, "live")
    dr.add(agent, "dr")
    tfs = {w: terraform(w, live.terraform(w), cli=live.cli, env=SECRETS) for w in spaces[:2]}
    for w, tf in tfs.items():
        tf.init()
        tf.apply(items=2, text=w)
    for w in spaces[2:]:
        live.put(w, state(1, lineage(), text=w))
    old = {w: live.get(w) for w in spaces}

    def moved(from_, to, written):
        doc = agent.json("migrate", from_, to, "--yes")
        assert len(doc["result"]) == len(doc["blocks"]) == 50 and sum(i["writes"] for i in doc["result"]) == written
        for w, tf in tfs.items():
            [hcl] = [b["hcl"] for b in doc["blocks"] if b["states"] in ([w], [f"{w}.tfstate"])]
            (tf.folder / "backend.tf").write_text(hcl.replace(f"127.0.0.1:{live.server.port}", live.host))
            tf.call("init", "-reconfigure", "-no-color", "-input=false")
            assert tf.unchanged(), w

    moved("live", "dr", 50)
    assert {w: dr.get(f"{w}.tfstate") for w in spaces} == old == {w: live.get(w) for w in spaces}
    tfs["w00"].apply(items=3)
    moved("dr", "live", 1)
    assert live.get("w00") == dr.get("w00.tfstate") != old["w00"]
    for tf in tfs.values():
        tf.apply(items=4)
    assert serial_of(live.get("w01")) > serial_of(old["w01"])
    assert list(live.locks()) == list(dr.locks()) == []


@pytest.mark.deadline(120)
@pytest.mark.parametrize("tags,projects", [({"app": "shop"}, None), (["app"], "web"), (None, "web")],
                         ids=["pairs", "tags of a project", "project"])
def test_workspaces_of_a_cloud_block(agent, places, terraform, tags, projects):
    """Out of a block that selects several, and back into one that makes them so that terraform's own selects them; but those of a project are
    each of a configuration of their own."""
    old, bucket, new = places("cloud"), places("s3"), places("cloud")
    new.host = "new.test"
    selects = ({"tags": tags} if tags else {}) | ({"project": projects} if projects else {})
    for place in (old, new):
        place.server.projects["web"] = "prj-0123456789abcdef"
    for name in ("prod", "test", "other"):
        w = old.server.add(name, *([projects] if projects and name != "other" else []))
        w.tags |= {} if not tags or name == "other" else tags if isinstance(tags, dict) else dict.fromkeys(tags, "")
    tfs = {name: terraform(name, old.server.backend("cloud", old.host, token=False, **selects), env=SECRETS | {"TF_WORKSPACE": name},
                           cli=old.cli + new.cli) for name in ("prod", "test")}
    for name, tf in tfs.items():
        tf.init()
        tf.apply(text=name)
    old.put("other", state(1, lineage()))
    old.add(agent, "old", workspaces=selects)
    bucket.add(agent, "bucket")
    new.add(agent, "new", workspaces=selects, create=True)
    (agent.folder / "home/.terraformrc").write_text(old.cli + new.cli)

    def moved(from_, to, host):
        doc = agent.json("migrate", from_, to, "--yes")
        assert len(doc["blocks"]) == (1 if tags else 2) and sum(len(b["workspaces"]) for b in doc["blocks"]) == 2, doc["blocks"]
        for name, tf in tfs.items():
            [hcl] = [b["hcl"] for b in doc["blocks"] if any(name in s for s in b["states"])]
            tf.env.pop("TF_WORKSPACE", None)
            if tags or host:
                tf.env["TF_WORKSPACE"] = name
            paste(tf, {"blocks": [{"hcl": hcl}], "commands": doc["commands"]}, bucket)
            assert tf.unchanged(), name
            tf.apply(text=f"{name} at {to}")

    moved("old", "bucket", None)
    names = [f"env:/{w}/terraform.tfstate" for w in tfs] if tags else [f"{w}.tfstate" for w in tfs]
    assert sorted(bucket.bucket.keys()) == sorted(names)
    moved("bucket", "new", new.host)
    assert sorted(new.server.workspaces) == ["prod", "test"]
    assert all(serial_of(new.get(w)) == 3 for w in tfs) and new.locks() == old.locks() == []


def test_into_brainboard_and_out_of_it(agent, project):
    """To where the platform looks for an architecture's state: the block is that of its storage."""
    live, dr, tf = project("local", "s3", "app", workspaces=False)
    uuid = lineage()
    agent.blocks.append(Block("backend", "brainboard", "bb", architectures=[uuid], key="{uuid}",
                              blocks=[Block("storage", "s3", **dr.bucket.backend(port=dr.front.port))]))
    doc = agent.json("migrate", "live:app.tfstate", f"bb:{uuid}", "--yes")
    assert dr.get(uuid) == live.get("app.tfstate"), dr.bucket.keys()
    paste(tf, doc, dr)
    assert tf.unchanged()
    tf.apply(items=4)
    assert serial_of(dr.get(uuid)) > serial_of(live.get("app.tfstate")) and dr.locks() == []
    assert "newer" in agent.json("migrate", "live:app.tfstate", f"bb:{uuid}", "--yes", code=13)["error"]["message"]
    assert "UUIDs" in agent.json("migrate", "live:app.tfstate", "bb", "--yes", code=1)["error"]["message"]
    paste(tf, agent.json("migrate", f"bb:{uuid}", "live:app.tfstate", "--yes"), live)
    assert tf.unchanged() and live.get("app.tfstate") == dr.get(uuid)


@pytest.mark.deadline(300)
def test_fifty_workspaces(agent, project):
    """Out of S3 into Google's storage and back, with applies by terraform before, between and after."""
    live, dr, tf = project("s3", "gcs")
    line, spaces = lineage(), [f"w{i:02}" for i in range(48)]
    for w in spaces:
        live.put(named("s3", "net/app", w), state(1, line, text=w))
    doc = agent.json("migrate", "live", "dr", "--yes")
    assert len(doc["result"]) == 50 and len(doc["blocks"]) == 1 and all(i["writes"] for i in doc["result"])
    assert sorted(doc["blocks"][0]["workspaces"]) == sorted(["default", "staging", *spaces])
    paste(tf, doc, dr)
    assert tf.unchanged() and at(tf, "staging", items=1, text="staging").unchanged()
    tf.apply(items=2)
    listed = tf.call("workspace", "list", "-no-color").out.replace("*", " ").split()
    assert sorted(listed) == sorted(["default", "staging", *spaces])
    doc = agent.json("migrate", "dr", "live", "--yes")
    assert sorted(i["state"] for i in doc["result"] if i["writes"]) == ["dr:net/app/staging.tfstate"]
    paste(tf, doc, live)
    assert tf.unchanged()
    tf.apply(items=3)
    assert list(live.locks()) == list(dr.locks()) == []
    assert all(live.get(named("s3", "net/app", w)) == dr.get(named("gcs", "net/app", w)) for w in spaces)


@pytest.mark.parametrize("kind,place", [("harness", "no workspace"), ("remote", "no workspace"), ("cloud", "no workspace"), ("gitlab", None)])
def test_a_platform_has_no_place_for_it(agent, places, kind, place):
    """A dry run says what the move would say, and of a name that cannot be what to do here."""
    src, dst = places("local"), places(kind)
    src.add(agent, "src")
    dst.add(agent, "dst")
    src.put("prod.tfstate", state(1, lineage()))
    for how in ("--dry-run", "--yes"):
        said = agent.call("migrate", "src:prod.tfstate", "dst", how, code=None)
        assert (place in said.err and said.code in (1, 10)) if place else said.code == 0, said.err
    assert place is None or dst.locks() == []
    src.put("net/a b/c.tfstate", state(1, lineage()))
    said = agent.call("migrate", "src:net/a b/c.tfstate", "dst", "--dry-run", code=1).err
    assert "give it another name: stateferry migrate src:" in said, said


def test_wrong_input(agent, places):
    live, dr = places("local"), places("local")
    live.add(agent, "live")
    dr.add(agent, "dr")
    live.put("app.tfstate", state(1, lineage()))
    for args, code, said in ((("live", "nope"), 2, 'no backend is called "nope"'), (("live", "live"), 2, "one backend"),
                             (("live", "dr:x.tfstate"), 2, "a whole backend"), (("live:gone.tfstate", "dr"), 1, "no such state"),
                             (("dr", "live"), 1, "holds no state"), (("live:../x", "dr"), 2, "..")):
        error = agent.json("migrate", *args, "--yes", code=code)["error"]
        assert said in error["message"] and (error["hint"] or ".." in said or "holds no" in said), (args, error)
    assert "--yes" in agent.call("migrate", "live", "dr", code=2).err
    assert "did you mean" in agent.call("migrate", "live", "dr", "--dryrun", code=2).err
    assert dr.get("app.tfstate") is None
