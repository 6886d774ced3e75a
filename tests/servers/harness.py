# SPDX-License-Identifier: MIT
"""Harness IaCM on loopback, as docs/protocol/harness.md has it: the workspaces of one project, their states, locks and the API
beside them. Strict as http_state.py is, on which it stands: what it does not know is written down and fails the test."""
import base64
import hashlib
import json
import re
import time
import urllib.parse

from http_state import BODY_MAX, LOCK_MAX, Answer, HttpState, lock_problem

ACCOUNT, ORG, PROJECT = "dRz8JkPq-VEu_7w0Kc3b0A", "acme", "net"
TOKEN = "pat.dRz8.harness-t0ken-41b7"
ROUTE = re.compile(r"(?:/([A-Za-z0-9_$-]{1,128})(/terraform-backend(?:/lock)?|/actions/force-unlock|/data(?:/[A-Za-z0-9]+)?)?)?")
INCIDENT = "5fLxQ2hR"


def error(status, name, message):
    """What Harness says when it refuses; the id is that of the incident."""
    return Answer(status, json.dumps({"name": name, "id": INCIDENT, "message": message, "temporary": status == 503,
                                      "timeout": False, "fault": status >= 500}).encode(), Content_Type="application/vnd.goa.error")


class Workspace:
    def __init__(self, name):
        self.name, self.status, self.prune = name, "active", False
        self.created = self.updated = time.time_ns()
        self.data = []                  # id, type, when, bytes: of each push its plan too


