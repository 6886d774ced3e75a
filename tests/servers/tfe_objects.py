# SPDX-License-Identifier: MIT
"""What the fake of HCP Terraform (tfe.py) holds: who asks, workspaces, and the versions of their states."""
import json
import random
import string
import time

KINDS = {"users": "User", "teams": "Team", "organizations": "Organization", "runs": "Run"}


def parsed(body):
    """A state as far as it can be read: people may have put there what is none."""
    try:
        return json.loads(body)
    except ValueError:
        return {}


def new_id(prefix):
    return f"{prefix}-" + "".join(random.choices(string.ascii_letters + string.digits, k=16))


class Principal:
    """Who a token belongs to; without: rights that it lacks, by their name in a workspace's permissions."""

    def __init__(self, name, kind="users", without=()):
        self.name, self.kind, self.id = name, kind, new_id(kind[:-1])
        self.without = set(without) | ({"can-create-state-versions"} if kind == "organizations" else set())

    def may(self, right):
        return right not in self.without


class Version:
    def __init__(self, serial, md5, lineage, created):
        self.id, self.serial, self.md5, self.lineage, self.created = new_id("sv"), serial, md5, lineage, created
        self.body, self.status, self.links = None, "pending", {}
        self.run = None                 # of the server's own, that wrote it
        self.ready = 0.0                # finalized from then on


class Workspace:
    def __init__(self, name, project, created, **attributes):
        self.id, self.name, self.project, self.created, self.attributes = new_id("ws"), name, project, created, attributes
        self.tags, self.versions, self.holder, self.reason = {}, [], None, None

    def settle(self):
        for v in self.versions:
            if v.status == "pending" and v.body is not None and time.monotonic() >= v.ready:
                v.status = "finalized"
                for older in self.versions[:self.versions.index(v)]:
                    older.status = "discarded" if older.status == "pending" else older.status

    def current(self):
        self.settle()
        return next((v for v in reversed(self.versions) if v.status == "finalized"), None)

    def pending(self):
        self.settle()
        return bool(self.versions) and self.versions[-1].status == "pending"

    def changed(self):
        return self.current().created if self.current() else self.created
