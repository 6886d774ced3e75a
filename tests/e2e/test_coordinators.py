# SPDX-License-Identifier: MIT
"""Leases in etcd and DynamoDB, real ones: agents with one configuration and a target that could not carry them."""
import json
import signal

import pytest

from agent import eventually
from conftest import need
from hcl import Block
from servers import Dynalite, Etcd, EtcdTls, S3Server, free_port
from states import lineage, state

NAME = "net/prod.tfstate"
PASSWORD = "etcd-passw0rd-canary-2e7b"


class EtcdKeeps:
    """Leases in etcd; tls: with users and client certificates."""

    def __init__(self, folder, certificates=None):
        self.server = EtcdTls(folder, certificates) if certificates else Etcd(folder)
        self.args = {"endpoints": [f"{self.server.scheme}://127.0.0.1:{free_port()}", self.server.url]}    # the first one is down
        if certificates:
            self.args |= {"ca_file": str(certificates.folder / "ca.pem"), "cert_file": str(certificates.folder / "nameless.pem"),
                          "key_file": str(certificates.folder / "nameless.key"), "username": "ferry", "password": PASSWORD}
        self.users = bool(certificates)

    def start(self):
        self.server.start()
        if self.users:
            self.server.users("ferry", PASSWORD, ".stateferry/")
        return self

    def block(self):
        return Block("etcd", **self.args)

    def records(self):
        return {k: json.loads(v) for k, v in self.server.range(".stateferry/lease/").items()}


class TableKeeps:
    """Leases in the table of terraform's locks."""

    def __init__(self, folder):
        self.server = Dynalite(folder)

    def start(self):
        self.server.start()
        self.server.create("locks")
        self.server.put("locks", "bucket/other.tfstate", "Info", "a lock of terraform's")
        return self

    def block(self):
        return Block("dynamodb", table="locks", region=S3Server.region, endpoint=f"http://127.0.0.1:{self.server.port}",
                     access_key=S3Server.access_key, secret_key=S3Server.secret_key)

    def records(self):
        found = self.server.call("Scan", TableName="locks")["Items"]
        return {i["LockID"]["S"]: json.loads(i["LeaseRecord"]["S"]) for i in found if "LeaseRecord" in i}


@pytest.fixture(params=["etcd", "etcd-tls-users", "dynamodb"])
def keeper(request, workdir):
    if request.param == "dynamodb":
        made = need("dynalite", lambda: TableKeeps(workdir / "keeper"))
    else:
        tls = request.getfixturevalue("certificates") if request.param != "etcd" else None
        made = need("etcd", lambda: EtcdKeeps(workdir / "keeper", tls))
    made.start()
    yield made
    made.server.kill()


def fleet(agents, live, dr, block, names, ttl="2s", coordinator=None):
    made = []
    for name in names:
        agent = agents(name)
        live.add(agent, "live")
        dr.add(agent, "dr", states=[NAME])
        agent.replicate("out", "live", "dr", blocks=[Block("lease", coordinator=coordinator or block.kind, ttl=ttl, blocks=[block])])
        made.append(agent)
    return made


def lease(agent):
    return agent.status()["leases"][0]


def test_hand_over(agents, places, keeper):
    """The one that starts first replicates; it ends, and the other goes on; that one dies, and the first comes back."""
    live, dr, line = places("local"), places("http"), lineage()
    live.put(NAME, state(1, line))
    one, two = fleet(agents, live, dr, keeper.block(), ["one", "two"])
    one.start()
    eventually(lambda: dr.get(NAME) == live.get(NAME))
    two.start()
    key, record = next(iter(keeper.records().items()))
    assert key == ".stateferry/lease/out@dr" and record["name"] == "one" and record["epoch"] == 1
    eventually(lambda: lease(two)["name"] == "one", what="two sees who holds it")
    assert len(dr.writes(NAME)) == 1
    one.stop()
    live.put(NAME, state(2, line))
    eventually(lambda: dr.get(NAME) == live.get(NAME))
    assert keeper.records()[key]["name"] == "two"
    one.start()
    two.process.send_signal(signal.SIGKILL)
    two.kill()
    live.put(NAME, state(3, line))
    eventually(lambda: dr.get(NAME) == live.get(NAME))
    record = keeper.records()[key]
    assert record["name"] == "one" and record["transitions"] == 2 and record["epoch"] == 3
    one.stop()
    assert keeper.records()[key]["holder"] == "" and dr.locks() == []


