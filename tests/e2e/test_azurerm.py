# SPDX-License-Identifier: MIT
"""What is particular about Azure Blob Storage, on azurite: signatures under Azure's own names, shared access signatures, what a container
or a right lacks, snapshots, and who breaks whose lease."""
import base64
import json

import pytest

from azure_client import AzureError
from states import lineage, serial_of, state

NAME = "net/prod.tfstate"


@pytest.fixture
def place(places):
    return places("azurerm")


def by_token(place, agent, label, permissions="racwdl", **more):
    args = place.server.backend(place.container, port=place.front.port) | {"sas_token": place.client.sas(permissions)}
    del args["access_key"]
    agent.backend("azurerm", label, args, **more)
    return args["sas_token"].partition("sig=")[2]


def to_folder(agent, places):
    folder = places("local")
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    return folder


def from_folder(agent, places):
    live = places("local")
    live.add(agent, "live")
    agent.replicate("out", "live", "dr")
    live.put(NAME, state(1, lineage()))
    return live


def test_token_reads_and_writes(agent, places, place):
    signature = by_token(place, agent, "dr")
    live = from_folder(agent, places)
    agent.sync()
    assert place.get(NAME) == live.get(NAME) and place.locks() == []
    agent.check_secrets([signature])


def test_token_without_write(agent, places, place):
    """Said with what a token needs."""
    signature = by_token(place, agent, "dr", "rl")
    from_folder(agent, places)
    problem = agent.sync(code=None)["problems"][0]
    assert "not allowed" in problem["message"] and "permissions of a SAS" in problem["hint"], problem
    assert place.get(NAME) is None and place.locks() == []
    agent.check_secrets([signature])


def test_container_is_made(agent, places, place):
    args = place.server.backend(f"{place.container}-made", port=place.front.port)
    agent.backend("azurerm", "dr", args, create=True)
    live = from_folder(agent, places)
    agent.sync()
    assert place.client.get(args["container_name"], NAME) == live.get(NAME)


def test_snapshots(agent, places, place):
    """Of what is replaced, and readable as terraform's are."""
    place.add(agent, "dr", snapshot=True)
    live = from_folder(agent, places)
    agent.sync()
    first, line = live.get(NAME), json.loads(live.get(NAME))["lineage"]
    live.put(NAME, state(2, line))
    agent.sync()
    made = place.client.snapshots(place.container, NAME)
    assert len(made) == 1 and place.client.get(place.container, NAME, snapshot=made[0]) == first
    assert serial_of(place.get(NAME)) == 2


def test_metadata_of_others_stays(agent, places, place):
    place.add(agent, "dr")
    live = from_folder(agent, places)
    agent.sync()
    place.client.describe(place.container, NAME, x_ms_meta_owner="ann")
    live.put(NAME, state(2, json.loads(live.get(NAME))["lineage"]))
    agent.sync()
    head = place.client.head(place.container, NAME)
    assert serial_of(place.get(NAME)) == 2 and head["x-ms-meta-owner"] == "ann" and "x-ms-meta-terraformlockid" not in head


def test_a_lease_without_words(agent, places, place):
    """Terraform cannot break it; a person can, by what "locks" shows."""
    place.add(agent, "live")
    to_folder(agent, places)
    place.put(NAME, state(1, lineage()))
    place.client.lease(place.container, NAME, "acquire", x_ms_lease_duration="-1")
    agent.sync()
    shown = agent.json("locks")["locks"]
    assert [(k["name"], k["id"][:2]) for k in shown] == [(NAME, "0x")]
    [told] = agent.call("locks").out.splitlines()
    assert f"{shown[0]['id']}  by {shown[0]['who']}" in told, "no operation is told, for nobody knows it"
    agent.call("unlock", "--yes", f"live:{NAME}", shown[0]["id"])
    assert place.locks() == []


def test_a_lock_that_is_broken_under_us(agent, places, place):
    """The write is refused by the service, and nothing of the other one's is touched."""
    place.add(agent, "dr")
    live = from_folder(agent, places)
    agent.sync()
    live.put(NAME, state(2, json.loads(live.get(NAME))["lineage"]))
    rule = place.on_write(NAME, hold=True)
    run = agent.start_command("sync")
    rule.wait()
    place.client.lease(place.container, NAME, "break", x_ms_lease_break_period="0")
    theirs = place.client.lease(place.container, NAME, "acquire", x_ms_lease_duration="-1")["x-ms-lease-id"]
    place.rules.clear()
    assert run.wait(30) != 0
    assert serial_of(place.get(NAME)) == 1 and place.locks() == [NAME]
    with pytest.raises(AzureError, match="412"):
        place.client.put(place.container, NAME, b"{}")
    place.client.lease(place.container, NAME, "release", x_ms_lease_id=theirs)
    agent.sync()
    assert serial_of(place.get(NAME)) == 2 and place.locks() == []


def test_what_a_lock_of_ours_says(agent, places, place):
    """In terraform's form, so that its force-unlock takes the ID."""
    place.add(agent, "dr")
    live = from_folder(agent, places)
    agent.sync()
    live.put(NAME, state(2, json.loads(live.get(NAME))["lineage"]))
    rule = place.on_write(NAME, hold=True)
    run = agent.start_command("sync")
    rule.wait()
    words = json.loads(base64.b64decode(place.client.head(place.container, NAME)["x-ms-meta-terraformlockid"]))
    assert list(words) == ["ID", "Operation", "Info", "Who", "Version", "Created", "Path"]
    assert words["Operation"] == "stateferry" and words["Path"] == f"{place.container}/{NAME}"
    with pytest.raises(AzureError, match="409"):
        place.client.lease(place.container, NAME, "acquire", x_ms_lease_duration="-1")
    assert place.client.lease(place.container, NAME, "renew", x_ms_lease_id=words["ID"])
    place.rules.clear()
    assert run.wait(30) == 0 and place.locks() == []
