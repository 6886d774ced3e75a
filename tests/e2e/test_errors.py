# SPDX-License-Identifier: MIT
"""What a target may answer, and what is said of it: one sentence with the next step, the exit code, no secret; and that it goes
on by itself when the trouble is over. Printed as a table of exit codes."""
import json

import pytest

from conftest import BRAINBOARD, GITLAB_TOKEN, HARNESS_TOKEN, HTTP_PASSWORD, PLATFORMS
from forward_proxy import TlsFront
from hcl import Block
from places import Arguments
from servers import Azurite, FakeGcs, S3Server
from states import CANARY, lineage, state

NAME = "net/prod.tfstate"
UUID = "9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f"
SENTENCE_MAX = 300


def s3(status, code, message="", **more):
    body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return {"status": status, "headers": {"Content-Type": "application/xml"} | more, "body": body}


def gcs(status, reason, message="m", **more):
    body = json.dumps({"error": {"code": status, "message": message, "errors": [{"domain": "global", "reason": reason, "message": message}]}})
    return {"status": status, "headers": {"Content-Type": "application/json"} | more, "body": body.encode()}


def dynamo(kind, message="m", status=400):
    """As DynamoDB refuses: the kind of error in __type, with a prefix or without."""
    prefix = "com.amazonaws.dynamodb.v20120810#" if "Exception" in kind else ""
    return {"status": status, "headers": {"Content-Type": "application/x-amz-json-1.0"},
            "body": json.dumps({"__type": prefix + kind, "message": message}).encode()}


def http(status, body=b"no", **more):
    return {"status": status, "headers": more, "body": body}


def azure(status, code, **more):
    body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No.\nRequestId:1</Message></Error>".encode()
    return {"status": status, "headers": {"Content-Type": "application/xml", "x-ms-error-code": code} | more, "body": body}


def harness(status, message, **more):
    body = json.dumps({"name": "e", "id": "5fLxQ2hR", "message": message, "temporary": False, "timeout": False, "fault": False})
    return {"status": status, "headers": {"Content-Type": "application/vnd.goa.error"} | more, "body": body.encode()}


def gitlab(status, message, key="message", **more):
    return {"status": status, "headers": {"Content-Type": "application/json"} | more, "body": json.dumps({key: message}).encode()}


def tfe(status, title, detail="", **more):
    body = json.dumps({"errors": [{"status": str(status), "title": title, "detail": detail}]})
    return {"status": status, "headers": {"Content-Type": "application/vnd.api+json"} | more, "body": body.encode()}


PAGE = b"<!DOCTYPE html>\n<html><head><meta charset=utf-8><title>Sign in</title></head><body><p>To use the network<br>sign in</body></html>"

