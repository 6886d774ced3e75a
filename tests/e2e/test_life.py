# SPDX-License-Identifier: MIT
"""The life of a state under real terraform, on every kind of place, while the running agent replicates what comes of it."""
import json
import signal

import pytest

from agent import eventually
from conftest import BARE, PLACES, PLATFORMS
from states import serial_of

NAME = "net/prod.tfstate"
LOCKS_OUTLIVE_THEIR_PROCESS = [*BARE, "s3", "s3-table", "gcs", "azurerm"]


def project(terraform, place, name):
    kind, args, *nested = place.terraform(NAME if place.kind not in PLATFORMS else of_default(place))
    if place.kind == "local":
        args |= {"workspace_dir": str(place.folder / "spaces")}
    tf = terraform(name, (kind, args, *nested), env=getattr(place, "env", None), cli=getattr(place, "cli", ""))
    tf.init()
    return tf


def of_workspace(place, workspace):
    return {"local": f"spaces/{workspace}/terraform.tfstate", "gcs": f"net/{workspace}.tfstate",
            "azurerm": f"{NAME}env:{workspace}"}.get(place.kind, f"env:/{workspace}/{NAME}")


def of_default(place):
    """Cloud Storage takes the prefix alone, and names states by their workspace."""
    return of_workspace(place, "default") if place.kind == "gcs" else "prod" if place.kind in PLATFORMS else NAME


@pytest.mark.deadline(150)
@pytest.mark.parametrize("kind", [*PLACES, *PLATFORMS])
def test_life(agent, places, terraform, workdir, cell, kind):
    cell("terraform's life on", kind, "replicated", "ok")
    live, folder = places(kind), places("local")
    live.add(agent, "live", **({"states": [NAME]} if kind == "http" else {}))
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    if kind in PLATFORMS:
        live.prepare(of_default(live))
    agent.start()

    main = of_default(live)

    def replica(name):
        return name if name.endswith(".tfstate") else f"{name}.tfstate"

    def arrives(name=main):
        eventually(lambda: live.get(name) is not None and folder.get(replica(name)) == live.get(name), what=f"{name} is replicated")
        return serial_of(folder.get(replica(name)))

    one = project(terraform, live, "one")
    one.apply(text="first", items=3)
    seen = [arrives()]
    one.apply(text="second")
    assert one.unchanged()
    seen.append(arrives())
    one.apply(items=1)
    seen.append(arrives())

    if kind not in BARE:                                # terraform's http backend has no workspaces
        one.call("workspace", "new", "dev")
        one.apply(text="of dev", items=2)
        arrives(of_workspace(live, "dev"))
        one.call("workspace", "select", "default")
        assert "dev" in one.call("workspace", "list").out
    assert one.pull()["serial"] == seen[-1]

    two = project(terraform, live, "two")
    gate = workdir / "gate"
    run = one.hold(gate, text="held")                   # a real holder, and somebody who wants it too
    refused = two.plan(ok=(1,))
    assert "Error acquiring the state lock" in refused.out
    if kind not in ("http", "gitlab"):                  # whose protocol shows no lock
        shown = agent.json("locks")["locks"]
        assert [(k["backend"], k["name"]) for k in shown] == [("live", main)]
    one.release(gate)
    assert run.done().code == 0
    seen.append(arrives())
    one.apply(text="let go")
    seen.append(arrives())

    run = one.hold(workdir / "gate-2", text="killed")
    run.process.send_signal(signal.SIGKILL)
    run.process.wait()
    (workdir / "gate-2").touch()                        # its provisioner ends too
    if kind in LOCKS_OUTLIVE_THEIR_PROCESS:
        two.plan(ok=(1,))
        if kind in ("http", "gitlab"):
            left = json.loads(live.server.state(main).lock)["ID"]
            agent.call("unlock", "--yes", f"live:{main}", left)
        elif kind == "harness":                         # terraform's force-unlock has no body, and is refused
            agent.call("unlock", "--yes", f"live:{main}", agent.json("locks")["locks"][0]["id"])
        else:
            left = agent.json("locks")["locks"][0]["id"]
            two.call("force-unlock", "-force", left)
    eventually(lambda: list(live.locks()) == [] or kind == "local")
    two.apply(text="after the death", items=2)
    seen.append(arrives())

    if kind not in BARE:
        two.call("workspace", "select", "dev")
        two.call("destroy", "-no-color", "-input=false", "-auto-approve")
        arrives(of_workspace(live, "dev"))
        two.call("workspace", "select", "default")
        two.call("workspace", "delete", "dev")
        eventually(lambda: live.get(of_workspace(live, "dev")) is None)
        eventually(lambda: "gone" in agent.states("live")[of_workspace(live, "dev")]["flags"], what="the workspace is seen as gone")
        assert folder.get(replica(of_workspace(live, "dev"))) is not None    # its replica stays
    two.call("destroy", "-no-color", "-input=false", "-auto-approve")
    seen.append(arrives())
    eventually(lambda: agent.status()["verdict"] == "ok")
    agent.stop()
    assert seen == sorted(set(seen))
    versions = [v["serial"] for v in reversed(agent.versions(f"live:{main}"))]
    assert versions == sorted(versions) and set(seen) <= set(versions)
    assert agent.json("check")["ok"]
