# SPDX-License-Identifier: MIT
"""The states that GitLab manages, on loopback, as docs/protocol/http-state.md has them: one project's states with their versions and
locks, and the two questions of its GraphQL API. Strict as http_state.py is, on which it stands."""
import base64
import hashlib
import json
import re
import time
import urllib.parse

from http_state import BODY_MAX, LOCK_FIELDS, LOCK_MAX, Answer, HttpState, lock_problem

PROJECT, NUMBER, USER = "acme/net", "7", "ann"
TOKEN, JOB_TOKEN = "glpat-t0ken-9d21f7", "job-t0ken-77ac"
ROUTE = re.compile(r"/api/v4/projects/([^/]+)/terraform/state/([^/]+)(/lock|/versions/\d+)?")
BY_PATH, BY_NUMBER = (re.compile(r'query\{project\(fullPath:"([^"\\]+)"\)\{'),
                      re.compile(r'query\{projects\(ids:\["gid://gitlab/Project/(\d+)"\]\)\{nodes\{'))
NODE = r"\{name lockedAt lockedByUser\{username\} latestVersion\{serial createdAt\}\}"
ONE = re.compile(r'terraformState\(name:("(?:[^"\\]|\\.)*")\)' + NODE)
ALL = re.compile(r'terraformStates\(first:(\d+)(?:,after:"(\d+)")?\)\{nodes' + NODE + r" pageInfo\{hasNextPage endCursor\}\}")


