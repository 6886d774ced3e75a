# SPDX-License-Identifier: MIT
"""Partial configuration: what real terraform has on its disk is all that the agent is told of a source."""
import json

import pytest
from agent import eventually
from conftest import PLACES
from states import lineage, state

NAME = "app/default.tfstate"


class Told:
    """A source of which the agent's configuration says nothing but files."""

    def __init__(self, agent, kind, items, **more):
        agent.backend("s3" if kind == "s3-table" else kind, "live", {"from_file": items} if items else None, **more)
        agent.backend("local", "dr", {"dir": str(agent.folder / "dr")}, create=True)
        agent.replicate("out", "live", ["dr"])
        self.agent = agent

    def copies(self):
        return {str(p.relative_to(self.agent.folder / "dr")): p.read_bytes()
                for p in (self.agent.folder / "dr").rglob("*.tfstate")}


def split(project, backend):
    """The block without values, and the values as -backend-config takes them."""
    kind, args = backend
    (project.folder / "backend.tf").write_text(f'terraform {{\n  backend "{kind}" {{}}\n}}\n')
    (project.folder / "dev.tfbackend.json").write_text(json.dumps(args))


@pytest.mark.parametrize("how", ["block", "split", "resolved", "folder"])
@pytest.mark.parametrize("kind", PLACES)
def test_replicates_from_what_terraform_has(kind, how, places, terraform, agents):
    """The block as it stands, the block empty with -backend-config, and what init made of the latter: the same state."""
    place = places(kind)
    backend, env = place.terraform(NAME), getattr(place, "env", None)
    project, agent = terraform("project", backend, env=env), agents("agent", env=env)
    if how != "block":
        split(project, backend)
    project.init(*(["-backend-config=dev.tfbackend.json"] if how != "block" else []))
    project.apply(items=3)
    items = {"block": "backend.tf", "split": ["backend.tf", "dev.tfbackend.json"],
             "resolved": ".terraform/terraform.tfstate", "folder": "."}[how]
    paths = [str(project.folder / i) for i in ([items] if isinstance(items, str) else items)]
    told = Told(agent, kind, paths if how == "split" else paths[0])
    agent.call("sync")
    assert list(told.copies().values()) == [place.get(NAME)]
    project.apply(items=4)
    agent.call("sync")
    assert list(told.copies().values()) == [place.get(NAME)]
    assert json.loads(place.get(NAME))["serial"] == project.pull()["serial"]


# What terraform takes from its environment when the block does not say it.
VARIABLES = {"s3": {"region": "AWS_REGION", "access_key": "AWS_ACCESS_KEY_ID", "secret_key": "AWS_SECRET_ACCESS_KEY",
                    "endpoints": "AWS_ENDPOINT_URL_S3"},
             "gcs": {"access_token": "GOOGLE_OAUTH_ACCESS_TOKEN",
                     "storage_custom_endpoint": "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT"},
             "http": {"address": "TF_HTTP_ADDRESS", "lock_address": "TF_HTTP_LOCK_ADDRESS",
                      "unlock_address": "TF_HTTP_UNLOCK_ADDRESS", "username": "TF_HTTP_USERNAME",
                      "password": "TF_HTTP_PASSWORD"}}


@pytest.mark.parametrize("kind", VARIABLES)
def test_the_environment_fills_what_the_block_leaves_out(kind, places, terraform, agents):
    """Terraform and the agent under the same variables, which init does not record; for http there is nothing else."""
    place = places(kind)
    args, env = dict(place.terraform(NAME)[1]), {}
    for name in VARIABLES[kind].keys() & args.keys():
        value = args.pop(name)
        env[VARIABLES[kind][name]] = value["s3"] if name == "endpoints" else value
    project = terraform("project", (kind, args), env=env)
    project.init()
    project.apply(items=2)
    resolved = json.loads((project.folder / ".terraform" / "terraform.tfstate").read_text())["backend"]["config"]
    assert not any(resolved[name] for name in VARIABLES[kind])
    agent = agents("agent", env=env)
    assert kind != "http" or not args
    told = Told(agent, kind, None if kind == "http" else str(project.folder / ".terraform" / "terraform.tfstate"))
    agent.call("sync")
    assert list(told.copies().values()) == [place.get(NAME)]


def test_a_folder_is_read_where_terraform_keeps_its_data(terraform, agents):
    """TF_DATA_DIR takes the place of .terraform; before init the block counts."""
    env = {"TF_DATA_DIR": ".data"}
    project, agent = terraform("project", ("local", {}), env=env), agents("agent", env=env)
    told = Told(agent, "local", str(project.folder))
    agent.call("config", "check")
    project.init("-backend-config=path=elsewhere.tfstate")
    project.apply()
    assert not (project.folder / ".terraform").exists()
    agent.call("sync")
    assert list(told.copies().values()) == [(project.folder / "elsewhere.tfstate").read_bytes()]
    (project.folder / "backend.tf").unlink()
    agent.call("sync")
    (project.folder / ".data/terraform.tfstate").unlink()
    said = agent.call("config", "check", code=10).err
    assert 'neither a backend block nor what "terraform init" records is in this folder' in said


def test_local_defaults_are_those_of_terraform(terraform, agent):
    """A local backend without arguments: terraform.tfstate and its workspaces, where terraform runs."""
    project = terraform("project", ("local", {}))
    project.init()
    project.apply()
    project.call("workspace", "new", "blue")
    project.apply(items=2)
    told = Told(agent, "local", str(project.folder / ".terraform" / "terraform.tfstate"))
    agent.call("sync")
    assert sorted(told.copies().values()) == sorted([(project.folder / "terraform.tfstate").read_bytes(),
                                                     (project.folder / "terraform.tfstate.d/blue/terraform.tfstate").read_bytes()])


def test_a_reload_reads_the_files_again(workdir, agent):
    line = lineage()
    for serial, folder in enumerate(("one", "two"), 1):
        (workdir / folder).mkdir()
        (workdir / folder / "x.tfstate").write_bytes(state(serial, line))
    block = workdir / "args.tfbackend"
    block.touch(0o600)
    block.write_text(f'path = "{workdir}/one/x.tfstate"\n')
    told = Told(agent, "local", str(block))
    agent.start()
    eventually(lambda: list(told.copies().values()) == [(workdir / "one/x.tfstate").read_bytes()])
    block.write_text("path = \n")
    agent.reload()
    eventually(lambda: f"{block}:1:8: expected a value" in agent.said())
    block.write_text(f'path = "{workdir}/two/x.tfstate"\n')
    agent.reload()
    eventually(lambda: f"live points to {workdir}/two/x.tfstate, which is not where it pointed before" in agent.said())
    agent.call("adopt", "--yes")
    eventually(lambda: list(told.copies().values()) == [(workdir / "two/x.tfstate").read_bytes()])
