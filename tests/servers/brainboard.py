# SPDX-License-Identifier: MIT
"""A strict fake of Brainboard's public API, as far as it says which architectures there are: bare arrays; a key of the region, raw or after
"Bearer "; both shapes of errors; a rate. There is nothing else to ask: any other request is an error of the test."""
import json
import re
import time
import uuid

from http_state import Answer, HttpState

PATH = re.compile(r"/(?:projects|projects/([^/]+)/environments|environments/([^/]+)/architectures)")


class Brainboard(HttpState):
    """A test may change every attribute while the server runs."""

    token = "bb-canary-4f1c"

    def __init__(self, **kw):
        super().__init__(**kw)
        self.spellings = ("raw", "bearer")  # that are accepted
        self.embedded = True                # projects tell their environments
        self.older_errors = False
        self.rate = None                    # requests in a second; None: any
        self.projects = {}                  # UUID: (name, {UUID of an environment: (name, {UUID: architecture})})
        self.times = []

    # --- what tests ask and do ---------------------------------------------------------------------------------------

    def backend(self):
        return {"api_base": f"http://127.0.0.1:{self.port}", "token": self.token}

    def add(self, name, project="payments", environment="prod", status="Deployed", id_=None):
        """A new architecture; its UUID."""
        id_ = id_ or str(uuid.uuid4())
        with self._mutex:
            p = next((p for p in self.projects.values() if p[0] == project), None) or self.projects.setdefault(str(uuid.uuid4()), (project, {}))
            e = next((e for e in p[1].values() if e[0] == environment), None) or p[1].setdefault(str(uuid.uuid4()), (environment, {}))
            e[1][id_] = {"uuid": id_, "name": name, "status": status, "environment": environment, "project": project, "tags": [],
                         "updated_at": "2026-08-01T10:00:00Z", "current_revision": 1, "imported": False, "synced": False,
                         "terraform_config": {"required_providers": {}}}
        return id_

    def rename(self, id_, name):
        with self._mutex:
            for _, environments in self.projects.values():
                for _, architectures in environments.values():
                    if id_ in architectures:
                        architectures[id_]["name"] = name

    def delete(self, id_):
        with self._mutex:
            for _, environments in self.projects.values():
                for _, architectures in environments.values():
                    architectures.pop(id_, None)

    # --- one request -------------------------------------------------------------------------------------------------

    def refuse(self, status, code, text, **headers):
        body = {"error": code, "details": text} if self.older_errors else {"error_code": code, "content": {"message": text}}
        raise Answer(status, json.dumps(body).encode(), Content_Type="application/json", **headers)

    def signed(self, headers):
        """A valid key of the other region is refused like a wrong one."""
        given = headers.get("Authorization") or ""
        spelling = "bearer" if given.startswith("Bearer ") else "raw"
        if given.removeprefix("Bearer ") != self.token or spelling not in self.spellings:
            self.refuse(401, "PERMISSION_DENIED", "invalid key")

    def throttle(self):
        now = time.monotonic()
        self.times = [t for t in self.times if now - t < 1] + [now]
        if self.rate is not None and len(self.times) > self.rate:
            self.refuse(429, "TOO_MANY_REQUESTS", "slow down", Retry_After="1")

    def route(self, entry, headers, body):
        path, _, query = entry["target"].partition("?")
        found = PATH.fullmatch(path)
        if entry["method"] != "GET" or found is None or query or body:
            self.blame(entry, "no such request")
            raise Answer(404)
        self.signed(headers)
        self.throttle()
        if found[1]:
            answer = self.environments(self.known(self.projects, found[1]))
        elif found[2]:
            all_ = {k: v for _, environments in self.projects.values() for k, v in environments.items()}
            answer = list(self.known(all_, found[2])[1].values())
        else:
            answer = [{"uuid": k, "name": p[0], "created_at": "2026-01-01T00:00:00Z",
                       "environments": self.environments(p) if self.embedded else []} for k, p in self.projects.items()]
        raise Answer(200, json.dumps(answer).encode(), Content_Type="application/json")

    def known(self, all_, id_):
        if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", id_):
            self.refuse(400, "INVALID_UUID", "not a UUID")
        if id_ not in all_:
            self.refuse(404, "NOT_FOUND", "no such item")
        return all_[id_]

    @staticmethod
    def environments(project):
        return [{"uuid": k, "name": e[0]} for k, e in project[1].items()]
