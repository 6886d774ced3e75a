# SPDX-License-Identifier: MIT
"""Real servers as objects: started on a free port of loopback in a folder of their own, ended by process id.

    with Versitygw(folder) as s3: s3.client().create_bucket("b") ...

start() waits until the server answers. kill() is SIGKILL; start() after it takes the same port and folder."""
import base64
import ctypes
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse

import install
from azure_client import AzureClient
from s3_client import S3Client

READY_SECONDS = 20
STOP_SECONDS = 5
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    """Between fork and exec: a server does not outlive the test run, however that ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    """Outside the range of outgoing connections: one of those could take it before its server does."""
    while True:
        try:
            with socket.create_server(("127.0.0.1", random.randrange(10000, 32000))) as s:
                return s.getsockname()[1]
        except OSError:
            pass


class Server:
    """A program that serves HTTP on one port."""

    name = ""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.program = install.find(self.name)
        self.port = free_port()
        self.process = None

    def command(self):
        raise NotImplementedError

    def env(self):
        return {}

    def start(self):
        assert self.process is None
        log = open(self.folder / "log", "ab")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "VGW_"))}
        self.process = subprocess.Popen([str(a) for a in self.command()], stdin=subprocess.DEVNULL, stdout=log,
                                        stderr=log, cwd=self.folder, env=env | self.env(),
                                        preexec_fn=die_with_parent)
        log.close()
        deadline = time.monotonic() + READY_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                code = self.process.poll()
                self.kill()
                raise RuntimeError(f"{self.name} does not answer on port {self.port} (exit {code}): {tail}")
            time.sleep(0.02)
        return self

    def answers(self):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            conn.request("GET", "/")
            return conn.getresponse().status > 0
        except OSError:
            return False
        finally:
            conn.close()

    def end(self, sig):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def stop(self):
        self.end(signal.SIGTERM)

    def kill(self):
        self.end(signal.SIGKILL)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class S3Server(Server):
    """What the S3 servers have in common."""

    access_key = "AKIAIOSFODNN7TESTKEY"
    secret_key = "test/Secret+Key/0123456789abcdefghijklmn"
    region = "eu-west-3"
    versioned = False           # versioned buckets behave as on AWS
    durable = False             # keeps its data over a kill

    def client(self):
        return S3Client(self.port, self.access_key, self.secret_key, self.region)

    def backend(self, bucket, key=None, port=None, **more):
        """The arguments of a backend "s3" block; port: of a proxy in front."""
        return {"bucket": bucket, **({"key": key} if key else {}), "region": self.region,
                "access_key": self.access_key, "secret_key": self.secret_key,
                "endpoints": {"s3": f"http://127.0.0.1:{port or self.port}"}, "use_path_style": True,
                "use_lockfile": True, "skip_credentials_validation": True, "skip_region_validation": True,
                "skip_requesting_account_id": True, "skip_metadata_api_check": True, **more}


class Versitygw(S3Server):
    """Checks signatures, dates, regions and checksums; its data is files. Unversioned buckets only."""

    name = "versitygw"
    durable = True

    def command(self):
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return [self.program, "--port", f"127.0.0.1:{self.port}", "--region", self.region, "--quiet", "--keep-alive",
                "--access", self.access_key, "--secret", self.secret_key, "posix", data]


class Ministack(S3Server):
    """Conditional writes and versions as on AWS; believes any signature; forgets everything when it ends."""

    name = "ministack"
    versioned = True

    def command(self):
        return [self.program]

    def env(self):
        return {"GATEWAY_PORT": str(self.port), "BIND_HOST": "127.0.0.1", "MINISTACK_REGION": self.region,
                "AWS_DEFAULT_REGION": self.region, "HOME": str(self.folder), "TMPDIR": str(self.folder)}


class Moto(S3Server):
    """A second opinion on shapes; believes any signature; forgets everything when it ends."""

    name = "moto"
    versioned = True

    def command(self):
        return [self.program, "-H", "127.0.0.1", "-p", self.port]


class Dynalite(Server):
    """DynamoDB's protocol; wants a signature in the header, and believes it; its data is files."""

    name = "dynalite"

    def command(self):
        return [install.node()[0], self.program, "--port", self.port, "--host", "127.0.0.1", "--path", self.folder / "data",
                "--createTableMs", 0]

    def call(self, target, **body):
        """What the call answers; raises unless it is 200."""
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        conn.request("POST", "/", json.dumps(body), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{target}", "X-Amz-Date": "x",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={S3Server.access_key}/20260101/{S3Server.region}/dynamodb/"
                             "aws4_request, SignedHeaders=host, Signature=b"})
        answer = conn.getresponse()
        data = json.loads(answer.read() or b"{}")
        conn.close()
        assert answer.status == 200, data
        return data

    def create(self, table, key="LockID"):
        self.call("CreateTable", TableName=table, BillingMode="PAY_PER_REQUEST", KeySchema=[
            {"AttributeName": key, "KeyType": "HASH"}], AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}])
        while self.call("DescribeTable", TableName=table)["Table"]["TableStatus"] != "ACTIVE":
            time.sleep(0.01)

    def rows(self, table):
        """{LockID: what the other attribute says}"""
        return {i["LockID"]["S"]: next((v["S"] for k, v in i.items() if k != "LockID"), None)
                for i in self.call("Scan", TableName=table)["Items"]}

    def put(self, table, lock_id, attribute, value):
        self.call("PutItem", TableName=table, Item={"LockID": {"S": lock_id}, attribute: {"S": value}})

    def delete(self, table, lock_id):
        self.call("DeleteItem", TableName=table, Key={"LockID": {"S": lock_id}})


