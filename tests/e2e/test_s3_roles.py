# SPDX-License-Identifier: MIT
"""Roles, web identities, logins and programs, each against an issuer that checks what it is sent, signatures by code of its own."""
import datetime
import hashlib
import hmac
import http.server
import json
import threading
import urllib.parse

import pytest

from states import lineage, state

NAME = "net/prod.tfstate"
BASE, BASE_SECRET = "AKIABASE", "base-s3cret-CANARY-71"
TOKEN, LOGIN = "eyJ.web-CANARY-72.sig", "sso-CANARY-73"
ROLE = "arn:aws:iam::123456789012:role/"


def signature(secret, scope, headers, names, method, path, query, body, date):
    canonical = "\n".join([method, path, query, *(f"{n}:{' '.join(headers[n].split())}" for n in names), "", ";".join(names),
                           hashlib.sha256(body).hexdigest()])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


class Issuer(http.server.ThreadingHTTPServer):
    """STS and the portal of IAM Identity Center. The n-th role gets keys of its own, the last one those of the S3 server, which
    knows no sessions."""

    daemon_threads = True

    def __init__(self, server, roles):
        super().__init__(("127.0.0.1", 0), Answers)
        self.s3, self.roles, self.asked, self.wrong = server, roles, [], []
        self.keys = {BASE: (BASE_SECRET, "")}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def give(self):
        """(id, secret, token) of the next role."""
        n = len(self.asked)
        if n == self.roles:
            return self.s3.access_key, self.s3.secret_key, ""
        self.keys[f"ASIA{n}"] = (f"secret-{n}", f"session-{n}")
        return f"ASIA{n}", f"secret-{n}", f"session-{n}"


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def signed(self, body):
        """Who signed this for STS, rightly."""
        auth = self.headers["Authorization"] or ""
        parts = dict(p.strip().split("=", 1) for p in auth.partition(" ")[2].split(","))
        access, scope = parts["Credential"].split("/", 1)
        secret, token = self.server.keys[access]
        names = parts["SignedHeaders"].split(";")
        headers = {k.lower(): v for k, v in self.headers.items()}
        assert scope.split("/")[1:] == ["eu-west-3", "sts", "aws4_request"], scope
        assert {"host", "x-amz-date", "content-type"} <= set(names) and headers.get("x-amz-security-token", "") == token
        want = signature(secret, scope, headers, names, "POST", "/", "", body, headers["x-amz-date"])
        assert parts["Signature"] == want, "another signature"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        form = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
        action = form["Action"]
        try:
            if action == "AssumeRoleWithWebIdentity":
                assert self.headers["Authorization"] is None and form["WebIdentityToken"] == TOKEN
            else:
                self.signed(body)
        except (AssertionError, KeyError, ValueError) as e:
            self.server.wrong.append(repr(e))
            self.answer(403, b"<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>")
            return
        self.server.asked.append({k: v for k, v in form.items() if k not in ("WebIdentityToken", "Version")})
        access, secret, token = self.server.give()
        until = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.answer(200, (f"<{action}Response><{action}Result><Credentials><AccessKeyId>{access}</AccessKeyId><SecretAccessKey>{secret}"
                          f"</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{until}</Expiration></Credentials>"
                          f"</{action}Result></{action}Response>").encode())

    def do_GET(self):
        at = urllib.parse.urlsplit(self.path)
        if self.headers["x-amz-sso_bearer_token"] != LOGIN:
            self.answer(401, b'{"__type":"x#UnauthorizedException","message":"Session token not found or invalid"}')
            return
        self.server.asked.append(dict(urllib.parse.parse_qsl(at.query)) | {"path": at.path})
        self.answer(200, json.dumps({"roleCredentials": {
            "accessKeyId": self.server.s3.access_key, "secretAccessKey": self.server.s3.secret_key, "sessionToken": "",
            "expiration": int(datetime.datetime.now().timestamp() + 3600) * 1000}}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def issuer(bucket):
    made = []

    def make(roles=1):
        made.append(Issuer(bucket.server, roles))
        return made[-1]

    yield make
    for server in made:
        server.shutdown()
        server.server_close()
        assert not server.wrong


def replicates(agent, places, bucket, server, **more):
    """The bucket is written with what the issuer hands out: versitygw checks that signature."""
    args = {k: v for k, v in bucket.backend(**more).items() if v is not None}
    args["endpoints"] |= {"sts": server.url, "sso": server.url}
    live = places("local")
    live.add(agent, "live")
    agent.backend("s3", "dr", args)
    agent.replicate("out", "live", ["dr"])
    body = state(1, lineage())
    live.put(NAME, body)
    agent.sync()
    assert bucket.get(NAME) == body and bucket.locks() == []
    agent.check_secrets([BASE_SECRET, TOKEN, LOGIN, "secret-1", "session-1"])


KEYLESS = {"access_key": None, "secret_key": None}


def test_a_role(agent, places, bucket, issuer):
    server = issuer()
    replicates(agent, places, bucket, server, access_key=BASE, secret_key=BASE_SECRET, assume_role={
        "role_arn": ROLE + "writer", "external_id": "ext", "session_name": "nightly", "tags": {"team": "net & co"}})
    assert server.asked == [{"Action": "AssumeRole", "RoleArn": ROLE + "writer", "ExternalId": "ext", "RoleSessionName": "nightly",
                             "Tags.member.1.Key": "team", "Tags.member.1.Value": "net & co"}]


def test_roles_of_profiles_in_a_chain(agent, places, bucket, issuer, workdir):
    server = issuer(3)
    (workdir / "credentials").write_text(f"[base]\naws_access_key_id = {BASE}\naws_secret_access_key = {BASE_SECRET}\n")
    (workdir / "config").write_text(f"[profile one]\nrole_arn = {ROLE}one\nsource_profile = base\n"
                                    f"[profile two]\nrole_arn = {ROLE}two\nsource_profile = one\nexternal_id = x\n")
    replicates(agent, places, bucket, server, profile="two", assume_role={"role_arn": ROLE + "three"}, **KEYLESS,
               shared_credentials_files=[str(workdir / "credentials")], shared_config_files=[str(workdir / "config")])
    assert [a["RoleArn"] for a in server.asked] == [ROLE + n for n in ("one", "two", "three")]
    assert server.asked[0]["RoleSessionName"].startswith("stateferry@")


def test_a_web_identity(agent, places, bucket, issuer, workdir):
    server = issuer()
    (workdir / "token").write_text(TOKEN + "\n")
    replicates(agent, places, bucket, server, **KEYLESS, assume_role_with_web_identity={
        "role_arn": ROLE + "pod", "web_identity_token_file": str(workdir / "token"), "session_name": "pod"})
    assert server.asked == [{"Action": "AssumeRoleWithWebIdentity", "RoleArn": ROLE + "pod", "RoleSessionName": "pod"}]


@pytest.mark.parametrize("kind", ["session", "legacy"])
def test_a_login(agent, places, bucket, issuer, workdir, kind):
    server = issuer()
    start = "https://acme.awsapps.com/start"
    cache = workdir / ".aws/sso/cache"
    cache.mkdir(parents=True)
    sso = f"sso_region = eu-west-1\nsso_start_url = {start}\n"
    who = "sso_account_id = 123456789012\nsso_role_name = Writer\n"
    (workdir / ".aws/config").write_text(f"[profile p]\nsso_session = acme\n{who}[sso-session acme]\n{sso}" if kind == "session"
                                         else f"[profile p]\n{sso}{who}")
    name = hashlib.sha1((start if kind == "legacy" else "acme").encode()).hexdigest()
    (cache / f"{name}.json").write_text(json.dumps({"startUrl": start, "accessToken": LOGIN, "expiresAt": "2199-01-01T00:00:00Z"}))
    agent.env["HOME"] = str(workdir)
    replicates(agent, places, bucket, server, profile="p", **KEYLESS)
    assert server.asked == [{"path": "/federation/credentials", "account_id": "123456789012", "role_name": "Writer"}]


def test_a_program(agent, places, bucket, issuer, workdir):
    program = workdir / "get keys"
    keys = {"Version": 1, "AccessKeyId": bucket.server.access_key, "SecretAccessKey": bucket.server.secret_key}
    program.write_text(f"#!/bin/sh\n[ \"$1\" = '$HOME;x' ] && echo '{json.dumps(keys)}'\n")
    program.chmod(0o700)
    config = workdir / "config"
    config.write_text(f"[profile p]\ncredential_process = \"{program}\" $HOME;x\n")
    config.chmod(0o600)
    replicates(agent, places, bucket, issuer(), profile="p", shared_config_files=[str(config)], **KEYLESS)
    config.chmod(0o666)
    why = agent.call("sync", code=10)
    assert "others may write" in why.err + why.out
