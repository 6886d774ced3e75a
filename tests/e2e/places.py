# SPDX-License-Identifier: MIT
"""Where states live, the same for every kind: what a test needs of an S3 bucket, an HTTP backend and a folder."""
import base64
import fcntl
import json
import os
import pathlib
import urllib.parse

import gitlab
import harness
from azure_client import AzureError
from hcl import Block
from states import lineage, state
from tfe_objects import Principal


def replicating(agent, places, kind, name, **more):
    """A folder as source with serial 1 of that name, and a target; nothing was replicated yet."""
    live, dr = places("local"), places(kind)
    live.add(agent, "live")
    dr.add(agent, "dr", **more)
    agent.replicate("out", "live", "dr")
    line = lineage()
    live.put(name, state(1, line))
    return live, dr, line


class S3Place:
    """A bucket, reached through a fault proxy of its own."""

    kind = "s3"

    def __init__(self, bucket, front):
        self.bucket, self.front = bucket, front
        self.rules = front.rules

    def add(self, agent, label, **more):
        return agent.backend("s3", label, self.bucket.backend(port=self.front.port), **more)

    def terraform(self, name):
        return "s3", self.bucket.backend(name)

    def put(self, name, body):
        self.bucket.put(name, body)

    def get(self, name):
        return self.bucket.get(name)

    def delete(self, name):
        self.bucket.delete(name)

    def locks(self):
        return self.bucket.locks()

    def lock(self, name, info):
        self.bucket.put(name + ".tflock", info)

    def unlock(self, name):
        self.bucket.delete(name + ".tflock")

    def writes(self, name):
        """Requests that write this state."""
        return [e for e in self.front.requests("PUT") if e["path"] == f"/{self.bucket.name}/{name}"]

    def serials(self, name):
        """What was written to it through the proxy, oldest first."""
        return [e["serial"] for e in self.writes(name)]

    # The requests of a push, for fault rules.
    def on_write(self, name, **fault):
        return self.rules.add("PUT", f"*/{name}", **fault)

    def on_lock(self, name, **fault):
        return self.rules.add("PUT", f"*/{name}.tflock", **fault)

    def on_unlock(self, name, **fault):
        return self.rules.add("DELETE", f"*/{name}.tflock", **fault)

    def on_read(self, name, **fault):
        return self.rules.add("GET", f"*/{name}", **fault)

    def stop(self):
        self.front.stop()

    def start(self):
        self.front.start()


class TablePlace(S3Place):
    """A bucket whose locks and digests lie in a DynamoDB table."""

    kind = "s3-table"

    def __init__(self, bucket, front, dynamo):
        super().__init__(bucket, front)
        self.dynamo, self.table = dynamo, f"locks-of-{bucket.name}"
        self.at = dynamo                # or a proxy in front of it
        dynamo.create(self.table)

    def args(self, args):
        args["endpoints"] |= {"dynamodb": f"http://127.0.0.1:{self.at.port}"}
        return args | {"dynamodb_table": self.table, "use_lockfile": False}

    def add(self, agent, label, **more):
        return agent.backend("s3", label, self.args(self.bucket.backend(port=self.front.port)), **more)

    def terraform(self, name):
        return "s3", self.args(self.bucket.backend(name))

    def row(self, name):
        return f"{self.bucket.name}/{name}"

    def locks(self):
        return [row for row in self.dynamo.rows(self.table) if not row.endswith("-md5")]

    def lock(self, name, info):
        self.dynamo.put(self.table, self.row(name), "Info", info.decode())

    def unlock(self, name):
        self.dynamo.delete(self.table, self.row(name))


