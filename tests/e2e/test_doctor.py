# SPDX-License-Identifier: MIT
"""doctor and config check --probe, beside real servers: what is wrong is one line with the next step, and no secret."""
import pytest
from conftest import BARE, PLACES, PLATFORMS
from servers import S3Server
from states import lineage, state

NAME = "app/default.tfstate"


def checks(doc):
    return {c["name"]: c for c in doc["checks"]}


@pytest.mark.parametrize("kind", [*PLACES, *PLATFORMS])
def test_a_healthy_place(kind, places, agent):
    """Every place is reached, its locks read and its clock compared; nothing is written."""
    place = places(kind)
    name = "app" if kind in PLATFORMS else NAME
    place.put(name, state(1, lineage()))
    place.add(agent, "live", **({"states": [NAME]} if kind == "http" else {}))
    agent.backend("local", "dr", {"dir": str(agent.folder / "dr")}, create=True)
    agent.replicate("out", "live", ["dr"])
    agent.sync()
    said = checks(agent.json("doctor"))
    assert said["reach live"]["status"] == "ok" and said["states"]["status"] == "ok"
    assert ("clock live" in said) == (kind != "local")
    if kind in ("s3", "s3-table", "gcs", "azurerm", "harness"):
        assert "credentials from" in said["reach live"]["message"]
    probed = agent.json("config", "check", "--probe")["backends"][0]
    names = {c["name"]: c["ok"] for c in probed["checks"]}
    assert all(names.values()) and {"reach", "auth", "list", "read"} <= names.keys()
    assert ("lock" in names) == (kind in ("harness", "remote") or kind not in BARE)
    assert not place.locks() and not place.writes(name)


def test_a_missing_lock_table(places, agent):
    place = places("s3-table")
    place.table = "no-such-table"
    place.add(agent, "dr")
    probe = agent.json("config", "check", "--probe", code=(1, 10, 12))["backends"][0]
    failed = [c for c in probe["checks"] if not c["ok"]]
    assert [c["name"] for c in failed] == ["lock"] and "no-such-table" in failed[0]["detail"]
    assert "no-such-table" in probe["error"]["message"]


def test_wrong_credentials(bucket, agent):
    """A refusal is told with its code and where the credentials came from, never with what they are."""
    args = bucket.backend(secret_key="x" + S3Server.secret_key[1:])
    agent.backend("s3", "live", args)
    agent.backend("local", "dr", {"dir": str(agent.folder / "dr")}, create=True)
    agent.replicate("out", "live", ["dr"])
    said = agent.json("doctor", code=12)
    assert checks(said)["reach live"]["status"] == "fail" and not said["ok"]
    text = agent.call("doctor", code=12)
    assert args["secret_key"] not in text.out + text.err


def test_an_unproven_target(bucket, places, agent):
    """What is only promised is told until a probe has shown it."""
    places("local").add(agent, "live")
    agent.backend("s3", "dr", bucket.backend() | {"use_lockfile": False})
    agent.replicate("out", "live", ["dr"])
    agent.sync(code=None)
    before = checks(agent.json("doctor", code=3))["probe dr"]
    assert before["status"] == "warn" and before["hint"] == "stateferry probe dr"
    agent.call("probe", "dr")
    after = checks(agent.json("doctor", code=(0, 3)))["probe dr"]
    assert after["status"] == "ok" and "seen 20" in after["message"]


@pytest.mark.parametrize("seconds,status,words", [(3 * 3600, "fail", "behind the server's"), (-3 * 3600, "fail", "before the server's"),
                                                  (60, "ok", "behind the server's"), (0, "ok", "within")])
@pytest.mark.parametrize("kind", [k for k in PLACES if k != "local"])
def test_a_clock_that_is_off(kind, places, proxy, agent, seconds, status, words):
    """How far, on which side, and what to do; a minute is said, and no failure. Nothing is written to find out."""
    place = places(kind)
    place.put(NAME, state(1, lineage()))
    servers = [place.server if kind == "http" else place.front]
    if kind == "s3-table":
        place.at = proxy(place.dynamo)
        servers.append(place.at)
    place.add(agent, "live", **({"states": [NAME]} if kind == "http" else {}))
    agent.backend("local", "dr", {"dir": str(agent.folder / "dr")}, create=True)
    agent.replicate("out", "live", ["dr"])
    agent.sync()
    for server in servers:
        server.skew = seconds
    clock = checks(agent.json("doctor", code=12 if status == "fail" else 0))["clock live"]
    assert clock["status"] == status and words in clock["message"], clock
    assert ("NTP" in clock.get("hint", "")) == (status == "fail")
    assert any(t in clock["message"] for t in {0: ("within",), 60: ("59 s", "60 s", "61 s"), 3 * 3600: ("3 h",)}[abs(seconds)]), clock
    probe = agent.json("config", "check", "--probe", code=None)["backends"][0]
    assert {c["name"]: c["ok"] for c in probe["checks"]}["clock"] == (status == "ok")
    assert not place.writes(NAME) and not place.locks()