class Etcd(Server):
    """One member of etcd, asked by its JSON gateway; without users unless users() was called; its data is files."""

    name = "etcd"
    scheme = "http"

    def __init__(self, folder):
        super().__init__(folder)
        self.peer = free_port()
        self.token = None

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def command(self):
        return [self.program, "--data-dir", self.folder / "data", "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                "--listen-peer-urls", f"http://127.0.0.1:{self.peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{self.peer}",
                "--initial-cluster", f"default=http://127.0.0.1:{self.peer}", "--logger", "zap"]

    def connection(self, timeout):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def answers(self):
        try:
            self.call("/v3/maintenance/status", timeout=2)
            return True
        except (OSError, AssertionError, http.client.HTTPException):
            return False

    def call(self, path, timeout=10, **body):
        """What the call answers; raises unless it is 200."""
        conn = self.connection(timeout)
        conn.request("POST", path, json.dumps(body), {"Authorization": self.token} if self.token else {})
        answer = conn.getresponse()
        data = answer.read()
        conn.close()
        assert answer.status == 200, (path, answer.status, data)
        return json.loads(data)

    @staticmethod
    def bytes(text):
        return base64.b64encode(text.encode()).decode()

    def range(self, prefix):
        """{key: value} of all keys that begin so."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = self.call("/v3/kv/range", key=self.bytes(prefix), range_end=self.bytes(end)).get("kvs", [])
        return {base64.b64decode(kv["key"]).decode(): base64.b64decode(kv["value"]).decode() for kv in found}

    def users(self, name, password, prefix):
        """Turns users on: root, and one that may read and write below prefix."""
        for user, secret in (("root", "root-of-the-test"), (name, password)):
            self.call("/v3/auth/user/add", name=user, password=secret)
            self.call("/v3/auth/role/add", name=user)
            self.call("/v3/auth/user/grant", user=user, role=user)
        self.call("/v3/auth/role/grant", name=name, perm={"permType": "READWRITE", "key": self.bytes(prefix),
                                                          "range_end": self.bytes(prefix[:-1] + chr(ord(prefix[-1]) + 1))})
        self.call("/v3/auth/enable")
        self.token = self.call("/v3/auth/authenticate", name="root", password="root-of-the-test")["token"]


class EtcdTls(Etcd):
    """The same by TLS, which asks for a client certificate."""

    scheme = "https"

    def __init__(self, folder, certificates):
        super().__init__(folder)
        self.certificates = certificates
        self.context = ssl.create_default_context(cadata=certificates.ca_pem)
        self.context.load_cert_chain(certificates.folder / "nameless.pem", certificates.folder / "nameless.key")

    def command(self):
        files = self.certificates.folder
        return [*super().command(), "--cert-file", files / "server.pem", "--key-file", files / "server.key", "--trusted-ca-file",
                files / "ca.pem", "--client-cert-auth"]

    def connection(self, timeout):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.context)


class Azurite(Server):
    """Azure Blob: checks signatures, leases and conditions as in production; no versions; its data is files."""

    name = "azurite"
    account = "statestest"
    key = "dGVzdCBrZXkgb2Ygc3RhdGVmZXJyeSwgbm90IGEgc2VjcmV0IQ=="

    def command(self):
        return [install.node()[0], self.program, "--blobHost", "127.0.0.1", "--blobPort", self.port, "--location",
                self.folder / "data", "--silent", "--disableTelemetry"]

    def env(self):
        return {"AZURITE_ACCOUNTS": f"{self.account}:{self.key}"}

    def client(self):
        return AzureClient(self.port, self.account, self.key)

    def backend(self, container, port=None, **more):
        """The arguments of a backend block. port: of this server or a proxy in front; None: the account's name in Azure."""
        return {"storage_account_name": self.account, "container_name": container, "access_key": self.key} | more | \
            ({"blob_endpoint": f"http://127.0.0.1:{port}/{self.account}"} if port else {})


