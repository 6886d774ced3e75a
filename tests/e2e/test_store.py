# SPDX-License-Identifier: MIT
"""The store as a file on a disk: private, encrypted when asked, bound to its host."""
import secrets
import shutil
import stat
import subprocess

from states import CANARY, lineage, state

NAME = "net/prod.tfstate"


def files(agent):
    return [p for p in (agent.folder / "store").rglob("*") if p.is_file()]


def replicating(agent, places):
    live, dr = places("local"), places("local")
    live.add(agent, "live")
    dr.add(agent, "dr")
    agent.replicate("out", "live", "dr")
    line = lineage()
    for serial in (1, 2):
        live.put(NAME, state(serial, line))
        agent.sync()
    return live, dr, line


def test_store_is_private(agent, places):
    replicating(agent, places)
    assert stat.S_IMODE((agent.folder / "store").stat().st_mode) == 0o700
    assert files(agent)
    for path in files(agent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_encrypted_store_shows_nothing(agents, places):
    agent = agents()
    agent.blocks[0].args["encryption_key"] = secrets.token_hex(32)
    live, _, line = replicating(agent, places)
    for path in files(agent):
        content = path.read_bytes()
        for word in (CANARY, line, NAME, "terraform_data"):
            assert word.encode() not in content, f"{word} is readable in {path.name}"
    assert agent.cat(f"live:{NAME}") == live.get(NAME)
    assert agent.json("check")["ok"]
    agent.blocks[0].args["encryption_key"] = secrets.token_hex(32)
    refused = agent.call("list", code=None)
    assert refused.code not in (0, 2) and "key" in refused.err
    assert agent.call("cat", f"live:{NAME}", code=None, text=False).out == b""


def test_copied_store_waits_to_be_adopted(agents, places):
    agent = agents()
    live, dr, line = replicating(agent, places)
    shutil.copytree(agent.folder / "store", agent.folder / "copy")
    before = dr.get(NAME)
    agent.blocks[0].args |= {"store": str(agent.folder / "copy"), "name": "another-host"}
    live.put(NAME, state(3, line))
    agent.call("sync", code=None)
    assert dr.get(NAME) == before, "a copied store writes nothing"
    assert agent.replica("live", NAME, "dr")["status"] == "paused"
    said = agent.call("status", code=1).out.splitlines()
    assert said[1].startswith("  the store came from another host"), said
    asked = agent.call("adopt", code=2)
    assert "--yes" in asked.err
    agent.call("adopt", "--yes")
    agent.sync()
    assert dr.get(NAME) == live.get(NAME)


def test_copy_beside_a_living_original(agents, places):
    """Same host, same name: it must not act as the agent that it is a copy of."""
    agent = agents()
    live, dr, line = replicating(agent, places)
    original = agent.folder / "store"
    subprocess.run(["cp", "-a", original, agent.folder / "copy"], check=True)
    before = dr.get(NAME)
    agent.blocks[0].args["store"] = str(agent.folder / "copy")
    live.put(NAME, state(3, line))
    agent.call("sync", code=None)
    assert dr.get(NAME) == before, "a copied store writes nothing"
    said = agent.call("status", code=1).out
    assert "or is a copy" in said and "next: stateferry adopt" in said, said
    agent.blocks[0].args["store"] = str(original)
    agent.sync()
    assert dr.get(NAME) == live.get(NAME), "the original goes on"
    agent.blocks[0].args["store"] = str(agent.folder / "copy")
    agent.call("adopt", "--yes")
    live.put(NAME, state(4, line))
    agent.sync()
    assert dr.get(NAME) == live.get(NAME)
    agent.blocks[0].args["store"] = str(original)
    agent.sync()


def test_no_store_is_said_not_shown_as_empty(agent):
    result = agent.call("list", code=1)
    assert str(agent.folder / "store") in result.err
    assert result.out == ""