# trouble: kind -> (answer, exit code, what stands in the sentence or the next step)
TROUBLES = {
    "wrong credential": {
        "s3": (s3(403, "SignatureDoesNotMatch"), 12, ["refused", "secret_key"]),
        "s3-table": (dynamo("UnrecognizedClientException", "The security token included in the request is invalid."), 12, ["refused", "check access_key"]),
        "azurerm": (azure(403, "AuthenticationFailed"), 12, ["refused", "access_key", "rotated"]),
        "gcs": (gcs(401, "authError", "Invalid Credentials"), 12, ["refused", "access_token", "renew"]),
        "gitlab": (gitlab(401, "401 Unauthorized"), 12, ["401", "access token"]),
        "harness": (harness(401, "invalid token"), 12, ["401", "invalid token", "5fLxQ2hR", "API key"]),
        "remote": (tfe(401, "unauthorized"), 12, ["401", "token", "put a new one"]),
        "http": (http(401), 12, ["credentials", "401"])},
    "expired credential": {
        "s3": (s3(400, "ExpiredToken", "The provided token has expired."), 12, ["expired", "renew"]),
        "s3-table": (dynamo("ExpiredTokenException", "The security token included in the request is expired"), 12, ["expired", "renew"]),
        "azurerm": (azure(403, "AuthenticationFailed"), 12, ["refused", "has expired"]),
        "gcs": (gcs(401, "authError", "Request had invalid authentication credentials: expired"), 12, ["refused", "expired", "renew"]),
        "gitlab": (gitlab(401, "invalid_token", "error"), 12, ["401", "invalid_token", "access token"]),
        "harness": (harness(401, "token has expired"), 12, ["401", "token has expired", "API key"]),
        "remote": (tfe(401, "unauthorized", "token expired"), 12, ["401", "token", "put a new one"]),
        "http": (http(401, b"token expired"), 12, ["credentials", "401"])},
    "missing permission": {
        "s3": (s3(403, "AccessDenied", "Access Denied"), 12, ["not allowed", "s3:ListBucket"]),
        "s3-table": (dynamo("AccessDeniedException", "User: u is not authorized to perform: dynamodb:PutItem"), 12, ["not allowed", "dynamodb:PutItem"]),
        "azurerm": (azure(403, "AuthorizationPermissionMismatch"), 12, ["not allowed", "Storage Blob Data Contributor"]),
        "gcs": (gcs(403, "forbidden", "a@b does not have access"), 12, ["not allowed", "storage.objects.list"]),
        "gitlab": (gitlab(403, "insufficient_scope", "error"), 12, ["403", "insufficient_scope", "Maintainer"]),
        "harness": (harness(403, "missing permission iac_workspace_accessstate"), 12, ["403", "missing permission", "Access State"]),
        "remote": (tfe(403, "forbidden"), 12, ["403", "not permitted", "read workspaces"]),
        "http": (http(403), 12, ["permit", "403"])},
    "missing container": {
        "s3": (s3(404, "NoSuchBucket"), 1, ["does not exist", "create"]),
        "s3-table": (dynamo("ResourceNotFoundException", "Requested resource not found"), 10, ["does not exist", "dynamodb_table"]),
        "azurerm": (azure(404, "ContainerNotFound"), 1, ["does not exist", "create"]),
        "gcs": (gcs(404, "notFound", "The specified bucket does not exist."), 1, ["does not exist", "create"]),
        "gitlab": (gitlab(200, {"project": None}, "data"), 12, ["no such project", "read_api"]),
        "harness": (harness(404, "project not found"), 1, ["404", "project not found", "identifier"]),
        "http": (http(404), 1, ["404", "address"]),
        "remote": (tfe(404, "not found"), 12, ["404", "not permitted", "organization"])},
    "clock skew": {
        "s3": (s3(403, "RequestTimeTooSkewed", "The difference is too large."), 12, ["clock", "NTP"]),
        "s3-table": (dynamo("InvalidSignatureException", "Signature expired: 20261122T004553Z is now earlier than 20261122T054053Z"), 12, ["clock", "NTP"]),
        "azurerm": (azure(403, "AuthenticationFailed", Date="Sun, 22 Nov 2020 00:45:53 GMT"), 12, ["clock", "ahead"])},
    "rate limit": {
        "s3": (s3(503, "SlowDown", "Please reduce your request rate.", **{"Retry-After": "600"}), 1, ["503"]),
        "s3-table": (dynamo("ProvisionedThroughputExceededException", "The level of configured provisioned throughput was exceeded"), 1, ["400"]),
        "azurerm": (azure(503, "ServerBusy", **{"Retry-After": "600"}), 1, ["503"]),
        "gcs": (gcs(429, "rateLimitExceeded", **{"Retry-After": "600"}), 1, ["429"]),
        "gitlab": (gitlab(429, "Retry later", **{"Retry-After": "600"}), 1, ["429", "Retry later"]),
        "harness": (harness(429, "slow down", **{"Retry-After": "600"}), 1, ["429", "slow down"]),
        "remote": (tfe(429, "Too many requests", **{"X-RateLimit-Reset": "600.5"}), 1, ["429"]),
        "http": (http(429, **{"Retry-After": "600"}), 1, ["429"])},
    "5xx storm": {
        "s3": (s3(500, "InternalError"), 1, ["500"]),
        "s3-table": (dynamo("InternalServerError", status=500), 1, ["500"]),
        "azurerm": (azure(500, "InternalError"), 1, ["500"]),
        "gcs": (gcs(500, "backendError"), 1, ["500"]),
        "gitlab": (gitlab(502, "bad gateway"), 1, ["502"]),
        "harness": (harness(502, "upstream"), 1, ["502"]),
        "remote": (tfe(502, "bad gateway"), 1, ["502"]),
        "http": (http(502), 1, ["502"])},
    "redirect": {
        "s3": (s3(301, "PermanentRedirect", Location="http://127.0.0.1:1/"), 10, ["not at this endpoint", "region"]),
        "s3-table": (http(302, Location="http://127.0.0.1:1/"), 1, ["302", "dynamodb"]),
        "azurerm": (http(302, Location="http://127.0.0.1:1/"), 1, ["302", "blob_endpoint"]),
        "gcs": (http(302, Location="http://127.0.0.1:1/"), 1, ["302", "storage_custom_endpoint"]),
        "gitlab": (http(302, Location="http://127.0.0.1:1/"), 1, ["redirect"]),
        "harness": (http(302, Location="http://127.0.0.1:1/"), 1, ["redirect"]),
        "remote": (http(302, Location="http://127.0.0.1:1/"), 1, ["302", "hostname"]),
        "http": (http(302, Location="http://127.0.0.1:1/"), 1, ["redirect"])},
    "an HTML page": {
        "s3": (http(200, PAGE), 1, ["listing", "proxy"]),
        "s3-table": (http(200, PAGE), 1, ["proxy"]),
        "azurerm": (http(200, PAGE), 1, ["listing", "proxy"]),
        "gcs": (http(200, PAGE), 1, ["storage_custom_endpoint", "proxy"]),
        "gitlab": (http(200, PAGE), 1, ["none of its API", "proxy"]),
        "harness": (http(200, PAGE), 1, ["not one of Harness", "proxy"]),
        "remote": (http(200, PAGE), 1, ["none of this API", "proxy"]),
        "http": (http(200, PAGE), 1, ["page", "proxy"])},
}
for kinds in TROUBLES.values():     # what a storage says of itself is said of Brainboard
    kinds |= {f"brainboard-{kind}": kinds[kind] for kind in ("s3", "azurerm") if kind in kinds}
