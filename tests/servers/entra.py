# SPDX-License-Identifier: MIT
"""Who signs in to Azure asks, over TLS: Entra ID, a cloud's metadata service, the management API; and without, the services of a machine
and the issuer of another token. Checks what it is sent, signatures by the openssl command, and gives tokens that azurite takes."""
import base64
import hashlib
import http.server
import json
import pathlib
import subprocess
import threading
import time
import urllib.parse

TENANT, CLIENT = "72f988bf-0000-4000-8000-00000000e2e1", "11111111-aaaa-4000-8000-00000000e2e1"
SUBSCRIPTION, GROUP = "22222222-0000-4000-8000-00000000e2e1", "rg1"
SECRET, ASSERTION, PERMIT = "s3cr3t-CANARY-81~x", "eyJ.assertion-CANARY-82.sig", "permit-CANARY-83"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
STORAGE = "https://storage.azure.com"


def unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Application:
    """A key and a certificate of it, and the archives that people make of them."""

    def __init__(self, folder, password):
        self.folder, self.password = pathlib.Path(folder), password
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=app", "-keyout", "app.key", "-out", "app.pem")
        self.run("pkcs12", "-export", "-inkey", "app.key", "-in", "app.pem", "-out", "app.pfx", "-passout", f"pass:{password}")
        self.run("x509", "-in", "app.pem", "-pubkey", "-noout", "-out", "app.pub")
        der = self.run("x509", "-in", "app.pem", "-outform", "der")
        sha1 = hashlib.sha1(der).digest()
        self.names = [{"x5t": base64url(sha1), "x5t#S256": base64url(hashlib.sha256(der).digest())},
                      {"kid": base64.urlsafe_b64encode(sha1).decode()}]     # ours, terraform's

    def run(self, *args, **kw):
        return subprocess.run(["openssl", *args], cwd=self.folder, check=True, capture_output=True, **kw).stdout

    def check(self, jwt, audience):
        head, claims, signature = jwt.split(".")
        (self.folder / "signature").write_bytes(unbase64url(signature))
        self.run("dgst", "-sha256", "-verify", "app.pub", "-signature", "signature", input=f"{head}.{claims}".encode())
        assert json.loads(unbase64url(head)) in [{"alg": "RS256", "typ": "JWT"} | n for n in self.names]
        claims, now = json.loads(unbase64url(claims)), time.time()
        assert claims["aud"] == audience and claims["iss"] == claims["sub"] == CLIENT and len(claims["jti"]) == 36
        assert now - 60 < claims["nbf"] <= now + 1 and claims["exp"] == claims["nbf"] + 3600


class Entra(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, certificates=None, application=None, account=None, key=None):
        """certificates: for TLS; None: a service of the machine."""
        super().__init__(("127.0.0.1", 0), Answers)
        self.application, self.account, self.key = application, account, key
        self.asked, self.wrong, self.refusal, self.life = [], [], None, 3600
        self.blob, self.suffix, self.stale = None, "storage.invalid", 0
        self.tls = certificates is not None
        if self.tls:
            context = certificates.server_context()
            context.verify_mode = 0
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self):
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://{self.host}"

    def token(self, audience):
        now = int(time.time())
        if self.stale > 0:      # so many have expired before they are given
            self.stale, now = self.stale - 1, now - 2 * self.life
        claims = {"aud": audience, "iss": f"https://sts.windows.net/{TENANT}/", "iat": now, "nbf": now - 10, "exp": now + self.life,
                  "oid": "o", "sub": "s", "tid": TENANT, "canary": "CANARY-84"}
        return ".".join(base64url(json.dumps(p).encode()) for p in ({"alg": "RS256", "typ": "JWT"}, claims)) + ".c2ln"

    def close(self):
        self.shutdown()
        self.server_close()


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, doc):
        body = json.dumps(doc).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_request(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        at = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(at.query))
        try:
            status, doc = self.judge(at.path, query, body.decode())
        except (AssertionError, KeyError, ValueError, subprocess.CalledProcessError) as e:
            self.server.wrong.append(f"{self.command} {at.path}: {e!r}")
            status, doc = 400, {"error": "invalid_request", "error_description": "AADSTS900144: The request is not as it should be."}
        self.answer(status, doc)

    do_GET = do_POST = handle_request

    def judge(self, path, query, body):
        server = self.server
        if path == "/metadata/endpoints":
            assert query == {"api-version": "2022-09-01"}
            unused = "https://unused.invalid/"     # by both, but terraform wants it to be there
            return 200, {"name": "AzureCloud", "authentication": {"loginEndpoint": server.url, "tenant": "common", "audiences": [server.url],
                                                                  "identityProvider": "AAD"},
                         "resourceManager": server.url + "/", "suffixes": {"storage": server.suffix},
                         "microsoftGraphResourceId": unused, "graph": unused, "graphAudience": unused, "batch": unused, "media": unused}
        if path == f"/{TENANT}/oauth2/v2.0/token":
            return self.login(dict(urllib.parse.parse_qsl(body, strict_parsing=True)))
        if path == "/msi/token":
            assert self.headers["Metadata"] == "true" and query["api-version"] == "2018-02-01"
            server.asked.append(("msi", query["resource"], query.get("client_id")))
            return 200, {"access_token": server.token(query["resource"]), "expires_in": str(server.life), "expires_on": "1", "token_type": "Bearer"}
        if path == "/github":
            assert self.headers["Authorization"] == "Bearer " + PERMIT and query["audience"] == "api://AzureADTokenExchange"
            server.asked.append(("github",))
            return 200, {"value": ASSERTION, "count": 1}
        if path.startswith("/subscriptions/"):
            return self.manager(path, query)
        assert False, "nobody expects this"

    def login(self, form):
        server = self.server
        assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert form["client_id"] == CLIENT and form["grant_type"] == "client_credentials" and form["scope"].endswith("/.default")
        server.asked.append(("token", form["scope"]))
        if server.refusal:
            return server.refusal
        if "client_secret" in form:
            if form["client_secret"] != SECRET:
                return 401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided. Trace ID: 1",
                             "error_codes": [7000215]}
        else:
            assert form["client_assertion_type"] == ASSERTION_TYPE
            if form["client_assertion"] != ASSERTION:
                server.application.check(form["client_assertion"], f"{server.url}/{TENANT}/oauth2/v2.0/token")
        return 200, {"token_type": "Bearer", "expires_in": server.life, "ext_expires_in": server.life,
                     "access_token": server.token(form["scope"].removesuffix("/.default"))}

    def manager(self, path, query):
        server = self.server
        assert self.headers["Authorization"].startswith("Bearer eyJ") and query["api-version"] == "2023-01-01"
        base = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Storage/storageAccounts/{server.account}"
        if path == base:
            server.asked.append(("account",))
            return 200, {"properties": {"primaryEndpoints": {"blob": server.blob + "/"}}}
        assert path == base + "/listKeys" and self.command == "POST" and query["$expand"] == "kerb"
        server.asked.append(("keys",))
        return 200, {"keys": [{"keyName": "key1", "permissions": "FULL", "value": server.key}]}

    def log_message(self, *_):
        pass