class GcsPlace:
    """A bucket of Cloud Storage, reached through a fault proxy of its own."""

    kind = "gcs"

    def __init__(self, server, bucket, front, versioning=False):
        self.server, self.bucket, self.front = server, bucket, front
        self.rules = front.rules
        more = {"versioning": {"enabled": True}} if versioning else {}
        status, answer = server.call("POST", "/storage/v1/b", json.dumps({"name": bucket} | more), project="test")
        assert status == 200, answer

    def add(self, agent, label, **more):
        return agent.backend("gcs", label, self.server.backend(self.bucket, port=self.front.port), **more)

    def terraform(self, name):
        """Terraform chooses the last part of the name: its workspace."""
        return "gcs", self.server.backend(self.bucket, name.rpartition("/")[0])

    def object(self, name):
        return f"/storage/v1/b/{self.bucket}/o/{urllib.parse.quote(name, safe='')}"

    def put(self, name, body):
        status, answer = self.server.call("POST", f"/upload/storage/v1/b/{self.bucket}/o", body, uploadType="media", name=name)
        assert status == 200, answer

    def get(self, name):
        status, body = self.server.call("GET", self.object(name), alt="media")
        return body if status == 200 else None

    def delete(self, name):
        self.server.call("DELETE", self.object(name))

    @staticmethod
    def lock_of(name):
        return name.removesuffix(".tfstate") + ".tflock"

    def locks(self):
        status, answer = self.server.call("GET", f"/storage/v1/b/{self.bucket}/o")
        assert status == 200, answer
        return [i["name"] for i in json.loads(answer).get("items", []) if i["name"].endswith(".tflock")]

    def lock(self, name, info):
        self.put(self.lock_of(name), info)

    def unlock(self, name):
        self.delete(self.lock_of(name))

    def uploads(self, name):
        return [e for e in self.front.requests("POST") if f"name={urllib.parse.quote(name, safe='')}&" in e["target"] + "&"]

    def writes(self, name):
        """Requests that write this state."""
        return self.uploads(name)

    def serials(self, name):
        return [e["serial"] for e in self.writes(name)]

    # The requests of a push, for fault rules.
    def on_write(self, name, **fault):
        return self.rules.add("POST", query=f"*name={urllib.parse.quote(name, safe='')}&*", **fault)

    def on_lock(self, name, **fault):
        return self.on_write(self.lock_of(name), **fault)

    def on_unlock(self, name, **fault):
        return self.rules.add("DELETE", self.object(self.lock_of(name)), **fault)

    def on_read(self, name, **fault):
        return self.rules.add("GET", self.object(name), **fault)

    def stop(self):
        self.front.stop()

    def start(self):
        self.front.start()


class AzurePlace:
    """A container of Azure Blob Storage, reached through a fault proxy of its own."""

    kind = "azurerm"

    def __init__(self, server, container, front, names):
        self.server, self.container, self.front, self.names = server, container, front, names
        self.client = server.client()
        self.client.create_container(container)
        self.rules = front.rules
        self.leases = {}

    def add(self, agent, label, **more):
        return agent.backend("azurerm", label, self.server.backend(self.container, port=self.front.port), **more)

    def terraform(self, name):
        return "azurerm", self.server.backend(self.container, key=name)

    @property
    def env(self):
        """Terraform takes the names of Azure only."""
        return self.names()

    def put(self, name, body):
        self.client.put(self.container, name, body)

    def get(self, name):
        """A blob of zero bytes is the place holder of a lock."""
        try:
            return self.client.get(self.container, name) or None
        except AzureError as e:
            if e.status != 404:
                raise
            return None

    def delete(self, name):
        self.client.delete(self.container, name)

    def locks(self):
        return self.client.leased(self.container)

    def lock(self, name, info):
        """As terraform holds it."""
        self.leases[name] = {"x_ms_lease_id": json.loads(info)["ID"]}
        self.client.lease(self.container, name, "acquire", x_ms_lease_duration="-1", x_ms_proposed_lease_id=json.loads(info)["ID"])
        self.client.describe(self.container, name, x_ms_meta_terraformlockid=base64.b64encode(info).decode(), **self.leases[name])

    def unlock(self, name):
        lease = self.leases.pop(name)
        self.client.describe(self.container, name, **lease)
        self.client.lease(self.container, name, "release", **lease)

    def path(self, name):
        return f"/{self.server.account}/{self.container}/{name}"

    def writes(self, name):
        """Requests that write this state, but place holders of locks."""
        return [e for e in self.front.requests("PUT") if e["path"] == self.path(name) and "?" not in e["target"] and e["size"] > 0]

    def serials(self, name):
        return [e["serial"] for e in self.writes(name)]

    def rule(self, method, name, query, fault):
        return self.rules.add(method, urllib.parse.quote(self.path(name), safe="/~"), query=query, **fault)

    # The requests of a push, for fault rules. Of a state that is there: else the first write is that of the place holder.
    def on_write(self, name, **fault):
        return self.rule("PUT", name, "", fault)

    def on_lock(self, name, **fault):
        return self.rule("PUT", name, "comp=lease", fault)

    def on_unlock(self, name, **fault):
        return self.rule("PUT", name, "comp=lease", {"nth": 2} | fault)

    def on_read(self, name, **fault):
        return self.rule("GET", name, "", fault)

    def stop(self):
        self.front.stop()

    def start(self):
        self.front.start()