CASES = [pytest.param(trouble, kind, id=f"{trouble}:{kind}") for trouble, kinds in TROUBLES.items() for kind in kinds]


def named(kind):
    """What NAME becomes there."""
    return "prod" if kind in PLATFORMS else UUID if kind in BRAINBOARD else NAME


def replicating(agent, places, kind, proxy=None, **more):
    """To a platform, whose names have no folders, and to Brainboard, by an alias; with a lock table, the trouble is that of the table."""
    live, dr = places("local"), places(kind)
    if kind == "s3-table":
        dr.at = proxy(dr.dynamo)
    live.add(agent, "live", blocks=[Block("state", NAME, alias=named(kind))])
    dr.add(agent, "dr", timeout="3s", **more)
    if kind in [*PLATFORMS, *BRAINBOARD]:
        dr.prepare(named(kind))
    agent.replicate("out", "live", "dr", **({"key": "{alias}"} if named(kind) != NAME else {}))
    live.put(NAME, state(1, lineage()))
    return live, dr


def said(agent, code, words):
    """The first problem of a pass, in the words that people read."""
    result = agent.call("--json", "sync", code=code)
    problem = result.json["problems"][0]
    text = problem["message"] + "; " + (problem["hint"] or "")
    print(f"{result.code}: {text}")
    assert "\n" not in text and len(problem["message"]) < SENTENCE_MAX, text
    assert problem["hint"], f"no next step: {text}"
    for word in words:
        assert word.lower() in text.lower(), f"{word!r} is not in: {text}"
    for secret in (S3Server.secret_key, HTTP_PASSWORD, FakeGcs.token, Azurite.key, HARNESS_TOKEN, GITLAB_TOKEN, CANARY):
        assert secret not in result.out + result.err
    return problem


