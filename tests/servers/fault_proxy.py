# SPDX-License-Identifier: MIT
"""A proxy on loopback that stands in front of a real server and does what networks do: delay, cut before or after the
request went through, cut in the middle of it or of the answer, answer 503 itself, deliver a request twice.

It passes bytes on unchanged (signatures stay valid), one request at a time per connection, and keeps a journal of what
went through. Faults come from `rules` (faults.py); plain HTTP/1.1 only."""
import email.utils
import re
import socket
import time
import urllib.parse

from faults import Rules
from relay import Gone, Relay, cut

HEAD_MAX = 64 << 10
CHUNK = 256 << 10
SERIAL_MAX = 1 << 20
SERIAL = re.compile(rb'"serial":\s*(\d+)')


class Message:
    """One request or answer: the bytes as they came, and what the proxy needs of them."""

    def __init__(self, head, body):
        self.head, self.body = head, body
        lines = head.decode("latin-1").split("\r\n")
        self.first = lines[0].split(" ", 2)
        self.headers = {k.strip().lower(): v.strip() for k, _, v in (l.partition(":") for l in lines[1:] if l)}


class Reader:
    """Reads whole HTTP messages from a socket."""

    def __init__(self, sock):
        self.sock, self.rest = sock, b""

    def more(self):
        try:
            data = self.sock.recv(CHUNK)
        except OSError as e:
            raise Gone from e
        if not data:
            raise Gone
        return data

    def line_end(self, mark, limit):
        while mark not in self.rest:
            if len(self.rest) > limit:
                raise Gone
            self.rest += self.more()
        return self.take(self.rest.index(mark) + len(mark))

    def take(self, n):
        parts, have = [self.rest], len(self.rest)
        while have < n:
            parts.append(self.more())
            have += len(parts[-1])
        whole = b"".join(parts)
        self.rest = whole[n:]
        return whole[:n]

    def chunks(self):
        out = b""
        while True:
            line = self.line_end(b"\r\n", HEAD_MAX)
            size = int(line.split(b";")[0], 16)
            out += line
            if size == 0:                               # trailers, then an empty line
                while line != b"\r\n":
                    line = self.line_end(b"\r\n", HEAD_MAX)
                    out += line
                return out
            out += self.take(size + 2)

    def body(self, head, default):
        if re.search(rb"(?im)^transfer-encoding:\s*chunked\s*\r$", head):
            return self.chunks()
        m = re.search(rb"(?im)^content-length:\s*(\d+)\s*\r$", head)
        if m:
            return self.take(int(m[1]))
        if default == "none":
            return b""
        out = self.rest
        try:
            while True:
                out += self.more()
        except Gone:
            return out

    def request(self):
        head = self.line_end(b"\r\n\r\n", HEAD_MAX)
        if re.search(rb"(?im)^expect:\s*100-continue\s*\r$", head):
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = re.sub(rb"(?im)^expect:[^\r]*\r\n", b"", head)
        return Message(head, self.body(head, "none"))

    def answer(self, method):
        while True:
            head = self.line_end(b"\r\n\r\n", HEAD_MAX)
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                break
        bare = method == "HEAD" or status in (204, 304)
        return Message(head, b"" if bare else self.body(head, "until close"))


class FaultProxy(Relay):
    """In front of one upstream port."""

    def __init__(self, upstream_port):
        super().__init__()
        self.upstream_port = upstream_port
        self.rules = Rules()
        self.skew = 0               # seconds that the server's clock seems to be ahead

    def stop(self):
        self.rules.clear()
        super().stop()

    def requests(self, method="*", part=""):
        """What went through or was meant to: dictionaries, oldest first."""
        with self._mutex:
            return [e for e in self.journal if method in ("*", e["method"]) and part in e["target"]]

    def serve(self, client):
        upstream = []
        try:
            reader = Reader(client)
            while self._one(client, reader, upstream):
                pass
        finally:
            for r in upstream:
                cut(r.sock)
                r.sock.close()

    def _one(self, client, reader, upstream):
        """One request; false when the client's connection is to end."""
        message = reader.request()
        method, target = message.first[0], message.first[1]
        rule = self.rules.match(method, target, message.headers)
        serial = SERIAL.search(message.body) if len(message.body) <= SERIAL_MAX else None
        entry = {"at": time.time(), "method": method, "target": target, "headers": message.headers, "status": None,
                 "path": urllib.parse.unquote(target.partition("?")[0]), "serial": int(serial[1]) if serial else None,
                 "size": len(message.body), "fault": repr(rule) if rule else None}
        with self._mutex:
            self.journal.append(entry)
        if rule:
            rule.pause()
            if rule.drop == "before":
                return False
            if rule.drop == "half":
                self._half(message, upstream)
                return False
            if rule.status and not rule.applied:
                return _say(client, entry, rule)
        answer = self._forward(message, method, upstream)
        entry["statuses"] = [int(answer.first[1])]
        if rule and rule.duplicate:
            answer = self._forward(message, method, upstream)
            entry["statuses"].append(int(answer.first[1]))
        if self.skew:
            answer.head = re.sub(rb"(?im)^date:[^\r]*", b"Date: " + email.utils.formatdate(time.time() + self.skew, usegmt=True).encode(),
                                 answer.head)
        entry["status"] = int(answer.first[1])
        if rule and rule.drop == "after":
            return False
        if rule and rule.status:
            return _say(client, entry, rule)
        if rule and rule.truncate is not None:
            client.sendall(answer.head + answer.body[:rule.truncate])
            return False
        if rule and rule.drop == "answer":
            whole = answer.head + answer.body
            client.sendall(whole[:len(whole) // 2])
            return False
        client.sendall(answer.head + answer.body)
        return message.headers.get("connection", "").lower() != "close"

    def _half(self, message, upstream):
        """Half of the request, and then the connection ends: _one's caller closes it."""
        if not upstream:
            upstream.append(Reader(socket.create_connection(("127.0.0.1", self.upstream_port))))
        whole = message.head + message.body
        upstream[0].sock.sendall(whole[:len(whole) // 2])

    def _forward(self, message, method, upstream):
        """Sends a request on and reads its answer whole; a kept connection that has died is replaced, once."""
        for fresh in (False, True):
            if fresh or not upstream:
                upstream[:] = [Reader(socket.create_connection(("127.0.0.1", self.upstream_port)))]
                upstream[0].sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                fresh = True
            try:
                upstream[0].sock.sendall(message.head + message.body)
                answer = upstream[0].answer(method)
            except (Gone, OSError):
                upstream[0].sock.close()
                if fresh:
                    raise
                continue
            if answer.headers.get("connection", "").lower() == "close":
                upstream[0].sock.close()
                upstream.clear()
            return answer
        raise Gone


def _say(client, entry, rule):
    entry["status"] = rule.status
    lines = [f"HTTP/1.1 {rule.status} Fault", f"Content-Length: {len(rule.body)}"]
    lines += [f"{k}: {v}" for k, v in rule.headers.items()]
    client.sendall("\r\n".join([*lines, "", ""]).encode() + (b"" if entry["method"] == "HEAD" else rule.body))
    return True