def test_a_lock_that_a_dead_agent_left(agents, places, keeper):
    """The server tells of a lock only when it refuses one: the successor gives back that of its fleet, by its id, and goes on."""
    live, dr, line = places("local"), places("http"), lineage()
    live.put(NAME, state(1, line))
    one, two = fleet(agents, live, dr, keeper.block(), ["one", "two"])
    one.start()
    eventually(lambda: dr.get(NAME) == live.get(NAME))
    two.start()
    stuck = dr.on_write(NAME, hold=True, drop="before")
    live.put(NAME, state(2, line))
    stuck.wait()
    one.kill()
    stuck.release()
    assert dr.locks()
    eventually(lambda: dr.get(NAME) == live.get(NAME), 40)
    eventually(lambda: dr.locks() == [])
    two.stop()


def test_the_coordinator_is_away(agents, places, keeper):
    """Without it nobody may write; it comes back with what it knew, and so do they. A pass says what is wrong."""
    live, dr, line = places("local"), places("http"), lineage()
    live.put(NAME, state(1, line))
    one, two = fleet(agents, live, dr, keeper.block(), ["one", "two"])
    one.start()
    eventually(lambda: dr.get(NAME) == live.get(NAME))
    two.start()
    keeper.server.kill()
    eventually(lambda: lease(one)["standing"] == "unread", what="the holder knows that it holds it no longer")
    live.put(NAME, state(2, line))
    doc = one.json("status", code=None)
    assert dr.get(NAME) == state(1, line), doc
    keeper.server.start()
    eventually(lambda: dr.get(NAME) == live.get(NAME), 40)
    one.stop()
    two.stop()
    assert len(dr.writes(NAME)) == 2


def test_doctor_asks_the_coordinator(agents, places, keeper):
    """Whether records can be read and swapped there, without making one."""
    live, dr = places("local"), places("http")
    live.put(NAME, state(1, lineage()))
    one, = fleet(agents, live, dr, keeper.block(), ["one"])
    name = f"leases {keeper.block().kind}"
    said = next(c for c in one.json("doctor", code=None)["checks"] if c["name"] == name)
    assert said["status"] == "ok" and "can be read, and written" in said["message"], said
    assert keeper.records() == {}
    keeper.server.kill()
    said = next(c for c in one.json("doctor", code=None)["checks"] if c["name"] == name)
    assert said["status"] == "fail", said
    keeper.server.start()


def test_doctor_says_that_the_table_is_missing(agents, places, _session):
    server, live, dr = need("dynalite", lambda: _session(Dynalite)), places("local"), places("http")
    live.put(NAME, state(1, lineage()))
    one, = fleet(agents, live, dr, Block("dynamodb", table="nowhere", region=S3Server.region, endpoint=f"http://127.0.0.1:{server.port}",
                                         access_key=S3Server.access_key, secret_key=S3Server.secret_key), ["one"])
    said = next(c for c in one.json("doctor", code=None)["checks"] if c["name"] == "leases dynamodb")
    assert said["status"] == "fail" and "table nowhere does not exist" in said["message"], said


def test_what_is_refused(agents, places):
    """By config check, with the next step; and by the server, in words."""
    live, dr = places("local"), places("http")
    live.put(NAME, state(1, lineage()))
    one, = fleet(agents, live, dr, Block("etcd", endpoints=["http://127.0.0.1:1"]), ["one"], coordinator="target")
    said = one.call("config", "check", code=10).err
    assert "stands beside coordinator" in said, said
    one.forget("replicate", "out")
    one.replicate("out", "live", "dr", blocks=[Block("lease")])
    said = one.call("config", "check", code=10).err
    assert "cannot carry a lease" in said and '"dynamodb" or "etcd"' in said, said


