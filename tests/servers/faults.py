# SPDX-License-Identifier: MIT
"""Faults by request: the rules that http_state and fault_proxy share.

A rule picks requests by method and target (shell patterns) and by number among those that match; what it does then are
plain attributes. `hit` is set when it first fires, so that a test waits for the moment instead of sleeping."""
import dataclasses
import fnmatch
import threading
import typing

HOLD_LIMIT = 60.0
READS = ("GetItem", "BatchGetItem", "Query", "Scan", "DescribeTable", "ListTables")     # of DynamoDB, where all is a POST, as in etcd


def changes(method, path, headers):
    """Is this a request that may change something at the server?"""
    what = headers.get("x-amz-target", "").rpartition(".")[2]
    return method not in ("GET", "HEAD", "OPTIONS") and what not in READS and not path.endswith("/kv/range")


@dataclasses.dataclass(eq=False)
class Rule:
    method: str = "*"
    path: str = "*"             # pattern over the raw request target without its query
    query: str = "*"
    change: bool = False        # only requests that change something
    nth: int = 1                # the first matching request that is touched, from 1
    times: int = 1              # how many in a row; 0: for ever
    delay: float = 0.0          # seconds before anything else
    hold: bool = False          # wait until release() before going on
    status: int = 0             # answer this instead; with applied: after the request took effect
    headers: dict = dataclasses.field(default_factory=dict)
    body: bytes = b""
    applied: bool = False
    # Cut the connection "before" or "after" the request takes effect; fault_proxy alone: after "half" of the request has reached
    # the server, or half of the "answer" the client.
    drop: str = ""
    truncate: typing.Optional[int] = None  # bytes of the answer's body that arrive before the cut
    duplicate: bool = False     # the request takes effect twice, the second answer is given
    seen: int = 0
    fired: int = 0

    def __post_init__(self):
        assert self.drop in ("", "before", "half", "after", "answer"), self.drop
        self.hit = threading.Event()
        self.gate = threading.Event()

    def takes(self, method, path, query, headers):
        """Counts a request that matches; true when the rule fires for it."""
        if self.change and not changes(method, path, headers):
            return False
        if not (fnmatch.fnmatchcase(method, self.method) and fnmatch.fnmatchcase(path, self.path)
                and fnmatch.fnmatchcase(query, self.query)):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times and self.seen >= self.nth + self.times):
            return False
        self.fired += 1
        return True

    def wait(self, seconds=30.0):
        assert self.hit.wait(seconds), f"no request met {self} within {seconds} s"

    def release(self):
        self.gate.set()

    def pause(self):
        """What the serving thread does first: announce, hold, delay."""
        self.hit.set()
        if self.hold:
            self.gate.wait(HOLD_LIMIT)
        if self.delay:
            self.gate.wait(self.delay)


class Rules:
    """The rules of one server, first match wins; used by many threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._rules = []

    def add(self, *args, **kw):
        rule = Rule(*args, **kw)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self):
        with self._lock:
            for rule in self._rules:
                rule.release()
            self._rules = []

    def match(self, method, target, headers):
        path, _, query = target.partition("?")
        with self._lock:
            return next((r for r in self._rules if r.takes(method, path, query, headers)), None)