class Arguments:
    """Stands for an agent: what a place would add to its configuration."""

    @staticmethod
    def backend(kind, _label, args=None, **more):
        return kind, (args or {}) | more


class BrainboardPlace:
    """Architectures of Brainboard, whose states lie in another place. A name is a UUID; what it ends with in other places goes."""

    NAMED = ("put", "get", "delete", "lock", "unlock", "writes", "serials", "on_write", "on_lock", "on_unlock", "on_read")

    def __init__(self, api, inner, form="{uuid}/terraform.tfstate"):
        self.api, self.inner, self.form = api, inner, form
        self.kind = f"brainboard-{inner.kind}"
        self.rules = inner.rules

    def prepare(self, *names):
        """Architectures are there before their states."""
        for name in names:
            self.api.add(name[-4:], id_=name.removesuffix(".tfstate"))

    def add(self, agent, label, key=True, blocks=(), **more):
        kind, args = self.inner.add(Arguments, label)
        return agent.backend("brainboard", label, self.api.backend() | ({"key": self.form} if key else {}),
                             blocks=[Block("storage", kind, **args), *blocks], **more)

    def terraform(self, name):
        """As Brainboard's runner has it."""
        return self.inner.terraform(self.at(name))

    def at(self, name):
        return self.form.replace("{uuid}", name.removesuffix(".tfstate"))

    def __getattr__(self, what):
        there = getattr(self.inner, what)
        return (lambda name, *args, **kw: there(self.at(name), *args, **kw)) if what in self.NAMED else there


class HttpPlace:
    """A state server; as a source it has to be told the names of its states."""

    kind = "http"
    front = property(lambda self: self.server)

    def __init__(self, server):
        self.server = server
        self.rules = server.rules

    def add(self, agent, label, states=None, **more):
        return agent.backend("http", label, self.server.backend("{name}"), states=states, **more)

    def terraform(self, name):
        return "http", self.server.backend(name)

    def put(self, name, body):
        self.server.put(name, body)

    def get(self, name):
        return self.server.body(name)

    def delete(self, name):
        self.server.put(name, None)

    def locks(self):
        return list(self.server.locks())

    def lock(self, name, info):
        self.server.state(name).lock = info

    def unlock(self, name):
        self.server.state(name).lock = None

    def writes(self, name):
        return self.server.requests("POST", name)

    def serials(self, name):
        return self.server.serials(name)

    def on_write(self, _name, **fault):
        return self.rules.add("POST", **fault)

    def on_lock(self, _name, **fault):
        return self.rules.add("LOCK", **fault)

    def on_unlock(self, _name, **fault):
        return self.rules.add("UNLOCK", **fault)

    def on_read(self, _name, **fault):
        return self.rules.add("GET", **fault)

    def stop(self):
        self.server.stop()

    def start(self):
        self.server.start()


class HarnessPlace(HttpPlace):
    """A project of Harness; its workspaces have to be there before their states."""

    kind = "harness"
    env = {"TF_HTTP_PASSWORD": harness.TOKEN}

    def add(self, agent, label, states=None, **more):
        agent.env["HARNESS_PLATFORM_API_KEY"] = harness.TOKEN
        return agent.backend("harness", label, self.server.project(), **more)

    def prepare(self, *names):
        self.server.add(*names)

    def writes(self, name):
        return [e for e in self.server.requests("POST", name) if "/lock" not in e["target"]]

    def on_write(self, name, **fault):
        return self.rules.add("POST", f"*/{name}/terraform-backend", **fault)

    def on_lock(self, name, **fault):
        return self.rules.add("POST", f"*/{name}/terraform-backend/lock", **fault)

    def on_unlock(self, name, **fault):
        return self.rules.add("DELETE", f"*/{name}/terraform-backend/lock", **fault)

    def on_read(self, name, **fault):
        return self.rules.add("GET", f"*/{name}/terraform-backend", **fault)


