# SPDX-License-Identifier: MIT
"""The fake of HCP Terraform, judged by those who speak its protocol: terraform's own cloud and remote backends, and go-tfe."""
import hashlib
import http.client
import json
import subprocess
import time

import pytest

import install
from agent import eventually
from conftest import need
from forward_proxy import TlsFront
from states import lineage, state
from tfe_objects import Principal

HOST = "tfe.test"


@pytest.fixture(params=["cloud", "remote"])
def kind(request):
    return request.param


@pytest.fixture
def project(terraform):
    """project(folder, server, kind, **workspaces): terraform with a CLI configuration that knows the server."""
    def make(folder, server, kind, **workspaces):
        return terraform(folder, server.backend(kind, HOST, token=False, **workspaces), cli=server.cli_config(HOST))
    return make


def asked(server, name=None):
    """What was asked, without its hosts and numbers."""
    return [f"{e['method']} {e['target'].split('?')[0].rsplit('/', 1)[-1]} {e['status']}" for e in server.requests(name=name)]


def test_life(tfe, project, kind):
    tf = project("tf", tfe, kind, name="prod")
    tf.init()
    tf.apply()
    tf.apply(text="second", items=3)
    assert tf.unchanged()
    assert tfe.serials("prod") == [1, 2] and tfe.locks() == {}
    assert json.loads(tfe.body("prod"))["lineage"] == tf.pull()["lineage"]
    written = asked(tfe, "prod")
    assert written.count("POST lock 200") == written.count("POST unlock 200") > 2
    assert written.count("POST state-versions 201") == 2


@pytest.mark.parametrize("holder", ["user", "team", "run"])
def test_go_tfe(tfe, holder):
    program = need("tfe-judge", lambda: install.find("tfe-judge"))
    tfe.add("held")
    tfe.lock("held", Principal("somebody", holder + "s"))
    busy = tfe.rules.add("GET", "*/workspaces", nth=3, times=2, status=429, headers={"X-RateLimit-Reset": "0.2"})
    env = {"PATH": "", "TFE_ADDRESS": f"http://127.0.0.1:{tfe.port}", "TFE_TOKEN": tfe.token, "TFE_ORGANIZATION": tfe.organization,
           "TFE_HOLDER": holder}
    done = subprocess.run([str(program)], env=env, capture_output=True, text=True, timeout=50)
    print(done.stdout)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "ok delete", done.stderr
    assert busy.fired == 2


def test_state_push_and_pull(tfe, project, kind):
    tf = project("tf", tfe, kind, name="prod")
    tf.init()
    first = tf.folder / "first.tfstate"
    line = lineage()
    first.write_bytes(state(7, line))
    tf.call("state", "push", "-no-color", first)
    assert tf.pull()["serial"] == 1 and tf.pull()["lineage"] != line      # terraform's own: an empty workspace begins anew
    line = tf.pull()["lineage"]
    first.write_bytes(state(9, line))
    tf.call("state", "push", first)
    assert tfe.serials("prod") == [1, 10]
    first.write_bytes(state(3, line))
    assert "serial" in tf.call("state", "push", "-no-color", first, ok=(1,)).out
    assert tfe.serials("prod") == [1, 10] and tfe.locks() == {}


def test_a_lock_that_is_held(tfe, project, kind, workdir):
    one, two = project("one", tfe, kind, name="prod"), project("two", tfe, kind, name="prod")
    one.init()
    two.init()
    run = one.hold(workdir / "gate")
    assert tfe.locks() == {"prod": ("ferry", "Locked by Terraform")}
    refused = two.plan(ok=(1,)).out
    assert "Error acquiring the state lock" in refused and "already locked" in refused
    waiting = two.start("plan", "-no-color", "-input=false", "-lock-timeout=30s")
    eventually(lambda: asked(tfe, "prod").count("POST lock 409") > 2)
    one.release(workdir / "gate")
    assert run.done().code == 0 and waiting.done().code == 0
    assert tfe.locks() == {}


@pytest.mark.parametrize("who,taken", [(None, False), ("self", True)])
def test_force_unlock(tfe, project, kind, who, taken):
    tf = project("tf", tfe, kind, name="prod")
    tf.init()
    tf.apply()
    tfe.lock("prod", tfe.me if who else None)
    tfe.me.without = set() if taken else {"can-force-unlock"}
    assert tf.plan(ok=(1,)).code == 1
    tf.call("force-unlock", "-force", "another", ok=(1,))
    assert list(tfe.locks()) == ["prod"]
    done = tf.call("force-unlock", "-force", "-no-color", "acme/prod", ok=(0, 1))
    assert (done.code == 0) == taken == (tfe.locks() == {})


