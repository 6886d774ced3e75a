# SPDX-License-Identifier: MIT
"""The servers of the tests, judged by real terraform: what satisfies it is what our agent must live with too."""
import http.client
import json
import threading
import time

import pytest

from azure_client import AzureClient, AzureError
from conftest import ALL_S3, HTTP_PASSWORD, need
from s3_client import S3Error
from servers import Azurite
from states import lineage, state


@pytest.fixture(params=["lock", "post-delete"])
def dialect(request):
    return request.param


def methods(server):
    return [(e["method"], e["status"]) for e in server.journal]


def test_terraform_on_http_state(http_states, terraform, dialect):
    server = http_states(dialect=dialect)
    tf = terraform("tf", ("http", server.backend("a/b ü")))
    tf.init()
    tf.apply()
    tf.apply(text="second", items=3)
    assert tf.unchanged()
    held = server.state("a/b ü")
    assert server.serials("a/b ü") == [1, 2]
    assert json.loads(held.body)["serial"] == 2 and held.lock is None
    locked_by = {w[3] for w in held.writes}
    assert None not in locked_by and len(locked_by) == 2
    lock, unlock = ("LOCK", "UNLOCK") if dialect == "lock" else ("POST", "DELETE")
    taken = [m for m in methods(server) if m[0] in (lock, unlock)]
    assert (unlock, 200) in taken and all(status == 200 for _, status in taken)


def test_terraform_waits_for_a_lock_on_http_state(http_state, terraform, workdir):
    one = terraform("one", ("http", http_state.backend()))
    two = terraform("two", ("http", http_state.backend()))
    one.init()
    two.init()
    gate = workdir / "gate"
    run = one.hold(gate)
    refused = two.plan(ok=(1,))
    assert "already locked" in refused.out
    waiting = two.start("plan", "-no-color", "-input=false", "-lock-timeout=30s")
    before = len(http_state.requests("LOCK"))
    while len(http_state.requests("LOCK")) < before + 2:
        time.sleep(0.05)
    one.release(gate)
    assert run.done().code == 0
    assert waiting.done().code == 0
    assert http_state.locks() == {}
    assert {e["status"] for e in http_state.requests("LOCK")} == {200, 423}


@pytest.mark.parametrize("allowed", [False, True])
def test_force_unlock_has_no_body(http_states, terraform, allowed):
    server = http_states(empty_unlock=allowed)
    tf = terraform("tf", ("http", server.backend()))
    tf.init()
    stranger = {"ID": "11111111-2222-3333-4444-555555555555", "Operation": "OperationTypeApply", "Info": "",
                "Who": "someone@else", "Version": "1.11.4", "Created": "2026-11-24T10:00:00Z", "Path": ""}
    server.state().lock = json.dumps(stranger, separators=(",", ":")).encode()
    assert tf.plan(ok=(1,)).code == 1
    done = tf.call("force-unlock", "-force", stranger["ID"], ok=(0, 1))
    assert (done.code == 0) == allowed
    assert bool(server.locks()) != allowed


def test_http_state_asks_for_a_password(http_state, terraform):
    tf = terraform("tf", ("http", http_state.backend() | {"password": "wrong"}))
    assert "403" in tf.call("init", "-no-color", "-input=false", ok=(1,)).out \
        or "invalid auth" in tf.runs[-1].log.read_text()
    tf.point_at(("http", {k: v for k, v in http_state.backend().items() if k not in ("username", "password")}))
    assert "requires auth" in tf.call("init", "-reconfigure", "-no-color", ok=(1,)).out


def test_http_state_over_mutual_tls(http_states, terraform, certificates):
    server = http_states(tls=certificates)
    tf = terraform("tf", ("http", server.backend()))
    tf.init()
    tf.apply()
    assert server.serials() == [1]
    stranger = {k: v for k, v in server.backend().items() if not k.startswith("client_cert") and "key" not in k}
    tf.point_at(("http", stranger | {"retry_max": 0}))
    assert tf.call("init", "-reconfigure", "-no-color", ok=(1,)).code == 1


def ask(server, method, body=b"", path="/state/x", headers=None):
    conn = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        conn.request(method, path, body, headers or {})
        answer = conn.getresponse()
        return answer.status, answer.read()
    finally:
        conn.close()