@pytest.mark.parametrize("trouble,kind", CASES)
def test_error(agent, places, proxy, cell, trouble, kind):
    answer, code, words = TROUBLES[trouble][kind]
    cell("what is said of", trouble, kind, str(code))
    live, dr = replicating(agent, places, kind, proxy=proxy)
    rules = dr.at.rules if kind == "s3-table" else dr.rules
    rules.add(times=0, **answer)
    said(agent, code, words)
    assert agent.json("status", code=None)["verdict"] != "ok"
    rules.clear()
    agent.sync()
    assert dr.get(named(kind)) == live.get(NAME) and list(dr.locks()) == []


@pytest.mark.parametrize("kind", ["gcs", "http", *PLATFORMS])
def test_a_clock_that_nothing_rests_on(agent, places, cell, kind):
    """Requests with a token or a password carry no time: a server whose clock is hours off is no trouble."""
    cell("what is said of", "clock skew", kind, "0")
    live, dr = replicating(agent, places, kind)
    (dr.front if kind == "gcs" else dr.server).skew = -3 * 3600
    agent.sync()
    assert dr.get(named(kind)) == live.get(NAME) and list(dr.locks()) == []


@pytest.mark.parametrize("kind", ["s3", "s3-table", "http", "gcs", "azurerm", *PLATFORMS, *BRAINBOARD])
def test_truncated_body(agent, places, cell, kind):
    """As a source: what was cut is never kept as a version."""
    cell("what is said of", "truncated body", kind, "1")
    live, folder = places(kind), places("local")
    live.add(agent, "live", **({"states": [NAME]} if kind == "http" else {}), timeout="3s")
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    name = named(kind)
    live.put(name, state(1, lineage()))
    live.on_read(name, times=0, truncate=100)
    said(agent, 1, ["127.0.0.1"])
    live.rules.clear()
    agent.sync()
    assert folder.get(name if name.endswith(".tfstate") else f"{name}.tfstate") == live.get(name)
    assert [v["serial"] for v in agent.versions(f"live:{name}")] == [1]


