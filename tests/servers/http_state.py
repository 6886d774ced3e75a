# SPDX-License-Identifier: MIT
"""A small strict server for terraform's http backend: GET and POST (or PUT) of a state, its lock, many states by path.

It plays a server that checks everything a client promises: lengths, Content-MD5, lock ids, the fields of a LockInfo.
A request it does not know is answered, and written down in `errors`, which fails the test. Every request is one entry
of `journal`. Faults come from `rules` (faults.py).

    dialect "lock"         LOCK and UNLOCK on the state's own address
    dialect "post-delete"  POST and DELETE on ADDRESS/lock"""
import base64
import hashlib
import http.server
import json
import re
import socket
import threading
import time
import urllib.parse

from faults import Rules

BODY_MAX = 1 << 30
LOCK_MAX = 64 << 10
LOCK_FIELDS = ["ID", "Operation", "Info", "Who", "Version", "Created", "Path"]
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


class Answer(Exception):
    """Ends the handling of a request with a status and a body."""

    def __init__(self, status, body=b"", **headers):
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


class State:
    """One state as the server holds it."""

    def __init__(self):
        self.body = None
        self.lock = None        # the bytes of the holder's LockInfo
        self.writes = []        # (serial, lineage, sha256 in hex, lock id), oldest first

    def lock_id(self):
        return json.loads(self.lock)["ID"] if self.lock else None


