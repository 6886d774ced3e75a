# SPDX-License-Identifier: MIT
"""Where states live, the same for every kind: what a test needs of an S3 bucket, an HTTP backend and a folder."""
import fcntl
import os
import pathlib


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
        dynamo.create(self.table)

    def args(self, args):
        args["endpoints"] |= {"dynamodb": f"http://127.0.0.1:{self.dynamo.port}"}
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


class HttpPlace:
    """A state server; as a source it has to be told the names of its states."""

    kind = "http"

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
