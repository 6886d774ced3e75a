# SPDX-License-Identifier: MIT
"""The world that is measured in: one S3 server that counts its requests, buckets with states, agents."""
import itertools
import os
import pathlib
import random
import re
import shutil
import tempfile
import threading
import time

import measure  # first: it sets the path
import install
from agent import Agent
from servers import Versitygw
from states import lineage

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("O") or ROOT / "build").resolve()
FILL_THREADS = 4
OPERATION = re.compile(r"^\S+ (\S+) \[.*? s3_(\w+) (\S+) ")


class CountedS3(Versitygw):
    """versitygw with its access log on: one line for each request, whoever asks."""

    @property
    def log(self):
        return self.folder / "access.log"

    def command(self):
        first, *rest = super().command()
        return [first, "--access-log", self.log, *rest]

    def lines(self):
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []


class Requests:
    """The requests between entering and leaving: `count`, `lines`."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.before = len(self.server.lines())
        return self

    def __exit__(self, *_):
        time.sleep(0.05)        # the server writes its log after the answer
        self.lines = self.server.lines()[self.before:]
        self.count = len(self.lines)

    def operations(self, name):
        """What was asked about one state and its lock, in order: (bucket, operation, key)."""
        found = [OPERATION.search(line) for line in self.lines]
        return [(m[1], m[2], m[3]) for m in found if m and m[3] in (name, name + ".tflock")]


class World:
    """Servers, folders and agents of one run of the bench; everything ends with it."""

    def __init__(self, binary=None):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="ferry-bench-"))
        self.binary = pathlib.Path(binary or BUILD / "stateferry")
        self.s3 = CountedS3(self.top / "s3")
        self.agents, self.names = [], itertools.count(1)

    def __enter__(self):
        self.s3.start()
        return self

    def __exit__(self, *_):
        for agent in self.agents:
            agent.end()
        self.s3.kill()
        shutil.rmtree(self.top, ignore_errors=True)

    def agent(self, **kw):
        agent = Agent(self.binary, self.top, f"a{next(self.names)}", **kw)
        self.agents.append(agent)
        return agent

    def bucket(self):
        name = f"bench-{next(self.names)}"
        self.s3.client().create_bucket(name)
        return name

    def folder(self):
        path = self.top / f"folder-{next(self.names)}"
        path.mkdir()
        return path

    def data(self, bucket, key):
        """Where the server keeps an object: a file that appears whole."""
        return self.s3.folder / "data" / bucket / key

    def requests(self):
        return Requests(self.s3)

    def add_bucket(self, agent, label, bucket, **more):
        agent.backend("s3", label, self.s3.backend(bucket), **more)

    def fill(self, bucket, bodies):
        """Puts name -> bytes, quickly."""
        items = list(bodies.items())

        def work(share):
            client = self.s3.client()
            for name, body in share:
                client.put(bucket, name, body)
        running = [threading.Thread(target=work, args=(items[i::FILL_THREADS],)) for i in range(FILL_THREADS)]
        for t in running:
            t.start()
        for t in running:
            t.join()


def names(count):
    return [f"team-{i % 97}/app-{i}.tfstate" for i in range(count)]


def find(program):
    """The path of a peer, or None with the reason."""
    own = shutil.which(program)
    if own:
        return own, ""
    try:
        return str(install.find(program)), ""
    except (install.Missing, KeyError) as e:
        return None, str(e) or f"no {program} on this machine"


class Text:
    """A state of about `size` bytes as terraform writes it, all values different; next() is a small edit and a new serial."""

    RESOURCE = """    {
      "mode": "managed",
      "type": "aws_security_group_rule",
      "name": "rule_%d",
      "provider": "provider[\\"registry.terraform.io/hashicorp/aws\\"]",
      "instances": [
        {
          "schema_version": 2,
          "attributes": {
            "cidr_blocks": [
              "10.%d.%d.0/24"
            ],
            "description": "%s",
            "from_port": %d,
            "id": "sgrule-%d",
            "protocol": "tcp",
            "security_group_id": "sg-%017x",
            "to_port": %d,
            "type": "ingress"
          },
          "sensitive_attributes": [],
          "private": "%032x"
        }
      ]
    }"""

    def __init__(self, size, seed=0):
        self.random, self.serial = random.Random(seed), 1
        self.line = lineage()
        self.resources = []
        while sum(map(len, self.resources)) < size - 300:
            self.resources.append(self.resource(len(self.resources)))

    def resource(self, n):
        r = self.random.randrange
        port = r(1024, 65536)
        return self.RESOURCE % (n, r(256), r(256), f"change {r(10 ** 6)}", port, r(10 ** 9), r(16 ** 17), port, r(16 ** 32))

    def next(self):
        self.serial += 1
        n = self.random.randrange(len(self.resources))
        self.resources[n] = self.resource(n)
        return self.bytes()

    def bytes(self):
        head = ('{\n  "version": 4,\n  "terraform_version": "1.11.4",\n  "serial": %d,\n  "lineage": "%s",\n'
                '  "outputs": {},\n  "resources": [\n' % (self.serial, self.line))
        return (head + ",\n".join(self.resources) + '\n  ],\n  "check_results": null\n}\n').encode()


def many(count, size):
    """name -> state, each with its own lineage and values."""
    return {name: Text(size, seed).bytes() for seed, name in enumerate(names(count))}