class Harness(HttpState):
    def __init__(self, *, page=1000, project=PROJECT, **kw):
        super().__init__(user="harness", password=TOKEN, dialect="post-delete", **kw)
        self.page, self.workspaces, self.name = page, {}, project
        self.api = f"/gateway/iacm/api/orgs/{ORG}/projects/{project}/workspaces"

    def add(self, *names):
        """Workspaces are made by people."""
        for name in names:
            self.workspaces.setdefault(name, Workspace(name))

    def put(self, name, body):
        self.add(name)
        super().put(name, body)
        w = self.workspaces[name]
        w.updated = time.time_ns()
        for kind, data in (("plan", b"PK a plan"), ("tf-state", body)):
            if body is not None:
                w.data.append((f"d{len(w.data):05}", kind, w.updated // 10**6 + len(w.data), data))

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}/gateway"

    def url(self, name="default"):
        return f"http://127.0.0.1:{self.port}{self.api}/{name}/terraform-backend"

    def backend(self, name="default", locking=True):
        """The block that the workspace's page shows; the password comes by the environment."""
        query = f"?accountIdentifier={ACCOUNT}"
        return {"address": self.url(name) + query, "lock_address": self.url(name) + "/lock" + query, "lock_method": "POST",
                "unlock_address": self.url(name) + "/lock" + query, "unlock_method": "DELETE", "username": "harness"}

    def project(self, **more):
        """The arguments of a backend "harness"."""
        return {"endpoint": self.endpoint, "account_id": ACCOUNT, "org_id": ORG, "project_id": self.name} | more

    # --- one request -------------------------------------------------------------------------------------------------

    def route(self, entry, headers, body):
        path, _, query = entry["target"].partition("?")
        match = path.startswith(self.api) and ROUTE.fullmatch(urllib.parse.unquote(path.removeprefix(self.api)))
        args = urllib.parse.parse_qs(query, keep_blank_values=True)
        if not match:
            self.blame(entry, "no such route")
            raise error(404, "not_found", "no such route")
        name, tail = match.groups()
        entry["name"] = name
        self.admit(headers, args)
        verb = (entry["method"], tail if name else "list")
        if name and name not in self.workspaces:
            raise error(404, "not_found", f"workspace {name} not found")
        if verb in (("GET", "list"), ("GET", None), ("POST", "/actions/force-unlock")):
            if headers.get("Harness-Account") != ACCOUNT:
                self.blame(entry, "no Harness-Account")
                raise error(400, "bad_request", "missing header Harness-Account")
        if entry["method"] == "GET" and (tail or "").startswith("/data"):
            self.artefacts(self.workspaces[name], tail, entry, headers, args)
        if verb == ("GET", "list"):
            self.list(entry, args)
        if verb == ("GET", None):
            self.describe(self.workspaces[name])
        state = self.state(name)
        if verb == ("POST", "/actions/force-unlock"):
            state.lock = None
            raise Answer(200)
        if verb == ("GET", "/terraform-backend"):
            self.pull(self.workspaces[name], state)
        if verb == ("POST", "/terraform-backend"):
            self.push(self.workspaces[name], state, entry, headers, args, body)
        if verb == ("POST", "/terraform-backend/lock"):
            self.take(name, state, entry, headers, body)
        if verb == ("DELETE", "/terraform-backend/lock"):
            self.give(state, entry, headers, body)
        self.blame(entry, "no such method here")
        raise error(405, "method_not_allowed", "no such method")

    @staticmethod
    def admit(headers, args):
        basic = "Basic " + base64.b64encode(f"harness:{TOKEN}".encode()).decode()
        if headers.get("x-api-key") != TOKEN and headers.get("Authorization") != basic:
            raise error(401, "unauthorized", "token is invalid or expired")
        if args.pop("accountIdentifier", None) != [ACCOUNT]:
            raise error(403, "forbidden", "account identifier mismatch")

    def list(self, entry, args):
        page, limit = args.pop("page", ["1"])[0], args.pop("limit", ["30"])[0]
        if args != {"sort": ["updated,DESC"]} or not page.isdecimal() or not 1 <= int(limit) <= 1000 or int(page) < 1:
            self.blame(entry, f"a query of {args}, page {page}, limit {limit}")
            raise error(400, "bad_request", "no such query")
        every = sorted(self.workspaces.values(), key=lambda w: -w.updated)
        size = min(self.page, int(limit))
        shown = every[(int(page) - 1) * size:int(page) * size]
        raise Answer(200, json.dumps([self.short(w) for w in shown]).encode(), Content_Type="application/json",
                     X_Total_Items=len(every), X_Total_Pages=-(-len(every) // size), X_Page_Size=size)

    @staticmethod
    def short(w):
        return {"identifier": w.name, "name": f"The {w.name}", "status": w.status, "created": w.created // 10**6,
                "updated": w.updated // 10**6, "tags": {"identifier": "tag"}}

    def artefacts(self, w, tail, entry, headers, args):
        """Oldest first, and whatever it is: the order is not documented."""
        if tail != "/data":
            found = [d for d in w.data if d[0] == tail.rpartition("/")[2]]
            raise Answer(200, found[0][3], Content_Type="application/octet-stream") if found else error(404, "not_found", "no such data")
        page, limit = args.pop("page", ["1"])[0], args.pop("limit", ["30"])[0]
        if args or headers.get("Harness-Account") != ACCOUNT or not 1 <= int(limit) <= 1000:
            self.blame(entry, f"a query of {args}, page {page}, limit {limit}")
            raise error(400, "bad_request", "no such query")
        size = min(self.page, int(limit))
        shown = w.data[(int(page) - 1) * size:int(page) * size]
        raise Answer(200, json.dumps([{"id": i, "data_type": kind, "created": at, "pipeline_id": "p"} for i, kind, at, _ in shown]).encode(),
                     Content_Type="application/json", X_Total_Items=len(w.data), X_Total_Pages=-(-len(w.data) // size), X_Page_Size=size)

    def describe(self, w):
        state = self.state(w.name)
        doc = self.short(w) | {"backend_locked": bool(state.lock), "prune_sensitive_data": w.prune, "provisioner": "opentofu",
                               "terraform_variables": {"status": {"value": "planning"}}}
        if state.body is not None:
            doc["state_checksum"] = hashlib.sha256(state.body).hexdigest()
            doc["terraform_state"] = next(d[0] for d in reversed(w.data) if d[1] == "tf-state")
        raise Answer(200, json.dumps(doc).encode(), Content_Type="application/json")

    @staticmethod
    def pull(w, state):
        if state.body is None:
            raise error(404, "not_found", "no state")
        body = state.body
        if w.prune:
            doc = json.loads(body)
            for output in doc["outputs"].values():
                if output.get("sensitive"):
                    output["value"] = None
            body = json.dumps(doc).encode()
        raise Answer(200, body, Content_Type="application/json")

    def push(self, w, state, entry, headers, args, body):
        self.checked_body(entry, headers, body, BODY_MAX)
        given = args.pop("ID", [None])
        if args or len(given) != 1 or entry["target"].partition("?")[2].split("&")[-1].startswith("ID="):
            self.blame(entry, "another query than terraform's")
            raise error(400, "bad_request", "no such query")
        if state.lock and given[0] != state.lock_id():
            raise error(423, "locked", f"workspace {w.name} is locked")
        try:
            doc = json.loads(body)
            entry["serial"] = int(doc["serial"])
        except (ValueError, KeyError, TypeError):
            self.blame(entry, "the state is none")
            raise error(400, "bad_request", "not a state") from None
        self.put(w.name, body)
        state.writes.append((entry["serial"], doc["lineage"], hashlib.sha256(body).hexdigest(), state.lock_id()))
        raise Answer(200)

    def checked(self, entry, headers, body):
        if not body and headers.get("User-Agent") == "Go-http-client/1.1":      # terraform force-unlock
            raise error(400, "missing_payload", "body is required")
        self.checked_body(entry, headers, body, LOCK_MAX)
        problem = lock_problem(body)
        if problem:
            self.blame(entry, problem)
            raise error(400, "bad_request", problem)
        entry["id"] = json.loads(body)["ID"]

    def take(self, name, state, entry, headers, body):
        self.checked(entry, headers, body)
        if state.lock:
            raise error(423, "locked", f"workspace {name} is locked")
        state.lock = body
        lock = {k.lower(): v for k, v in json.loads(body).items()}
        raise Answer(200, json.dumps(lock | {"account": ACCOUNT, "org": ORG, "project": self.name, "workspace": name, "manual": False,
                                             "created": time.time_ns() // 10**6}).encode(), Content_Type="application/json")

    def give(self, state, entry, headers, body):
        self.checked(entry, headers, body)
        if state.lock_id() != entry["id"]:
            raise error(423 if state.lock else 409, "locked", "the lock is another one" if state.lock else "not locked")
        state.lock = None
        raise Answer(200)