def test_workspaces_by_tags(tfe, project):
    for pairs in (["app", "net"], {"app": "shop", "tier": "web"}):
        tf = project(f"tf-{len(tfe.workspaces)}", tfe, "cloud", tags=pairs)
        tf.env["TF_WORKSPACE"] = f"tagged-{len(tfe.workspaces)}"
        tfe.add("other")
        tfe.add(tf.env["TF_WORKSPACE"]).tags |= pairs if isinstance(pairs, dict) else dict.fromkeys(pairs, "")
        tf.init()
        tf.apply()
        assert tfe.serials(tf.env["TF_WORKSPACE"]) == [1] and tfe.serials("other") == []
        assert "other" not in tf.call("workspace", "list").out


def test_new_workspaces(tfe, project):
    """Made by terraform: with tags, in a project; and with a prefix, where more than one page has to be read."""
    tfe.projects["shop"] = "prj-0123456789abcdef"
    tf = project("tags", tfe, "cloud", tags=["app"], project="shop")
    tfe.add("first", project="shop").tags["app"] = ""
    tf.init()
    tf.call("workspace", "new", "born")
    tf.apply()
    assert tfe.workspaces["born"].tags == {"app": ""} and tfe.workspaces["born"].project == "prj-0123456789abcdef"
    for i in range(120):
        tfe.add(f"net-{i:03}")
    tf = project("prefix", tfe, "remote", prefix="net-")
    tf.env["TF_WORKSPACE"] = "119"
    tf.init()
    tf.apply()
    assert tfe.serials("net-119") == [1]
    assert len(tf.call("workspace", "list").out.split()) >= 120


def test_a_version_that_takes_its_time(tfe, project, kind):
    """Pending for a while after the upload: no unlock until then."""
    tfe.processing = 1.5
    tf = project("tf", tfe, kind, name="prod")
    tf.init()
    tf.apply()
    assert tfe.serials("prod") == [1] and tfe.locks() == {}
    assert "POST unlock 503" in asked(tfe, "prod")


@pytest.mark.parametrize("fault", [{"status": 429, "headers": {"X-RateLimit-Reset": "0.2"}}, {"status": 503, "times": 2}, {"drop": "before"}])
def test_what_is_repeated(tfe, project, kind, fault):
    tf = project("tf", tfe, kind, name="prod")
    tf.init()
    tf.apply()
    rules = [tfe.rules.add("POST", "*/state-versions", **fault), tfe.rules.add("GET", "*/current-state-version", **fault)]
    tf.apply(text="second")
    assert all(r.fired for r in rules) and tfe.serials("prod") == [1, 2] and tfe.locks() == {}


def test_lost_answers(tfe, project, kind):
    """What became of it is told by the server's own rules: a repeated lock is refused, a repeated upload made twice."""
    tf = project("tf", tfe, kind, name="prod")
    tf.init()
    tf.apply()
    tfe.rules.add("POST", "*/actions/lock", drop="after")
    assert "already locked" in tf.apply(text="second", ok=(1,)).out
    assert list(tfe.locks()) == ["prod"]
    tfe.unlock("prod")
    tfe.rules.clear()
    tfe.rules.add("POST", "*/state-versions", drop="after")
    tf.apply(text="third")
    assert tfe.serials("prod") == [1, 2] and [v.status for v in tfe.workspaces["prod"].versions] == ["finalized", "discarded", "finalized"]


def test_a_failed_upload_leaves_the_lock(tfe, project, kind):
    tf = project("tf", tfe, kind, name="prod")
    tf.init()
    tfe.rules.add("PUT", "*/object/*", status=403, times=0)
    assert "errored.tfstate" in tf.apply(ok=(1,)).out
    assert tfe.serials("prod") == [] and list(tfe.locks()) == ["prod"]


def test_dialects(tfes, project, kind):
    for dialect in ("old", "otf"):
        server = tfes(dialect=dialect)
        tf = project(dialect, server, kind, name="prod")
        tf.init()
        tf.apply()
        tf.apply(text="second")
        assert server.serials("prod") == [1, 2] and server.locks() == {} and tf.unchanged()


@pytest.mark.parametrize("what", ["expired", "organization", "read-only", "none"])
def test_tokens(tfe, project, kind, what):
    tf = project("tf", tfe, kind, name="prod")
    tf.init()
    if what == "expired":
        del tfe.tokens[tfe.token]
    elif what == "none":
        (tf.folder / "terraformrc").write_text(tfe.cli_config(HOST, token=False))
    else:
        tfe.tokens[tfe.token] = Principal("acme", "organizations") if what == "organization" else \
            Principal("reader", without={"can-create-state-versions"})
    tf.apply(ok=(1,))
    assert "prod" not in tfe.workspaces or tfe.serials("prod") == []