class HttpState:
    """The server; start() and stop() may alternate, the states outlive a stop."""

    def __init__(self, *, dialect="lock", user="", password="", tls=None, etag=False, ascending=False,
                 empty_unlock=False, journal=None, port=0):
        assert dialect in ("lock", "post-delete")
        self.dialect, self.user, self.password = dialect, user, password
        self.tls = tls                  # servers.Certificates: then https, and clients must show a certificate
        self.etag = etag                # answer ETag, honour If-None-Match and If-Match
        self.ascending = ascending      # refuse a serial that is not above all before it
        self.empty_unlock = empty_unlock  # an unlock without a body opens any lock (force-unlock)
        self.states, self.errors, self.journal = {}, [], []
        self.rules = Rules()
        self.skew = 0                   # seconds that its clock is ahead
        self.port = port
        self._file = open(journal, "a") if journal else None
        self._mutex = threading.RLock()
        self._server = self._thread = None
        self._live = set()

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self):
        assert self._server is None
        self._server = _Listener(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self):
        """From here on connections are refused, and those that were open are cut."""
        if self._server is None:
            return
        self.rules.clear()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self._mutex:
            live, self._live = self._live, set()
        for sock in live:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._server = None

    # --- what tests ask ----------------------------------------------------------------------------------------------

    def url(self, name="default"):
        """The address of a state; a name with {name} in it is left for the client to fill in."""
        quoted = name if "{name}" in name else urllib.parse.quote(name, safe="")
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/state/{quoted}"

    def backend(self, name="default", locking=True):
        """The arguments of a backend "http" block for that state."""
        args = {"address": self.url(name)}
        if locking and self.dialect == "lock":
            args |= {"lock_address": self.url(name), "unlock_address": self.url(name)}
        elif locking:
            args |= {"lock_address": self.url(name) + "/lock", "lock_method": "POST",
                     "unlock_address": self.url(name) + "/lock", "unlock_method": "DELETE"}
        if self.user:
            args |= {"username": self.user, "password": self.password}
        if self.tls:
            args |= {"client_ca_certificate_pem": self.tls.ca_pem, "client_certificate_pem": self.tls.client_pem,
                     "client_private_key_pem": self.tls.client_key_pem}
        return args

    def state(self, name="default"):
        with self._mutex:
            return self.states.setdefault(name, State())

    def body(self, name="default"):
        return self.state(name).body

    def put(self, name, body):
        """Somebody else writes, past every rule."""
        with self._mutex:
            self.state(name).body = body

    def serials(self, name="default"):
        with self._mutex:
            return [w[0] for w in self.state(name).writes]

    def locks(self):
        with self._mutex:
            return {name: json.loads(s.lock) for name, s in self.states.items() if s.lock}

    def requests(self, method="*", name=None):
        with self._mutex:
            return [e for e in self.journal if method in ("*", e["method"]) and name in (None, e.get("name"))]

    def check(self):
        """What every test ends with."""
        assert not self.errors, "the state server met requests it does not know:\n" + "\n".join(self.errors)

    # --- one request -------------------------------------------------------------------------------------------------

    def note(self, entry):
        with self._mutex:
            entry["n"] = len(self.journal) + 1
            self.journal.append(entry)
            if self._file:
                print(json.dumps(entry), file=self._file, flush=True)

    def blame(self, entry, what):
        """A client's mistake: answered like any server would, and remembered."""
        with self._mutex:
            self.errors.append(f"{entry['method']} {entry['target']}: {what}")
        entry["error"] = what

    def apply(self, entry, headers, body):
        """(status, body, headers) of a request; changes the states."""
        try:
            with self._mutex:
                self.route(entry, headers, body)
        except Answer as a:
            return a.status, a.body, a.headers
        raise AssertionError("a route ended without an answer")

    def route(self, entry, headers, body):
        self.authorize(headers)
        path, _, query = entry["target"].partition("?")
        parts = path.split("/")
        name = urllib.parse.unquote(parts[2]) if len(parts) in (3, 4) and parts[1] == "state" else ""
        if not name or (len(parts) == 4 and parts[3] != "lock"):
            self.blame(entry, "no such address")
            raise Answer(404)
        entry["name"] = name
        state = self.state(name)
        verb = (entry["method"], len(parts) == 4, self.dialect)
        if verb[:2] == ("GET", False):
            self.read(state, entry, headers, query, body)
        if verb[:2] in (("POST", False), ("PUT", False)):
            self.write(state, entry, headers, query, body)
        if verb in (("LOCK", False, "lock"), ("POST", True, "post-delete")):
            self.lock(state, entry, headers, query, body)
        if verb in (("UNLOCK", False, "lock"), ("DELETE", True, "post-delete")):
            self.unlock(state, entry, headers, query, body)
        self.blame(entry, "no such method here")
        raise Answer(405)

    def authorize(self, headers):
        if not self.user:
            return
        want = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if headers.get("Authorization") is None:
            raise Answer(401, WWW_Authenticate='Basic realm="states"')
        if headers.get("Authorization") != want:
            raise Answer(403)

    def checked_body(self, entry, headers, body, limit):
        """Length, digest and type, which a client of this protocol always sends."""
        if len(body) > limit:
            raise Answer(413)
        if headers.get("Content-Length") is None:
            self.blame(entry, "no Content-Length")
            raise Answer(411)
        if headers.get("Content-Type") != "application/json":
            self.blame(entry, f"Content-Type is {headers.get('Content-Type')!r}")
            raise Answer(415)
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        if headers.get("Content-MD5") != digest:
            self.blame(entry, f"Content-MD5 is {headers.get('Content-MD5')!r}, the body has {digest}")
            raise Answer(400)

    def checked_lock(self, entry, headers, query, body):
        self.checked_body(entry, headers, body, LOCK_MAX)
        problem = "a lock has no query" if query else lock_problem(body)
        if problem:
            self.blame(entry, problem)
            raise Answer(400)
        entry["id"] = json.loads(body)["ID"]

    def read(self, state, entry, headers, query, body):
        if query or body:
            self.blame(entry, "a read has neither query nor body")
            raise Answer(400)
        if state.body is None:
            raise Answer(404)
        if self.etag and headers.get("If-None-Match") == etag_of(state.body):
            raise Answer(304, ETag=etag_of(state.body))
        raise Answer(200, state.body, Content_Type="application/json",
                     Content_MD5=base64.b64encode(hashlib.md5(state.body).digest()).decode(),
                     **({"ETag": etag_of(state.body)} if self.etag else {}))

    def write(self, state, entry, headers, query, body):
        self.checked_body(entry, headers, body, BODY_MAX)
        args = urllib.parse.parse_qs(query, keep_blank_values=True)
        given = args.pop("ID", [""])
        if args or len(given) != 1:
            self.blame(entry, f"unknown query {query!r}")
            raise Answer(400)
        if state.lock and given[0] != state.lock_id():
            raise Answer(423, state.lock)
        if not state.lock and given[0]:
            raise Answer(409, b"not locked")
        try:
            doc = json.loads(body)
            serial, lineage = int(doc.get("serial", 0)), str(doc.get("lineage", ""))
        except (ValueError, AttributeError, TypeError, UnicodeDecodeError):
            self.blame(entry, "the state is no JSON object")
            raise Answer(400)
        if self.etag and headers.get("If-Match") not in (None, etag_of(state.body)):
            raise Answer(412)
        if self.ascending and state.writes and serial <= max(w[0] for w in state.writes):
            raise Answer(422, b"serial already stored or lower")
        entry["serial"] = serial
        state.body = body
        state.writes.append((serial, lineage, hashlib.sha256(body).hexdigest(), state.lock_id()))
        raise Answer(200)

    def lock(self, state, entry, headers, query, body):
        self.checked_lock(entry, headers, query, body)
        if state.lock and state.lock_id() != entry["id"]:
            raise Answer(423, state.lock, Content_Type="application/json")
        state.lock = state.lock or body
        raise Answer(200, state.lock, Content_Type="application/json")

    def unlock(self, state, entry, headers, query, body):
        if not body:                                    # only terraform force-unlock does this
            if headers.get("User-Agent", "") != "Go-http-client/1.1":
                self.blame(entry, "an unlock without the lock's body")
            if not self.empty_unlock:
                raise Answer(403, b"the lock's body is needed")
            state.lock = None
            raise Answer(200)
        self.checked_lock(entry, headers, query, body)
        if not state.lock or state.lock_id() != entry["id"]:
            raise Answer(409, state.lock or b"not locked")
        state.lock = None
        raise Answer(200)