class AzuriteTls(Azurite):
    """The same by TLS, and it takes tokens of Entra ID: looks at their form, audience, issuer and times, not at their signature."""

    def __init__(self, folder, certificates):
        super().__init__(folder)
        self.certificates = certificates
        self.context = ssl.create_default_context(cadata=certificates.ca_pem)

    def command(self):
        return [*super().command(), "--cert", self.certificates.folder / "server.pem", "--key", self.certificates.folder / "server.key",
                "--oauth", "basic"]

    def answers(self):
        conn = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=2, context=self.context)
        try:
            conn.request("GET", "/")
            return conn.getresponse().status > 0
        except OSError:
            return False
        finally:
            conn.close()

    def client(self):
        return AzureClient(self.port, self.account, self.key, self.context)


class FakeGcs(Server):
    """Cloud Storage's JSON protocol; asks for no credentials, and ignores the precondition of a DELETE."""

    name = "fake-gcs-server"
    token = "ya29.canary-of-an-access-token-4c1d"
    backing = "filesystem"

    def command(self):
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return [self.program, "-scheme", "http", "-host", "127.0.0.1", "-port", self.port, "-backend", self.backing, "-filesystem-root",
                data, "-public-host", f"127.0.0.1:{self.port}", "-external-url", f"http://127.0.0.1:{self.port}"]

    def call(self, method, path, body=None, **query):
        """(status, bytes)"""
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        text = "&".join(f"{k}={urllib.parse.quote(str(v), safe='')}" for k, v in query.items())
        conn.request(method, path + ("?" + text if text else ""), body, {"Content-Type": "application/json"})
        answer = conn.getresponse()
        data = answer.read()
        conn.close()
        return answer.status, data

    def backend(self, bucket, prefix=None, port=None, **more):
        """The arguments of a backend "gcs" block; port: of a proxy in front."""
        return {"bucket": bucket, **({"prefix": prefix} if prefix else {}), "access_token": self.token,
                "storage_custom_endpoint": f"http://127.0.0.1:{port or self.port}/storage/v1/", **more}


class FakeGcsInMemory(FakeGcs):
    """The same with versions of objects, which it does not have in files."""

    backing = "memory"


class Certificates:
    """A throw-away authority with one server and one client certificate, made by the openssl command."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not shutil.which("openssl"):
            raise install.Missing("openssl is not on this machine")
        self.make("ca", ["-addext", "basicConstraints=critical,CA:TRUE"], [])
        ca = ["-CA", self.folder / "ca.pem", "-CAkey", self.folder / "ca.key"]
        names = ["IP:127.0.0.1", "DNS:localhost", "DNS:*.blob.localhost", "DNS:*.blob.core.windows.net", "DNS:*.googleapis.com"]
        self.make("server", ["-addext", "subjectAltName=" + ",".join(names)], ca)
        self.make("client", ["-addext", "extendedKeyUsage=clientAuth"], ca)
        self.make("nameless", ["-addext", "extendedKeyUsage=clientAuth"], ca, subject="/O=nobody")
        self.ca_pem, self.client_pem = self.read("ca.pem"), self.read("client.pem")
        self.client_key_pem = self.read("client.key")

    def make(self, name, more, signer, subject=None):
        key = self.folder / f"{name}.key"
        install.call(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                      "-days", "30", "-subj", subject or f"/CN={name}", "-keyout", key, "-out", self.folder / f"{name}.pem",
                      *signer, *more])

    def read(self, name):
        return (self.folder / name).read_text()

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        context.load_verify_locations(self.folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        return context
