# SPDX-License-Identifier: MIT
"""Cloud Storage: what a probe finds at a server that is not Google's, and signing in at issuers that check what they get."""
import base64
import http.client
import http.server
import json
import subprocess
import threading
import time
import urllib.parse

import pytest

from conftest import CANARY
from forward_proxy import TlsInside
from servers import FakeGcsInMemory
from states import lineage, state

NAME = "net/prod.tfstate"
EMAIL = "agent@acme.iam.gserviceaccount.com"


class Issuer(http.server.ThreadingHTTPServer):
    """A token endpoint that checks signature, claims and time with the openssl command; a metadata server; and one that acts as others."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder, self.seen, self.issued = folder, [], set()
        folder.mkdir()
        subprocess.run(["openssl", "genrsa", "-out", folder / "key.pem", "2048"], check=True, capture_output=True)
        subprocess.run(["openssl", "rsa", "-in", folder / "key.pem", "-pubout", "-out", folder / "public.pem"], check=True, capture_output=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def key(self, **more):
        """Credentials of a service account, as a path."""
        path = self.folder / "account.json"
        path.write_text(json.dumps({"type": "service_account", "client_email": EMAIL, "private_key_id": "k1",
                                    "private_key": (self.folder / "key.pem").read_text(), "token_uri": self.url + "/token"} | more))
        return str(path)

    def verifies(self, jwt):
        head, claims, signature = jwt.split(".")
        (self.folder / "signed").write_text(f"{head}.{claims}")
        (self.folder / "signature").write_bytes(decode(signature))
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", self.folder / "public.pem", "-signature", self.folder / "signature",
                               self.folder / "signed"], capture_output=True)
        c = json.loads(decode(claims))
        return (done.returncode == 0 and json.loads(decode(head)) == {"alg": "RS256", "typ": "JWT", "kid": "k1"} and c["iss"] == EMAIL
                and c["aud"] == self.url + "/token" and c["exp"] - c["iat"] == 3600 and abs(time.time() - c["iat"]) < 60
                and c["scope"].startswith("https://www.googleapis.com/auth/"))

    def issue(self):
        self.issued.add(f"ya29.{CANARY}-{len(self.issued)}")
        return f"ya29.{CANARY}-{len(self.issued) - 1}"


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Answers(http.server.BaseHTTPRequestHandler):
    def answer(self, status, doc, **headers):
        self.server.seen.append((self.command, self.path.partition("?")[0], status))
        body = json.dumps(doc).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body)), "Content-Type": "application/json"} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.headers.get("Metadata-Flavor") != "Google":
            return self.answer(403, {})
        self.answer(200, {"access_token": self.server.issue(), "expires_in": 3599}, Metadata_Flavor="Google")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path.endswith(":generateAccessToken"):
            if self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.server.issued:
                return self.answer(401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}})
            return self.answer(200, {"accessToken": self.server.issue(),
                                     "expireTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))})
        form = dict(urllib.parse.parse_qsl(body))
        if form["grant_type"].endswith(":jwt-bearer") and self.server.verifies(form["assertion"]):
            return self.answer(200, {"access_token": self.server.issue(), "expires_in": 3599})
        self.answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})

    def log_message(self, *args):
        pass


@pytest.fixture
def issuer(workdir, certificates):
    server = Issuer(workdir / "issuer")
    yield server
    server.shutdown()
    server.server_close()


def without_token(place, agent, **more):
    """The place as source, signed in by what more or the environment says."""
    args = place.server.backend(place.bucket, port=place.front.port)
    del args["access_token"]
    agent.backend("gcs", "cloud", args, **more)
    agent.backend("local", "copy", dir=agent.folder / "copy", create=True)
    agent.replicate("edge", "cloud", ["copy"])
    place.put(NAME, state(1, lineage()))


def copied(agent):
    return (agent.folder / "copy" / NAME).exists()


def test_a_probe_says_what_the_server_enforces(agent, places):
    place = places("gcs")
    place.add(agent, "cloud")
    doc = agent.json("probe", "cloud")
    checks = {c["name"]: c for c in doc["checks"]}
    assert doc["enforces"] is True, doc
    assert checks["lock"]["ok"] and "DELETE ignores ifGenerationMatch" in checks["lock"]["detail"]
    assert place.locks() == []
    status, answer = place.server.call("GET", f"/storage/v1/b/{place.bucket}/o")
    assert status == 200 and json.loads(answer).get("items", []) == []


class Careless(http.server.BaseHTTPRequestHandler):
    """The server behind it, without any precondition."""

    def relay(self):
        path, _, query = self.path.partition("?")
        kept = [q for q in urllib.parse.parse_qsl(query, keep_blank_values=True) if q[0] != "ifGenerationMatch"]
        conn = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=10)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        conn.request(self.command, path + "?" + urllib.parse.urlencode(kept), body, dict(self.headers))
        answer = conn.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        conn.close()

    do_GET = do_POST = do_PUT = do_DELETE = relay

    def log_message(self, *args):
        pass


def test_a_server_that_ignores_conditions_is_never_written_to(agent, places):
    place, live = places("gcs"), places("local")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Careless) as careless:
        careless.behind = place.server.port
        threading.Thread(target=careless.serve_forever, daemon=True).start()
        live.add(agent, "live")
        live.put(NAME, state(1, lineage()))
        agent.backend("gcs", "odd", place.server.backend(place.bucket, port=careless.server_port))
        agent.replicate("edge", "live", ["odd"])
        problem = agent.json("sync", code=None)["problems"][0]
        assert "second lock was granted" in problem["message"] and problem["hint"], problem
        doc = agent.json("probe", "odd", code=None)
        assert doc["enforces"] is False and {c["name"] for c in doc["checks"] if not c["ok"]} >= {"create_only", "if_match", "lock"}, doc
        careless.shutdown()
    assert place.get(NAME) is None and place.locks() == []


def test_a_missing_bucket_is_made_once(agent, places, _session):
    server, live = _session(FakeGcsInMemory), places("local")
    live.add(agent, "live")
    live.put(NAME, state(1, lineage()))
    agent.backend("gcs", "dr", server.backend("acme-made"), create=True, project="acme")
    agent.replicate("edge", "live", ["dr"])
    agent.sync()
    agent.sync()
    status, body = server.call("GET", f"/storage/v1/b/acme-made/o/{urllib.parse.quote(NAME, safe='')}", alt="media")
    assert status == 200 and body == live.get(NAME)
    assert json.loads(server.call("GET", "/storage/v1/b/acme-made")[1])["versioning"] == {"enabled": True}


def test_a_key_signs_a_claim_that_an_issuer_verifies(agent, places, issuer):
    without_token(places("gcs"), agent, credentials=issuer.key())
    agent.sync()
    assert copied(agent) and issuer.seen == [("POST", "/token", 200)]


def test_a_key_of_another_account_is_refused_with_the_next_step(agent, places, issuer):
    without_token(places("gcs"), agent, credentials=issuer.key(private_key_id="k2"))
    done = agent.call("sync", code=12)
    assert "a token for service account " + EMAIL in done.err and "invalid_grant: Invalid JWT Signature" in done.err
    assert "gcloud iam service-accounts keys list" in done.err and "PRIVATE KEY" not in done.err
    assert not copied(agent)


def test_the_machine_signs_in(agent, places, issuer):
    place = places("gcs")
    agent.env["GCE_METADATA_HOST"] = f"127.0.0.1:{issuer.server_port}"
    without_token(place, agent)
    agent.sync()
    assert copied(agent) and issuer.seen == [("GET", "/computeMetadata/v1/instance/service-accounts/default/token", 200)]


def test_a_login_acts_as_a_service_account(agent, places, issuer):
    path = agent.folder / "adc.json"
    with open(issuer.key()) as f:
        source = json.load(f)
    hop = f"{issuer.url}/v1/projects/-/serviceAccounts/other@acme.iam.gserviceaccount.com:generateAccessToken"
    path.write_text(json.dumps({"type": "impersonated_service_account", "service_account_impersonation_url": hop, "delegates": [],
                                "source_credentials": source}))
    agent.env["GOOGLE_APPLICATION_CREDENTIALS"] = str(path)
    without_token(places("gcs"), agent)
    agent.sync()
    assert copied(agent) and [s for _, _, s in issuer.seen] == [200, 200] and issuer.seen[1][1] == urllib.parse.urlparse(hop).path


def test_the_example(example, agent, places, issuer, certificates):
    """The machine reads, and writes as the account of the other project."""
    live, dr = places("gcs"), places("gcs")
    with TlsInside(certificates, issuer.server_port) as google:
        agent.env |= {"GCE_METADATA_HOST": f"127.0.0.1:{issuer.server_port}", "HTTPS_PROXY": google.url,
                      "SSL_CERT_FILE": str(certificates.folder / "ca.pem"),
                      "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT": live.server.backend(live.bucket)["storage_custom_endpoint"]}
        example("gcs.hcl", {"acme-tfstate-dr": dr.bucket, "acme-tfstate": live.bucket})
        live.put("prod/" + NAME, state(1, lineage()))
        agent.sync()
    assert dr.get("prod/" + NAME) == live.get("prod/" + NAME) and dr.locks() == []
    assert [path for _, path, _ in issuer.seen if path.endswith("tfstate-writer@acme-dr.iam.gserviceaccount.com:generateAccessToken")]


@pytest.mark.parametrize("lost", ["nothing", "before", "after", "last"])
def test_a_large_state_goes_in_pieces(agent, places, lost):
    """9 MB of it: a session and three pieces, one of which is lost before it arrives, or its answer is."""
    place = places("gcs")
    rule = None
    if lost != "nothing":
        rule = place.rules.add("PUT", nth=3 if lost == "last" else 2, drop="before" if lost == "before" else "after")
    body = json.loads(state(1, lineage()))
    body["outputs"]["large"] = {"value": "x" * (9 << 20), "type": "string"}
    body = json.dumps(body).encode()
    source = agent.folder / "source"
    (source / "net").mkdir(parents=True)
    (source / NAME).write_bytes(body)
    agent.backend("local", "folder", dir=source)
    place.add(agent, "cloud")
    agent.replicate("edge", "folder", ["cloud"])
    agent.sync()
    assert place.get(NAME) == body and place.locks() == [] and (rule is None or rule.fired == 1)