class GitLabPlace(HttpPlace):
    """The states of a project of GitLab, which lists them by itself."""

    kind = "gitlab"
    env = {"TF_HTTP_PASSWORD": gitlab.TOKEN}

    def add(self, agent, label, states=None, **more):
        return agent.backend("http", label, self.server.backend("{name}"), **more)

    def prepare(self, *names):
        """A state is there with its first write."""

    def writes(self, name):
        return [e for e in self.server.requests("POST", name) if "/lock" not in e["target"]]

    def serials(self, name):
        return [e["serial"] for e in self.writes(name) if "serial" in e]

    def on_write(self, name, **fault):
        return self.rules.add("POST", f"*/terraform/state/{name}", **fault)

    def on_lock(self, name, **fault):
        return self.rules.add("POST", f"*/terraform/state/{name}/lock", **fault)

    def on_unlock(self, name, **fault):
        return self.rules.add("DELETE", f"*/terraform/state/{name}/lock", **fault)

    def on_read(self, name, **fault):
        return self.rules.add("GET", f"*/terraform/state/{name}", **fault)


class RemotePlace(HttpPlace):
    """An organization of Terraform Enterprise, whose workspaces are there before their states."""

    kind = "remote"
    host = "tfe.test"
    cli = property(lambda self: self.server.cli_config(self.host))

    def add(self, agent, label, states=None, **more):
        base = f"http://127.0.0.1:{self.server.port}/api/v2/"
        return agent.backend("remote", label, self.server.backend()[1] | {"api_base": base}, **more)

    def terraform(self, name):
        return self.server.backend("remote", self.host, token=False, name=name)

    def prepare(self, *names):
        for name in names:
            self.server.add(name)

    def lock(self, name, info):
        self.server.lock(name, Principal(json.loads(info)["Who"]), "Locked by Terraform")

    def unlock(self, name):
        self.server.unlock(name)

    def action(self, name, what):
        return f"/api/v2/workspaces/{self.server.workspaces[name].id}/{what}"

    def writes(self, name):
        return [e for e in self.server.requests("POST", name) if e["target"].endswith("/state-versions")]

    def on_write(self, name, **fault):
        return self.rules.add("POST", self.action(name, "state-versions"), **fault)

    def on_lock(self, name, **fault):
        return self.rules.add("POST", self.action(name, "actions/lock"), **fault)

    def on_unlock(self, name, **fault):
        return self.rules.add("POST", self.action(name, "actions/unlock"), **fault)

    def on_read(self, _name, **fault):
        return self.rules.add("GET", "/_archivist/*", **fault)


class CloudPlace(RemotePlace):
    """The same by the `cloud` block, found and signed in to as the CLI's configuration says."""

    kind = "cloud"

    def add(self, agent, label, states=None, workspaces=None, **more):
        cli = agent.folder / "home/.terraformrc"
        cli.write_text(self.cli)
        cli.chmod(0o600)
        return agent.backend("cloud", label, {"hostname": self.host, "organization": self.server.organization},
                             blocks=[Block("workspaces", **workspaces)] if workspaces else (), **more)

    def terraform(self, name):
        return self.server.backend("cloud", self.host, token=False, name=name)


class LocalPlace:
    """A folder tree. Nothing stands between it and the agent: it has no rules."""

    kind = "local"
    rules = None

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.held = {}

    def add(self, agent, label, **more):
        return agent.backend("local", label, dir=str(self.folder), **more)

    def terraform(self, name):
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        return "local", {"path": str(self.folder / name)}

    def path(self, name):
        return self.folder / name

    def put(self, name, body):
        """As a careful program does: a new file, then rename."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(body)
        os.replace(fresh, path)

    def get(self, name):
        path = self.folder / name
        return path.read_bytes() if path.exists() else None

    def delete(self, name):
        (self.folder / name).unlink()

    def locks(self):
        return [str(p) for p in self.folder.rglob(".*.lock.info")]

    def lock(self, name, info):
        """As terraform holds it: the file locked as a whole, and who it is beside it."""
        self.held[name] = open(self.folder / name, "r+b")
        fcntl.lockf(self.held[name], fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.info(name).write_bytes(info)

    def unlock(self, name):
        self.info(name).unlink()
        self.held.pop(name).close()

    def info(self, name):
        path = self.folder / name
        return path.with_name(f".{path.name}.lock.info")

    def writes(self, _name):
        """Nobody counts them here."""
        return []

    def serials(self, _name):
        return []