@pytest.mark.parametrize("kind", ["s3", "s3-table", "http", "gcs", "azurerm", *PLATFORMS, *BRAINBOARD])
def test_tls_name_mismatch(agent, places, certificates, cell, kind):
    cell("what is said of", "TLS name mismatch", kind, "12")
    live, dr = places("local"), places(kind)
    live.add(agent, "live", blocks=[Block("state", NAME, alias=named(kind))])
    live.put(NAME, state(1, lineage()))
    if kind in BRAINBOARD:
        dr.prepare(UUID)
        server = dr.inner.bucket.server if kind == "brainboard-s3" else dr.inner.server
        with TlsFront(certificates, server.port) as front:
            agent.env["AWS_CA_BUNDLE"] = agent.env["CURL_CA_BUNDLE"] = str(certificates.folder / "ca.pem")
            place = f"https://dr.localhost:{front.port}"
            args = (dr.inner.bucket.backend() | {"endpoints": {"s3": place}} if kind == "brainboard-s3" else
                    server.backend(dr.inner.container) | {"blob_endpoint": f"{place}/{server.account}"})
            agent.backend("brainboard", "dr", dr.api.backend() | {"key": "{uuid}"}, blocks=[Block("storage", dr.inner.kind, **args)])
            agent.replicate("out", "live", "dr", key="{alias}")
            said(agent, None, ["certificate", "dr.localhost"])
        return
    if kind == "s3-table":
        with TlsFront(certificates, dr.dynamo.port) as front:
            agent.env["AWS_CA_BUNDLE"] = str(certificates.folder / "ca.pem")
            args = dr.args(dr.bucket.backend())
            agent.backend("s3", "dr", args | {"endpoints": args["endpoints"] | {"dynamodb": f"https://dr.localhost:{front.port}"}})
            agent.replicate("out", "live", "dr")
            said(agent, None, ["certificate", "dr.localhost"])
            assert dr.get(NAME) is None
        return
    if kind == "s3":
        with TlsFront(certificates, dr.bucket.server.port) as front:
            agent.env["AWS_CA_BUNDLE"] = str(certificates.folder / "ca.pem")
            agent.backend("s3", "dr", dr.bucket.backend() | {"endpoints": {"s3": f"https://dr.localhost:{front.port}"}})
            agent.replicate("out", "live", "dr")
            said(agent, None, ["certificate", "dr.localhost"])
        return
    if kind == "harness":
        with TlsFront(certificates, dr.server.port) as front:
            agent.env["HARNESS_PLATFORM_API_KEY"] = HARNESS_TOKEN
            agent.backend("harness", "dr", dr.server.project(endpoint=f"https://dr.localhost:{front.port}/gateway"),
                          client_ca_certificate_pem=certificates.ca_pem)
            agent.replicate("out", "live", "dr", key="{path}")
            said(agent, None, ["certificate", "dr.localhost"])
        return
    if kind == "remote":
        with TlsFront(certificates, dr.server.port) as front:
            agent.backend("remote", "dr", dr.server.backend(hostname=f"dr.localhost:{front.port}")[1],
                          ca_file=str(certificates.folder / "ca.pem"))
            agent.replicate("out", "live", "dr", key="{path}")
            said(agent, None, ["certificate", "dr.localhost"])
        return
    if kind == "azurerm":
        with TlsFront(certificates, dr.server.port) as front:
            agent.env["CURL_CA_BUNDLE"] = str(certificates.folder / "ca.pem")
            place = f"https://dr.localhost:{front.port}/{dr.server.account}"
            agent.backend("azurerm", "dr", dr.server.backend(dr.container) | {"blob_endpoint": place})
            agent.replicate("out", "live", "dr")
            said(agent, None, ["certificate", "dr.localhost"])
        return
    if kind == "gcs":
        with TlsFront(certificates, dr.server.port) as front:
            agent.env["SSL_CERT_FILE"] = str(certificates.folder / "ca.pem")
            agent.backend("gcs", "dr", dr.server.backend(dr.bucket, storage_custom_endpoint=f"https://dr.localhost:{front.port}/storage/v1/"))
            agent.replicate("out", "live", "dr")
            said(agent, None, ["certificate", "dr.localhost"])
        return
    with TlsFront(certificates, dr.server.port) as front:
        args = {k: v.replace(f"http://127.0.0.1:{dr.server.port}", f"https://dr.localhost:{front.port}") if isinstance(v, str) else v
                for k, v in dr.server.backend("{name}").items()}
        agent.backend("http", "dr", args, client_ca_certificate_pem=certificates.ca_pem)
        agent.replicate("out", "live", "dr", key="{alias}")
        said(agent, None, ["certificate", "dr.localhost"])


def test_tls_name_mismatch_of_an_inventory(agent, places, certificates, cell):
    """Of Brainboard's API: what its storage has goes on."""
    cell("what is said of", "TLS name mismatch", "brainboard", "3")
    live, dr = places("local"), places("brainboard-s3")
    dr.put(UUID, state(1, lineage()))
    with TlsFront(certificates, dr.api.port) as front:
        agent.env["SSL_CERT_FILE"] = agent.env["CURL_CA_BUNDLE"] = str(certificates.folder / "ca.pem")
        kind, args = dr.inner.add(Arguments, "x")
        agent.backend("brainboard", "dr", dr.api.backend() | {"api_base": f"https://dr.localhost:{front.port}"},
                      blocks=[Block("storage", kind, **args)])
        live.add(agent, "live")
        agent.replicate("out", "dr", "live")
        said(agent, 3, ["certificate", "dr.localhost", "Brainboard"])
    assert live.get(f"{UUID}.tfstate") == dr.get(UUID)
