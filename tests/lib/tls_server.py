#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A TLS server on 127.0.0.1 for unit tests.

    tls_server.py CERT KEY [--client-ca FILE] [--good N] [--max-version 1.2]

Prints its port, then "METHOD TARGET" for each request it has read. Answers N requests per connection (all of them
without --good), then reads one more and closes without an answer. Ends when its standard input does."""
import argparse
import socket
import ssl
import sys
import threading


def serve(raw, ctx, good):
    spare = raw.dup()
    try:
        conn = ctx.wrap_socket(raw, server_side=True)
        held = b""
        while True:
            while b"\r\n\r\n" not in held:
                more = conn.recv(65536)
                if not more:
                    return
                held += more
            head, held = held.split(b"\r\n\r\n", 1)
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, value = line.split(b":", 1)
                if name.lower() == b"content-length":
                    length = int(value)
            while len(held) < length:
                held += conn.recv(65536)
            held = held[length:]
            print(" ".join(head.split(b"\r\n")[0].decode().split(" ")[:2]), flush=True)
            if good == 0:
                conn.close()
                return
            good -= 1
            subject = conn.getpeercert() or {}
            who = dict(x[0] for x in subject.get("subject", ())).get("commonName", "nobody")
            body = f"hello {who} {conn.version()}".encode()
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    except ssl.SSLError:
        # What is unread when a socket closes turns the close into a reset, and that overtakes our alert.
        spare.settimeout(2)
        try:
            spare.shutdown(socket.SHUT_WR)
            while spare.recv(65536):
                pass
        except OSError:
            pass
    except OSError:
        pass
    finally:
        raw.close()
        spare.close()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("cert")
    ap.add_argument("key")
    ap.add_argument("--client-ca")
    ap.add_argument("--good", type=int, default=-1)
    ap.add_argument("--max-version")
    args = ap.parse_args()
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(args.cert, args.key)
    if args.client_ca:
        ctx.load_verify_locations(args.client_ca)
        ctx.verify_mode = ssl.CERT_REQUIRED
    if args.max_version == "1.2":
        ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(50)
    print(listener.getsockname()[1], flush=True)

    def accept():
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=serve, args=(conn, ctx, args.good), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


main()
