# SPDX-License-Identifier: MIT
"""The S3 driver alone, by tests/tools/provider_cli, against real servers and beside real terraform."""
import hashlib
import json
import os
import pathlib
import subprocess

import pytest
from hcl import Block
from servers import Ministack, Moto, Versitygw
from states import lineage, state

TOOL = pathlib.Path(os.environ.get("STATEFERRY", "build/stateferry")).resolve().parent / "tools" / "provider_cli"
SERVERS = [Versitygw, Ministack, Moto]
LINEAGE = lineage()
NAMES = ["plain.tfstate", "with space/ü/é.tfstate", "a+b=c&d,~(1)'!*$@;:/x.tfstate", "hash#and?percent%25/%.tfstate",
         "env:/dev/net.tfstate", "very/" + "deep/" * 20 + "x.tfstate", "quote\"back\\slash.tfstate"]


class Cli:
    """Calls of one backend block; answers are the lines of JSON it prints."""

    def __init__(self, folder, **args):
        self.folder, self.config = folder, folder / "provider.hcl"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {"SPOOL": str(folder)}
        self.configure(**args)

    def configure(self, **args):
        self.config.write_text(Block("backend", "s3", "b", **args).text() + "\n")
        self.config.chmod(0o600)

    def run(self, *args, out=None, **env):
        more = {"OUT": str(out)} if out else {}
        done = subprocess.run([TOOL, self.config, "b", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, env=self.env | more | env, timeout=120)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def ok(self, *args, **kw):
        code, lines = self.run(*args, **kw)
        assert code == 0, lines
        return lines

    def error(self, *args, **kw):
        code, lines = self.run(*args, **kw)
        assert code == 1, lines
        return lines[0]


@pytest.fixture(params=SERVERS, ids=lambda s: s.name)
def bucket_of(request, make_bucket):
    return make_bucket(request.param)


def file_of(workdir, data):
    path = workdir / hashlib.sha256(data).hexdigest()[:12]
    path.write_bytes(data)
    return path


def test_round_trip_of_every_kind_of_name(bucket_of, workdir):
    cli = Cli(workdir, **bucket_of.backend())
    for i, name in enumerate(NAMES):
        body = state(i + 1, LINEAGE)
        tag = cli.ok("put", name, file_of(workdir, body), "absent")[0]["etag"]
        got = cli.ok("get", name, out=workdir / "out")[0]
        assert (workdir / "out").read_bytes() == body == bucket_of.get(name)
        assert got["etag"] == tag == cli.ok("head", name)[0]["etag"]
        assert got["serial"] == i + 1
        assert cli.error("get", name, tag)["error"] == "unchanged"
    seen = cli.ok("list")
    assert sorted(s["name"] for s in seen) == sorted(NAMES)
    assert all(not s["locked"] and s["problem"] is None for s in seen)


def test_preconditions_are_enforced(bucket_of, workdir):
    cli = Cli(workdir, **bucket_of.backend())
    one, two = file_of(workdir, state(1, LINEAGE)), file_of(workdir, state(2, LINEAGE))
    tag = cli.ok("put", "a.tfstate", one, "absent")[0]["etag"]
    assert cli.error("put", "a.tfstate", two, "absent")["error"] == "held"
    assert cli.error("put", "a.tfstate", two, "0" * 32)["error"] == "held"
    assert cli.error("put", "b.tfstate", two, tag)["error"] == "held"
    cli.ok("put", "a.tfstate", two, tag)
    assert cli.error("put", "a.tfstate", one, tag)["error"] == "held"
    assert bucket_of.get("a.tfstate") == two.read_bytes()
    assert cli.error("del", "a.tfstate", tag)["error"] == "held"
    cli.ok("del", "a.tfstate")
    assert cli.error("get", "a.tfstate")["error"] == "not_found"
    cli.ok("put", "a.tfstate", one, "absent")


def test_a_push_takes_six_requests(bucket_of, workdir):
    cli = Cli(workdir, **bucket_of.backend())
    for serial in (1, 2):
        assert cli.ok("cycle", "prod/a.tfstate", file_of(workdir, state(serial, LINEAGE)))[0]["requests"] == 6
    assert bucket_of.locks() == []


def test_lock(bucket_of, workdir):
    cli = Cli(workdir, **bucket_of.backend())
    cli.ok("put", "a.tfstate", file_of(workdir, state(1, LINEAGE)), "absent")
    mine = cli.ok("lock", "a.tfstate", "id-1")[0]
    assert mine["path"] == f"{bucket_of.name}/a.tfstate" and mine["generation"]
    assert cli.ok("lock", "a.tfstate", "id-1")[0]["generation"] == mine["generation"]   # ours already
    assert cli.error("lock", "a.tfstate", "id-2")["error"] == "locked"
    assert cli.ok("peek", "a.tfstate")[0]["id"] == "id-1"
    assert [s["locked"] for s in cli.ok("list")] == [True]
    cli.ok("unlock", "a.tfstate", "id-2")                                               # another's: stays
    assert bucket_of.locks() == ["a.tfstate.tflock"]
    cli.ok("unlock", "a.tfstate", "id-1")
    cli.ok("unlock", "a.tfstate", "id-1")
    assert bucket_of.locks() == []
    assert cli.error("peek", "a.tfstate")["error"] == "not_found"


def test_probe_finds_versitygw_good_and_leaves_nothing(bucket, workdir):
    cli = Cli(workdir, prefix="states/", **bucket.backend())
    checks = {c["name"]: c for c in cli.ok("probe")}
    assert [n for n, c in checks.items() if not c["ok"]] == [], checks
    assert set(checks) == {"reach", "auth", "clock", "list", "create_only", "read", "list_after_write", "checksum",
                           "if_match", "racing_writes", "delete_create", "lock"}
    assert bucket.keys() == []


@pytest.mark.parametrize("server", [Ministack, Moto], ids=lambda s: s.name)
def test_probe_of_emulators(server, make_bucket, workdir):
    """They do not verify checksums or race; whatever they are found to do, nothing stays."""
    bucket = make_bucket(server, versioning=True)
    checks = {c["name"]: c["ok"] for c in Cli(workdir, **bucket.backend()).ok("probe")}
    assert checks["reach"] and checks["auth"] and checks["create_only"] and checks["delete_create"] and checks["lock"], checks
    assert bucket.keys() == []


def test_delete_marker_trap_of_versitygw(workdir, need_versitygw_with_versions):
    """With its versioning a deleted lock can never be taken again: said in so many words, not "locked"."""
    server, bucket = need_versitygw_with_versions
    cli = Cli(workdir, **server.backend(bucket))
    cli.ok("lock", "a.tfstate", "id-1")
    cli.ok("unlock", "a.tfstate", "id-1")
    error = cli.error("lock", "a.tfstate", "id-2")
    assert error["error"] == "unsupported" and "delete marker" in error["msg"], error
    checks = {c["name"]: c["ok"] for c in cli.ok("probe")}
    assert not checks["delete_create"]


@pytest.fixture
def need_versitygw_with_versions(workdir):
    from conftest import need

    class Versioned(Versitygw):
        def command(self):
            versions = self.folder / "versions"
            versions.mkdir(exist_ok=True)
            *before, data = super().command()
            return [*before, "--versioning-dir", versions, data]

    server = need("versitygw", lambda: Versioned(workdir / "versitygw").start())
    server.client().create_bucket("versions", versioning=True)
    yield server, "versions"
    server.stop()


@pytest.mark.parametrize("wrong, kind, word", [
    ({"access_key": "AKIANOBODY"}, "auth", "XAdminUserNotFound"),
    ({"secret_key": "wrong"}, "auth", "SignatureDoesNotMatch"),
    ({"bucket": "not-there"}, "config", "NoSuchBucket"),
], ids=["access_key", "secret_key", "bucket"])
def test_one_clear_sentence(bucket, workdir, wrong, kind, word):
    cli = Cli(workdir, **(bucket.backend() | wrong))
    error = cli.error("get", "a.tfstate")
    assert error["error"] == kind and word in error["msg"] and error["hint"], error
    assert bucket.server.secret_key not in json.dumps(error)


def test_wrong_region_is_learned(bucket, workdir):
    cli = Cli(workdir, **(bucket.backend() | {"region": "us-east-1"}))
    cli.ok("put", "a.tfstate", file_of(workdir, state(1, LINEAGE)), "absent")
    assert cli.ok("head", "a.tfstate")[0]["size"] > 0
    assert [s["name"] for s in cli.ok("list")] == ["a.tfstate"]


def test_create(bucket, workdir):
    cli = Cli(workdir, **(bucket.backend() | {"bucket": bucket.name + "-new"}))
    assert cli.error("list")["error"] == "not_found"
    cli.ok("create")
    cli.ok("create")
    assert cli.ok("list") == []


def test_a_thousand_states_are_one_page_and_a_large_state_is_spooled(bucket, workdir):
    big = b'{"version":4,"serial":3,"lineage":"x","pad":"' + b"0123456789" * 4_500_000 + b'"}'
    path = file_of(workdir, big)
    cli = Cli(workdir, **bucket.backend())
    cli.ok("put", "big.tfstate", path, "absent")
    got = cli.ok("get", "big.tfstate", out=workdir / "out")[0]
    assert got["sha256"] == hashlib.sha256(big).hexdigest() and not got["in_memory"]
    assert hashlib.sha256((workdir / "out").read_bytes()).hexdigest() == got["sha256"]
    for i in range(1100):
        bucket.put(f"many/s{i:04}.tfstate", b"{}")
    assert len(cli.ok("list")) == 1101


def test_terraform_and_we_respect_each_other(bucket, workdir, terraform):
    project = terraform("net", ("s3", bucket.backend("net/terraform.tfstate")))
    project.init()
    project.apply()
    cli = Cli(workdir, **bucket.backend(key="net/terraform.tfstate"))
    assert [s["name"] for s in cli.ok("list")] == ["net/terraform.tfstate"]
    got = cli.ok("get", "net/terraform.tfstate")[0]
    assert got["serial"] >= 1
    cli.ok("lock", "net/terraform.tfstate", "6f9619ff-8b86-d011-b42d-00cf4fc964ff")
    assert "6f9619ff-8b86-d011-b42d-00cf4fc964ff" in project.plan(ok=(1,)).out
    cli.ok("unlock", "net/terraform.tfstate", "6f9619ff-8b86-d011-b42d-00cf4fc964ff")
    project.plan()
    assert bucket.locks() == []


def test_shared_files_and_environment(bucket, workdir):
    server = bucket.server
    args = {k: v for k, v in bucket.backend().items() if k not in ("access_key", "secret_key")}
    (workdir / "credentials").write_text(f"[prod]\naws_access_key_id = {server.access_key}\n"
                                         f"aws_secret_access_key = {server.secret_key}\n")
    cli = Cli(workdir, profile="prod", shared_credentials_files=[str(workdir / "credentials")], **args)
    assert cli.ok("list") == []
    cli.configure(**args)
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    assert cli.ok("list", **keys) == []
    assert cli.error("list", HOME=str(workdir))["error"] == "auth"