def refuse(status, message):
    return Answer(status, json.dumps({"message": message}).encode(), Content_Type="application/json")


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class GitLab(HttpState):
    def __init__(self, *, page=100, project=PROJECT.replace("/", "%2F"), user=USER, token=TOKEN, **kw):
        super().__init__(user=user, password=token, dialect="post-delete", **kw)
        self.page, self.project, self.going = page, project, {}

    def url(self, name="default"):
        quoted = name if "{name}" in name else urllib.parse.quote(name, safe="")
        return f"http://127.0.0.1:{self.port}/api/v4/projects/{self.project}/terraform/state/{quoted}"

    def backend(self, name="default", locking=True):
        return super().backend(name, locking) | {"retry_wait_min": 1}

    def put(self, name, body):
        """Past every rule."""
        with self._mutex:
            self.keep(self.state(name), body)

    @staticmethod
    def keep(state, body, serial=None):
        try:
            serial = int(json.loads(body or b"")["serial"]) if serial is None else serial
        except (ValueError, KeyError, TypeError):
            serial = getattr(state, "serial", 0) + 1
        state.body, state.serial, state.created = body, serial, time.time_ns()
        state.__dict__.setdefault("kept", {})[serial] = body

    # --- one request -------------------------------------------------------------------------------------------------

    def route(self, entry, headers, body):
        path, _, query = entry["target"].partition("?")
        if path == "/api/graphql":
            self.question(entry, headers, body)
        match = ROUTE.fullmatch(path)
        if not match:
            self.blame(entry, "no such route")
            raise refuse(404, "404 Not Found")
        project, name, tail = (urllib.parse.unquote(part or "") for part in match.groups())
        entry["name"] = name
        tokens = {basic(USER, TOKEN), basic("gitlab-ci-token", JOB_TOKEN)}
        if headers.get("Authorization") not in tokens and headers.get("PRIVATE-TOKEN") != TOKEN:
            raise refuse(401, "401 Unauthorized")
        if project not in (PROJECT, NUMBER):
            raise refuse(404, "404 Project Not Found")
        args = urllib.parse.parse_qs(query, keep_blank_values=True)
        given = args.pop("ID", [None])[0]
        if args:
            self.blame(entry, f"a query of {args}")
            raise refuse(400, "no such parameter")
        verb = (entry["method"], tail)
        if self.going.get(name) is not None:            # deleted, which is done a little later
            self.going[name] -= 1
            if self.going[name] >= 0:
                raise refuse(422, "state is pending deletion")
            del self.going[name], self.states[name]
        if verb == ("DELETE", ""):
            if name not in self.states:
                raise refuse(404, "404 Terraform State Not Found")
            if self.states[name].lock is None:
                self.going[name] = 1
            raise Answer(200)
        if verb == ("GET", ""):
            state = self.states.get(name)
            if state is None:
                raise refuse(404, "404 Terraform State Not Found")
            raise Answer(204) if state.body is None else Answer(200, state.body, Content_Type="application/octet-stream")
        if entry["method"] == "GET" and tail.startswith("/versions/"):
            body = getattr(self.states.get(name), "kept", {}).get(int(tail.rpartition("/")[2]))
            raise refuse(404, "404 Not Found") if body is None else Answer(200, body, Content_Type="application/octet-stream")
        if verb == ("POST", ""):
            self.upload(self.state(name), entry, headers, given, body)
        if verb == ("POST", "/lock"):
            self.take(self.state(name), entry, headers, body)
        if verb == ("DELETE", "/lock"):
            self.give(self.state(name), entry, headers, given, body)
        self.blame(entry, "no such method here")
        raise refuse(405, "405 Not Allowed")

    def upload(self, state, entry, headers, given, body):
        self.checked_body(entry, headers, body, BODY_MAX)
        if given != state.lock_id():                    # also an ID for what is not locked
            raise refuse(409, "409 Conflict")
        try:
            doc = json.loads(body)
            serial = entry["serial"] = int(doc["serial"])
        except (ValueError, KeyError, TypeError):
            raise refuse(422, "serial is missing") from None
        if any(serial == w[0] for w in state.writes):
            raise refuse(422, "Version has already been taken")
        state.writes.append((serial, doc["lineage"], hashlib.sha256(body).hexdigest(), state.lock_id()))
        if state.body is None or serial > state.serial:  # a lower one is kept, and never shown
            self.keep(state, body, serial)
        state.kept[serial] = body
        raise Answer(200)

    def take(self, state, entry, headers, body):
        self.checked_body(entry, headers, body, LOCK_MAX)
        problem = lock_problem(body)
        if problem:
            self.blame(entry, problem)
            raise refuse(400, problem)
        entry["id"] = json.loads(body)["ID"]
        held = state.lock is not None
        state.lock = state.lock or body
        answer = json.loads(body) | {"ID": state.lock_id(), "Who": USER, "Created": "2026-11-20T10:00:00.000Z"}
        raise Answer(409 if held else 200, json.dumps(answer).encode(), Content_Type="application/json")

    def give(self, state, entry, headers, given, body):
        if not body and headers.get("User-Agent") != "Go-http-client/1.1":
            self.blame(entry, "an unlock that opens any lock")
        if body and list(json.loads(body)) != LOCK_FIELDS:
            self.blame(entry, "an unlock without the lock's members")
        wanted = json.loads(body)["ID"] if body else given
        if wanted and wanted != state.lock_id():        # nor is it locked by it when it is not locked at all
            raise Answer(409)
        state.lock = None
        raise Answer(200)

    # --- the API -----------------------------------------------------------------------------------------------------

    @staticmethod
    def node(name, state):
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(state.created / 1e9)) if state.body is not None else ""
        version = {"serial": state.serial, "createdAt": f"{at}.{state.created % 10**9}Z"} if state.body is not None else None
        return {"name": name, "lockedAt": "2026-11-20T10:00:00Z" if state.lock else None,
                "lockedByUser": {"username": USER} if state.lock else None, "latestVersion": version}

    def question(self, entry, headers, body):
        if entry["method"] != "POST" or headers.get("Content-Type") != "application/json" or headers.get("Authorization"):
            self.blame(entry, "a question is a POST of JSON with a token of its own")
        if headers.get("PRIVATE-TOKEN") not in (None, TOKEN):
            raise refuse(401, "Invalid token")
        query = json.loads(body)["query"]
        begin = BY_PATH.match(query) or BY_NUMBER.match(query)
        what = query[begin.end():].rstrip("}") + "}" * 2 if begin else ""
        one, every = ONE.fullmatch(what[:-1]) or ONE.fullmatch(what), ALL.fullmatch(what)
        if not one and not every:
            self.blame(entry, f"no such question: {query}")
            raise refuse(400, "parse error")
        if headers.get("PRIVATE-TOKEN") is None or begin[1] not in (PROJECT, NUMBER):   # what may not be seen is not there
            project = None
        elif one:
            name = json.loads(one[1])
            project = {"terraformState": self.node(name, self.states[name]) if name in self.states else None}
        else:
            start, size = int(every[2] or 0), min(self.page, int(every[1]))
            names = sorted(self.states)
            project = {"terraformStates": {"nodes": [self.node(n, self.states[n]) for n in names[start:start + size]],
                                           "pageInfo": {"hasNextPage": start + size < len(names), "endCursor": str(start + size)}}}
        data = {"project": project} if begin.re == BY_PATH else {"projects": {"nodes": [project] if project else []}}
        raise Answer(200, json.dumps({"data": data}).encode(), Content_Type="application/json")
