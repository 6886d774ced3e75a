# SPDX-License-Identifier: MIT
"""Credentials of the machine: what a container or an instance is given is found by the agent where terraform finds it."""
import http.server
import json
import threading
import time

import pytest

from states import serial_of

NAME = "net/prod.tfstate"
TOKEN, ROLE = "imds-t0ken-52b1", "agent-role"
CONTAINER_TOKEN = "container-t0ken-8c3e"


class Metadata(http.server.ThreadingHTTPServer):
    """The instance's service of version 2 (a token first), and a container's, with the keys of one S3 server. That one knows
    no sessions: the session token is empty."""

    daemon_threads = True

    def __init__(self, server):
        super().__init__(("127.0.0.1", 0), Answers)
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6 * 3600))
        self.keys = json.dumps({"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": server.access_key, "Expiration": until,
                                "SecretAccessKey": server.secret_key, "Token": ""}).encode()
        self.seen = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        self.server.seen.append((self.command, self.path, status))
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        asked = self.path == "/latest/api/token" and self.headers.get("x-aws-ec2-metadata-token-ttl-seconds")
        self.answer(200, TOKEN.encode(), x_aws_ec2_metadata_token_ttl_seconds=asked) if asked else self.answer(400)

    def do_GET(self):
        roles = "/latest/meta-data/iam/security-credentials/"
        if self.path == "/container":
            right = self.headers.get("Authorization") == CONTAINER_TOKEN
            self.answer(200 if right else 401, self.server.keys if right else b"{}")
        elif self.headers.get("x-aws-ec2-metadata-token") != TOKEN:
            self.answer(401)
        else:
            body = {roles: ROLE.encode(), roles + ROLE: self.server.keys}.get(self.path)
            self.answer(404 if body is None else 200, body or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def metadata(bucket):
    server = Metadata(bucket.server)
    yield server
    server.shutdown()
    server.server_close()


def environment(where, metadata):
    if where == "instance":
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url}
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata.url + "/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": CONTAINER_TOKEN, "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.mark.parametrize("where", ["instance", "container"])
def test_the_machine_lends_its_keys(agents, bucket, places, terraform, metadata, where):
    env = environment(where, metadata)
    args = {k: v for k, v in bucket.backend().items()
            if k not in ("access_key", "secret_key", "skip_metadata_api_check")}
    tf = terraform("tf", ("s3", args | {"key": NAME}), env=env)
    tf.init()
    tf.apply()
    metadata.seen.clear()
    agent, folder = agents(env=env), places("local")
    agent.backend("s3", "live", args)
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    agent.sync()
    assert folder.get(NAME) == bucket.get(NAME)
    asked = [path for _, path, status in metadata.seen if status == 200]
    assert len(asked) == len(set(asked)) == (3 if where == "instance" else 1), metadata.seen
    agent.call("restore", f"live:{NAME}@1", "--yes")
    assert serial_of(bucket.get(NAME)) == serial_of(folder.get(NAME)), "what is there already is not written"
    agent.check_secrets([TOKEN, CONTAINER_TOKEN])


def test_a_machine_that_lends_nothing_is_named(agents, bucket, places, metadata):
    env = environment("container", metadata) | {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "old"}
    agent, folder = agents(env=env), places("local")
    agent.backend("s3", "live", {k: v for k, v in bucket.backend().items() if k not in ("access_key", "secret_key")})
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    problem = agent.problem(agent.sync(code=12))
    assert "container" in problem["message"] and "401" in problem["message"], problem