def test_discovery_over_tls(tfe, terraform, certificates, kind):
    """No block about the host: its own document tells where the API is, and is asked for with the token. Blobs are on another host, which
    never sees one."""
    with TlsFront(certificates, tfe.port) as front:
        tfe.scheme = "https"
        tf = terraform("tf", tfe.backend(kind, f"localhost:{front.port}", name="prod"))
        tf.env |= {"SSL_CERT_FILE": str(certificates.folder / "ca.pem")}
        tf.init()
        tf.apply()
        assert tf.unchanged()
        assert tfe.serials("prod") == [1]
    found = [e for e in tfe.requests() if e["target"] == "/.well-known/terraform.json"]
    assert found and all(e["status"] == 200 for e in found)
    assert [e for e in tfe.requests() if e["target"].startswith("/_archivist") and e["status"] == 200]


def ask(server, method, path, body=None, token=True, **headers):
    conn = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = ({"Authorization": f"Bearer {server.token}"} if token else {}) | {k.replace("_", "-"): v for k, v in headers.items()}
    conn.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = conn.getresponse()
    data = answer.read()
    conn.close()
    return answer.status, data, answer


VND = "application/vnd.api+json"


@pytest.mark.parametrize("method,path,body,status", [
    ("GET", "/api/v2/runs", None, 404),
    ("GET", "/api/v2/organizations/acme/workspaces?page%5Bnumber%5D=0", None, 400),
    ("GET", "/api/v2/organizations/acme/workspaces?filter%5Bname%5D=x", None, 400),
    ("GET", "/api/v2/organizations/acme/workspaces?sort=size", None, 400),
    ("PUT", "/api/v2/workspaces/WS/actions/lock", None, 404),
    ("POST", "/api/v2/organizations/acme/workspaces", {"data": {"type": "workspaces", "attributes": {"naem": "x"}}}, 422),
    ("POST", "/api/v2/workspaces/WS/state-versions", {"data": {"type": "state-versions", "attributes": {"serial": 1}}}, 422),
    ("GET", "/api/v2/state-versions?filter%5Bworkspace%5D%5Bname%5D=prod", None, 422),
    ("DELETE", "/.well-known/terraform.json", None, 405),
    ("GET", "/elsewhere", None, 404)])
def test_what_it_does_not_know_is_written_down(tfe, method, path, body, status):
    identity = tfe.add("prod").id
    assert ask(tfe, method, path.replace("WS", identity), body, Content_Type=VND)[0] == status
    assert len(tfe.errors) == 1
    with pytest.raises(AssertionError):
        tfe.check()
    tfe.errors.clear()


def test_links_are_secret_and_single(tfe):
    w = tfe.add("prod")
    tfe.lock("prod", tfe.me)
    body = state(1, lineage())
    made = {"data": {"type": "state-versions", "attributes": {"serial": 1, "md5": hashlib.md5(body).hexdigest()}}}
    status, data, _ = ask(tfe, "POST", f"/api/v2/workspaces/{w.id}/state-versions", made, Content_Type=VND)
    link = json.loads(data)["data"]["attributes"]["hosted-state-upload-url"].partition(f":{tfe.port}")[2]
    assert status == 201
    assert ask(tfe, "PUT", link, {})[0] == 400 and "token" in tfe.errors.pop()          # with the token
    assert ask(tfe, "PUT", link, {}, token=False)[0] == 422 and "md5" in tfe.errors.pop()
    assert ask(tfe, "GET", link, token=False)[0] == 404
    conn = http.client.HTTPConnection("127.0.0.1", tfe.port, timeout=10)
    for wanted in (200, 404):
        conn.request("PUT", link, body)
        answer = conn.getresponse()
        answer.read()
        assert answer.status == wanted
    conn.close()
    assert tfe.body("prod") == body
    download = f"/api/state-versions/{w.versions[0].id}/hosted_state"
    assert ask(tfe, "GET", download, token=False)[0] == 401
    found = ask(tfe, "GET", download)
    assert found[0] == 302 and found[2].headers["Location"].startswith(f"http://localhost:{tfe.port}/_archivist/")


def test_so_many_requests_in_a_second(tfe):
    tfe.limit = 5
    answers = [ask(tfe, "GET", "/api/v2/ping") for _ in range(7)]
    assert [a[0] for a in answers] == [204] * 5 + [429] * 2
    assert 0 < float(answers[-1][2].headers["X-RateLimit-Reset"]) <= 1
    time.sleep(float(answers[-1][2].headers["X-RateLimit-Reset"]))
    assert ask(tfe, "GET", "/api/v2/ping")[0] == 204