def test_a_certificate_with_a_name(agents, places, certificates, workdir):
    made = need("etcd", lambda: EtcdKeeps(workdir / "keeper", certificates)).start()
    try:
        live, dr = places("local"), places("http")
        live.put(NAME, state(1, lineage()))
        named = {"cert_file": str(certificates.folder / "client.pem"), "key_file": str(certificates.folder / "client.key")}
        one, = fleet(agents, live, dr, Block("etcd", **made.args | named), ["one"])
        assert "takes no client certificate with a common name" in json.dumps(one.sync(code=None))
    finally:
        made.server.kill()


def test_a_wrong_password(agents, places, workdir):
    server = need("etcd", lambda: Etcd(workdir / "etcd")).start()
    try:
        server.users("ferry", PASSWORD, ".stateferry/")
        live, dr = places("local"), places("http")
        live.put(NAME, state(1, lineage()))
        one, two, three = (fleet(agents, live, dr, Block("etcd", endpoints=[server.url], **args), [name])[0] for name, args in (
            ("one", {"username": "ferry", "password": "wrong-" + PASSWORD}), ("two", {}),
            ("three", {"username": "ferry", "password": PASSWORD, "prefix": "elsewhere/"})))
        for agent, says in ((one, "user ferry is refused"), (two, "it wants a user"), (three, "user ferry may not")):
            doc = agent.sync(code=None)
            assert says in json.dumps(doc), doc
            told = next(c for c in agent.json("doctor", code=None)["checks"] if c["name"] == "leases etcd")
            assert told["status"] == "fail" and says in told["message"], told
        assert dr.get(NAME) is None
    finally:
        server.kill()


def test_the_example_with_dynamodb(example, agent, make_bucket, _session, http_states):
    live, dr, table = make_bucket(), http_states(user="", password=""), _session(Dynalite)
    server = live.server
    agent.env |= {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key,
                  "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.port}", "AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{table.port}"}
    locks, url = f"leases-of-{live.name}", dr.backend("{name}")["address"]
    table.create(locks)
    live.put(NAME, state(1, lineage()))
    example("lease-dynamodb.hcl", {
        "acme-tfstate": live.name, "eu-central-1": server.region, "terraform-locks": locks,
        "https://states.dr.example.com/{name}/lock": url, "https://states.dr.example.com/{name}": url}, {"live": {"use_path_style": True}})
    agent.sync()
    assert dr.body(NAME) == live.get(NAME) and list(table.rows(locks)) == [".stateferry/lease/live-to-dr@dr"]


def test_the_example_with_etcd(example, agent, make_bucket, tfe, certificates, workdir):
    """With a certificate that etcd asks for, which stands in the file as a comment."""
    made = need("etcd", lambda: EtcdKeeps(workdir / "keeper", certificates)).start()
    try:
        live, secret = make_bucket(), agent.folder / "etcd"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o600)
        agent.env |= {"AWS_ACCESS_KEY_ID": live.server.access_key, "AWS_SECRET_ACCESS_KEY": live.server.secret_key,
                      "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{live.server.port}", "TFE_TOKEN": tfe.token}
        live.put("prod.tfstate", state(1, lineage()))
        tfe.add("prod")
        args = made.args
        example("lease-etcd.hcl", {
            "acme-tfstate": live.name, "eu-central-1": live.server.region, '"stateferry" #': '"ferry" #', "/etc/stateferry/secrets/etcd": secret,
            "https://etcd-1.example.com:2379": args["endpoints"][0], "https://etcd-2.example.com:2379": args["endpoints"][1],
            ', "https://etcd-3.example.com:2379"': "", "/etc/stateferry/etcd-ca.pem": args["ca_file"], "# ca_file ": "ca_file ",
            "/etc/stateferry/etcd.pem": args["cert_file"], "# cert_file ": "cert_file ",
            "/etc/stateferry/etcd.key": args["key_file"], "# key_file ": "key_file "},
            {"live": {"use_path_style": True}, "tfe": {"api_base": f"http://127.0.0.1:{tfe.port}/api/v2/"}})
        agent.sync()
        assert tfe.body("prod") == live.get("prod.tfstate") and list(made.records()) == [".stateferry/lease/live-to-tfe@tfe"]
    finally:
        made.server.kill()