@pytest.mark.parametrize("method,path,body,headers,status", [
    ("PATCH", "/state/x", b"", {}, 405),
    ("DELETE", "/state/x", b"", {}, 405),
    ("GET", "/other", b"", {}, 404),
    ("GET", "/state/x?ID=1", b"", {}, 400),
    ("POST", "/state/x", b"{}", {"Content-Type": "text/plain"}, 415),
    ("POST", "/state/x", b"{}", {"Content-Type": "application/json"}, 400),
    ("POST", "/state/x", b"{}", {"Content-Type": "application/json", "Content-MD5": "AAAA"}, 400),
    ("LOCK", "/state/x", b"", {"Content-Type": "application/json", "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, 400),
    ("UNLOCK", "/state/x", b"", {}, 403),
])
def test_http_state_blames_what_it_does_not_know(http_states, method, path, body, headers, status):
    server = http_states(user="")
    assert ask(server, method, body, path, headers)[0] == status
    assert len(server.errors) == 1
    with pytest.raises(AssertionError):
        server.check()
    server.errors.clear()


def test_http_state_faults(http_states, terraform):
    server = http_states()
    tf = terraform("tf", ("http", server.backend() | {"retry_wait_min": 1}))
    tf.init()
    lost = server.rules.add("POST", drop="after")
    tf.apply()                                  # repeated by terraform's own retry
    assert lost.fired == 1 and server.serials() == [1, 1]
    busy = server.rules.add("POST", status=503, headers={"Retry-After": "1"})
    tf.apply(text="second")
    assert busy.fired == 1 and server.serials() == [1, 1, 2]
    server.rules.add("GET", truncate=40, times=0)
    assert tf.plan(ok=(1,)).code == 1
    server.rules.clear()
    assert tf.unchanged()


def test_http_state_keeps_its_states_over_an_outage(http_state, terraform):
    tf = terraform("tf", ("http", http_state.backend() | {"retry_max": 0}))
    tf.init()
    tf.apply()
    http_state.stop()
    assert tf.plan(ok=(1,)).code == 1
    http_state.start()
    assert tf.unchanged()


def test_http_state_can_ascend_only(http_states, terraform):
    server = http_states(ascending=True)
    tf = terraform("tf", ("http", server.backend()))
    tf.init()
    tf.apply()
    older = state(1, json.loads(server.body())["lineage"])
    (tf.folder / "older.tfstate").write_bytes(older)
    done = tf.call("state", "push", "-force", "older.tfstate", ok=(0, 1))
    assert server.serials() == sorted(set(server.serials())), done.out


@pytest.mark.parametrize("cls", ALL_S3)
def test_terraform_on_s3_with_a_native_lock(make_bucket, terraform, workdir, cls):
    bucket = make_bucket(cls)
    one = terraform("one", ("s3", bucket.backend("net/prod.tfstate")))
    two = terraform("two", ("s3", bucket.backend("net/prod.tfstate")))
    one.init()
    two.init()
    gate = workdir / "gate"
    run = one.hold(gate)
    assert bucket.locks() == ["net/prod.tfstate.tflock"]
    assert "Error acquiring the state lock" in two.plan(ok=(1,)).out
    one.release(gate)
    assert run.done().code == 0
    two.apply(text="second")
    assert bucket.keys() == ["net/prod.tfstate"]
    assert two.unchanged()


def test_versitygw_checks_signatures_and_survives_a_kill(own_versitygw):
    client = own_versitygw.client()
    client.create_bucket("bucket-a")
    body = state(1, lineage())
    client.put("bucket-a", "x.tfstate", body)
    own_versitygw.kill()
    own_versitygw.start()
    assert client.get("bucket-a", "x.tfstate") == body
    client.secret_key = "wrong"
    with pytest.raises(S3Error) as e:
        client.get("bucket-a", "x.tfstate")
    assert e.value.status == 403


@pytest.mark.parametrize("cls", ALL_S3)
def test_s3_creates_one_of_many(make_bucket, cls):
    """Racing creations: one wins, on every server that we call enforcing."""
    bucket = make_bucket(cls)
    won = []

    def create(i):
        try:
            bucket.server.client().put(bucket.name, "race", b"%d" % i, if_none_match="*")
            won.append(i)
        except S3Error as e:
            assert e.status in (409, 412), e

    threads = [threading.Thread(target=create, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(won) == 1 and bucket.get("race") == b"%d" % won[0]


def test_fault_proxy_in_front_of_s3(make_bucket, terraform, proxy):
    bucket = make_bucket()
    front = proxy(bucket.server)
    tf = terraform("tf", ("s3", bucket.backend("a.tfstate", port=front.port, max_retries=3)))
    tf.init()
    lost = front.rules.add("PUT", "*/a.tfstate", drop="after")
    tf.apply()
    assert lost.fired == 1
    assert len([e for e in front.requests("PUT") if e["target"].split("?")[0].endswith("/a.tfstate")]) == 2
    slow = front.rules.add("PUT", "*/a.tfstate", status=503, headers={"Retry-After": "1"})
    tf.apply(text="second")
    assert slow.fired == 1
    cut = front.rules.add("GET", "*/a.tfstate", truncate=10)
    assert tf.unchanged()
    assert cut.fired == 1
    again = front.rules.add("PUT", "*.tflock", duplicate=True)
    assert "Error acquiring the state lock" in tf.plan(ok=(1,)).out    # its own lock is in its way
    assert again.fired == 1
    assert bucket.locks() == ["a.tfstate.tflock"]


def test_fault_proxy_stops_and_comes_back(make_bucket, proxy):
    bucket = make_bucket()
    front = proxy(bucket.server)
    client = bucket.server.client()
    client.port = front.port
    client.put(bucket.name, "k", b"1")
    front.stop()
    with pytest.raises(OSError):
        client.put(bucket.name, "k", b"2")
    front.start()
    assert client.get(bucket.name, "k") == b"1"
    held = front.rules.add("PUT", "*/k", hold=True)
    thread = threading.Thread(target=client.put, args=(bucket.name, "k", b"3"))
    thread.start()
    held.wait()
    assert bucket.get("k") == b"1"
    held.release()
    thread.join()
    assert bucket.get("k") == b"3"
    assert HTTP_PASSWORD not in repr(front.journal)


def test_azurite_refuses_as_azure_does(tmp_path):
    with need("azurite", lambda: Azurite(tmp_path / "azurite")) as server:
        client, name, line = server.client(), "team a/ü+(1)/net~.tfstate", lineage()
        client.create_container("box")
        client.put("box", name, state(1, line))
        client.lease("box", name, "acquire", x_ms_lease_duration="-1")
        assert client.names("box") == [name] and client.head("box", name)["x-ms-lease-status"] == "locked"
        with pytest.raises(AzureError, match="412 LeaseIdMissing"):
            client.put("box", name, state(2, line))
        with pytest.raises(AzureError, match="403"):
            AzureClient(server.port, server.account, "AAAA").get("box", name)
        assert client.get("box", name) == state(1, line)