def etag_of(body):
    return f'"{hashlib.sha256(body or b"").hexdigest()[:32]}"'


def lock_problem(body):
    """Why these bytes are not the LockInfo that terraform sends; '' when they are."""
    try:
        doc = json.loads(body)
    except ValueError:
        return "the lock is no JSON"
    if not isinstance(doc, dict) or list(doc) != LOCK_FIELDS:
        return f"the lock's fields are {list(doc) if isinstance(doc, dict) else doc!r}"
    if not all(isinstance(v, str) for v in doc.values()) or not doc["ID"] or not doc["Who"]:
        return f"the lock's values are {doc}"
    if not RFC3339.fullmatch(doc["Created"]):
        return f"the lock's Created is {doc['Created']!r}"
    return ""


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address, owner):
        self.owner = owner
        self.context = owner.tls.server_context() if owner.tls else None
        super().__init__(address, _Handler)

    def get_request(self):
        sock, peer = super().get_request()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context:
            sock = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, peer

    def handle_error(self, *_):
        """A client that goes away is none of our business; the journal has what it asked."""


class Lines:
    """What is read of a connection; ended: the last line that was asked for was not there any more."""

    def __init__(self, inner):
        self.inner, self.ended = inner, False

    def readline(self, *limit):
        line = self.inner.readline(*limit)
        self.ended = not line
        return line

    def __getattr__(self, name):
        return getattr(self.inner, name)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "http_state", ""

    def setup(self):
        super().setup()
        self.rfile = Lines(self.rfile)
        with self.server.owner._mutex:
            self.server.owner._live.add(self.connection)

    def finish(self):
        with self.server.owner._mutex:
            self.server.owner._live.discard(self.connection)
        super().finish()

    def parse_request(self):
        """A head that has no end is no request, though Python's parser takes it for one."""
        return super().parse_request() and not self.rfile.ended

    def date_time_string(self, timestamp=None):
        return super().date_time_string((timestamp or time.time()) + self.server.owner.skew)

    def log_message(self, *_):
        pass

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            size = min(int(self.headers.get("Content-Length") or 0), BODY_MAX + 1)
            body = self.rfile.read(size)
            if len(body) < size:
                raise ConnectionError("the client left in the middle of its request: nothing was asked")
            return body
        out = b""
        while size := int(self.rfile.readline(64).split(b";")[0], 16):
            out += self.rfile.read(size)
            self.rfile.readline(8)
        self.rfile.readline(8)
        return out

    def serve(self):
        owner = self.server.owner
        entry = {"at": time.time(), "method": self.command, "target": self.path, "name": None,
                 "agent": self.headers.get("User-Agent", "")}
        body = self.body()
        rule = owner.rules.match(self.command, self.path, self.headers)
        assert not rule or rule.drop in ("", "before", "after"), "a proxy's fault"
        entry |= {"sha256": hashlib.sha256(body).hexdigest(), "fault": repr(rule) if rule else None, "status": None}
        if rule:
            rule.pause()
            if rule.drop == "before" or (rule.status and not rule.applied):
                owner.note(entry | {"status": rule.status})
                return self.cut() if rule.drop else self.answer(entry, rule.status, rule.body, rule.headers, None)
        status, out, headers = owner.apply(entry, self.headers, body)
        if rule and rule.duplicate:
            status, out, headers = owner.apply(entry, self.headers, body)
        if rule and rule.status:
            status, out, headers = rule.status, rule.body, rule.headers
        entry["status"] = status
        owner.note(entry)
        if rule and rule.drop:
            return self.cut()
        self.answer(entry, status, out, headers, rule.truncate if rule else None)

    def answer(self, entry, status, body, headers, truncate):
        entry["status"] = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if truncate is not None:
            self.wfile.write(body[:truncate])
            return self.cut()
        if status != 304:
            self.wfile.write(body)

    def cut(self):
        """The connection ends without a goodbye."""
        self.wfile.flush()
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
