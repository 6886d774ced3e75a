# SPDX-License-Identifier: MIT
"""What stands between a client and a server: listens on a free port of loopback, one thread for each connection."""
import socket
import threading


class Gone(Exception):
    """One side closed its connection."""


class Relay:
    """Hands each connection to serve(), and cuts what is open when it stops; start() takes the same port again."""

    def __init__(self):
        self.journal = []           # of what came, oldest first
        self.port = 0
        self._mutex, self._live = threading.Lock(), set()
        self._listener = self._thread = None

    def start(self):
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        """Refuses connections from here on and cuts the open ones."""
        if self._listener is None:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        self._thread.join()
        with self._mutex:
            live, self._live = self._live, set()
        for sock in live:
            cut(sock)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def listens(self):
        return self._listener is not None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _accept(self):
        listener = self._listener
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._mutex:
                self._live.add(sock)
            threading.Thread(target=self._connection, args=(sock,), daemon=True).start()

    def _connection(self, client):
        try:
            self.serve(client)
        except (Gone, OSError):
            pass
        finally:
            cut(client)
            client.close()
            with self._mutex:
                self._live.discard(client)

    def serve(self, client):
        """One connection, to its end."""
        raise NotImplementedError


def cut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
