# SPDX-License-Identifier: MIT
"""What may stand between a client and a server: a forward proxy, as HTTP_PROXY and HTTPS_PROXY name one, and a front that speaks
TLS for a server without it."""
import re
import socket
import ssl
import threading

from fault_proxy import Reader
from relay import Relay, cut

PIECE = 64 << 10


class ForwardProxy(Relay):
    """Absolute request targets for http, CONNECT for everything else."""

    def serve(self, client):
        reader = Reader(client)
        while True:
            message = reader.request()
            method, target = message.first[0], message.first[1]
            self.journal.append((method, target))
            if method == "CONNECT":
                return self.tunnel(client, target)
            m = re.fullmatch(r"http://([^/:]+):(\d+)(/.*)", target)
            if not m:
                return client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            head = message.head.replace(target.encode("latin-1"), m[3].encode("latin-1"), 1)
            with socket.create_connection((m[1], int(m[2]))) as upstream:
                upstream.sendall(head + message.body)
                answer = Reader(upstream).answer(method)
            client.sendall(answer.head + answer.body)

    @staticmethod
    def tunnel(client, target):
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            both_ways(client, upstream)


class TlsFront(Relay):
    """TLS with the certificate of servers.Certificates, in front of a plain server."""

    def __init__(self, certificates, upstream_port):
        super().__init__()
        self.upstream_port = upstream_port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificates.folder / "server.pem", certificates.folder / "server.key")

    def serve(self, client):
        with self.context.wrap_socket(client, server_side=True) as secure:
            reader = Reader(secure)
            while True:
                message = reader.request()
                self.journal.append((message.first[0], message.first[1]))
                with socket.create_connection(("127.0.0.1", self.upstream_port)) as upstream:
                    upstream.sendall(message.head + message.body)
                    answer = Reader(upstream).answer(message.first[0])
                secure.sendall(answer.head + answer.body)


class TlsInside(TlsFront):
    """As HTTPS_PROXY: whatever host is asked for, it is that plain server, under the certificate of servers.Certificates."""

    def serve(self, client):
        method = Reader(client).request().first[0]
        assert method == "CONNECT", method
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        super().serve(client)


def both_ways(a, b):
    def copy(from_, to):
        try:
            while piece := from_.recv(PIECE):
                to.sendall(piece)
        except OSError:
            pass
        cut(to)

    back = threading.Thread(target=copy, args=(b, a), daemon=True)
    back.start()
    copy(a, b)
    back.join()
