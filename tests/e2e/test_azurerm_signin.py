# SPDX-License-Identifier: MIT
"""Each way to sign in to Azure, against an issuer that checks what it is sent and a server that looks at the tokens."""
import base64
import contextlib
import os

import pytest

import install
from conftest import need, need_tool
from entra import ASSERTION, CLIENT, GROUP, PERMIT, SECRET, STORAGE, SUBSCRIPTION, TENANT, Application, Entra
from hcl import Block
from project import Project
from servers import AzuriteTls, Certificates
from states import lineage, state

NAME, BOX = "net/prod.tfstate", "box"
PASSWORD = "pfx-CANARY-85"
CANARIES = [SECRET, ASSERTION, PERMIT, PASSWORD, "CANARY-84", "eyJhbGciOiAiUlMyNTYi"]


@pytest.fixture(scope="module")
def azure(tmp_path_factory):
    """(azurite, certificates)"""
    folder = tmp_path_factory.mktemp("azure")
    certificates = need("openssl", lambda: Certificates(folder / "certificates"))
    with need("azurite", lambda: AzuriteTls(folder / "azurite", certificates)) as server:
        server.client().create_container(BOX)
        yield server, certificates


@pytest.fixture
def signin(azure, agent, workdir):
    """signin(): the issuer, with an application; the agent trusts it."""
    server, certificates = azure
    with contextlib.ExitStack() as stack:
        def make(tls=True):
            application = Application(workdir / "application", PASSWORD)
            entra = Entra(certificates if tls else None, application, server.account, server.key)
            entra.blob = f"https://127.0.0.1:{server.port}/{server.account}"
            stack.callback(entra.close)
            agent.env |= dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE"), str(certificates.folder / "ca.pem"))
            return entra
        yield make


def block(azure, entra, workdir, **more):
    server = azure[0]
    args = {"storage_account_name": server.account, "container_name": BOX, "prefix": workdir.name + "/",
            "blob_endpoint": f"https://127.0.0.1:{server.port}/{server.account}", "metadata_host": entra.host,
            "use_azuread_auth": True, "tenant_id": TENANT, "client_id": CLIENT} | more
    return {k: v for k, v in args.items() if v is not None}


def replicates(agent, places, azure, workdir, entra, code=0, canaries=(), tokens=1, **more):
    """A state is written with what the issuer hands out. What sync said."""
    live = places("local")
    live.add(agent, "live")
    agent.backend("azurerm", "dr", block(azure, entra, workdir, **more))
    agent.replicate("out", "live", ["dr"])
    body = state(1, lineage())
    live.put(NAME, body)
    said = agent.call("sync", code=code)
    if code == 0:
        assert azure[0].client().get(BOX, f"{workdir.name}/{NAME}") == body
        assert not entra.wrong, entra.wrong
        assert entra.asked.count(("token", STORAGE + "/.default")) <= tokens, "one token for all requests"
    agent.check_secrets([*CANARIES, azure[0].key, *canaries])
    return said


def test_a_secret(agent, places, azure, signin, workdir):
    entra = signin()
    replicates(agent, places, azure, workdir, entra, client_secret=SECRET)
    assert entra.asked == [("token", STORAGE + "/.default")]
    agent.call("probe", "dr")


def test_variables_and_an_empty_block(agent, places, azure, signin, workdir):
    """As terraform reads them."""
    entra = signin()
    agent.env |= {"ARM_TENANT_ID": TENANT, "ARM_CLIENT_ID": CLIENT, "ARM_CLIENT_SECRET": SECRET, "ARM_USE_AZUREAD": "true",
                  "ARM_METADATA_HOSTNAME": entra.host}
    replicates(agent, places, azure, workdir, entra, use_azuread_auth=None, tenant_id=None, client_id=None, metadata_host=None)
    assert entra.asked == [("token", STORAGE + "/.default")]


@pytest.mark.parametrize("kind", ["path", "base64"])
def test_a_certificate(agent, places, azure, signin, workdir, kind):
    entra = signin()
    pfx = entra.application.folder / "app.pfx"
    given = {"client_certificate_path": str(pfx)} if kind == "path" else {"client_certificate": base64.b64encode(pfx.read_bytes()).decode()}
    replicates(agent, places, azure, workdir, entra, client_certificate_password=PASSWORD, **given)
    assert entra.asked == [("token", STORAGE + "/.default")]


def test_a_token_in_a_file(agent, places, azure, signin, workdir):
    entra = signin()
    (workdir / "token").write_text(ASSERTION + "\n")
    replicates(agent, places, azure, workdir, entra, use_oidc=True, oidc_token_file_path=str(workdir / "token"))


def test_a_token_of_the_job(agent, places, azure, signin, workdir):
    """The variables that a job of GitHub has."""
    entra = signin()
    agent.env |= {"ARM_USE_OIDC": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": f"{entra.url}/github?api-version=2.0",
                  "ACTIONS_ID_TOKEN_REQUEST_TOKEN": PERMIT}
    replicates(agent, places, azure, workdir, entra)
    assert entra.asked == [("github",), ("token", STORAGE + "/.default")]


def test_a_managed_identity(agent, places, azure, signin, workdir):
    entra = signin(tls=False)
    replicates(agent, places, azure, workdir, entra, use_msi=True, msi_endpoint=f"{entra.url}/msi/token", metadata_host=None,
               tenant_id=None)
    assert entra.asked == [("msi", STORAGE, CLIENT)]


def test_the_key_looked_up(agent, places, azure, signin, workdir):
    """It says where the blobs are, too."""
    entra = signin()
    replicates(agent, places, azure, workdir, entra, use_azuread_auth=None, blob_endpoint=None, client_secret=SECRET,
               resource_group_name=GROUP, subscription_id=SUBSCRIPTION)
    assert entra.asked == [("token", entra.url + "/.default"), ("account",), ("keys",)]


@pytest.mark.parametrize("why,code,given,refusal,said", [
    ("wrong", 12, {"client_secret": "other-CANARY-86"}, None, "the client secret is wrong (AADSTS7000215)"),
    ("expired", 12, {"client_secret": SECRET}, (401, {"error": "invalid_client", "error_description": "AADSTS7000222: expired"}),
     "the client secret has expired (AADSTS7000222)"),
    ("unknown", 12, {"client_secret": SECRET}, (400, {"error": "unauthorized_client", "error_description": "AADSTS700016: not found"}),
     "the tenant does not know the application"),
    ("busy", 1, {"client_secret": SECRET}, (503, {"error": "temporarily_unavailable", "error_description": "later"}), "it answers 503"),
    ("password", 10, {"client_certificate_password": "other-CANARY-86"}, None, "the password of the archive (PKCS #12) is wrong"),
])
def test_refusals(agent, places, azure, signin, workdir, why, code, given, refusal, said):
    entra = signin()
    entra.refusal = refusal
    if why == "password":
        given = given | {"client_certificate_path": str(entra.application.folder / "app.pfx")}
    result = replicates(agent, places, azure, workdir, entra, code=code, canaries=["CANARY-86"], **given)
    assert said in result.out + result.err, result.out + result.err
    assert f"{workdir.name}/{NAME}" not in azure[0].client().names(BOX)


def test_a_key_and_entra_id_exclude_each_other(agent, places, azure, signin, workdir):
    entra = signin()
    agent.env |= {"ARM_ACCESS_KEY": azure[0].key}
    result = replicates(agent, places, azure, workdir, entra, code=10, client_secret=SECRET)
    assert "access_key (ARM_ACCESS_KEY) and use_azuread_auth (ARM_USE_AZUREAD) exclude each other" in result.err and not entra.asked


def test_a_token_that_the_server_refuses_is_replaced_once(agent, places, azure, signin, workdir):
    entra = signin()
    entra.stale = 1
    replicates(agent, places, azure, workdir, entra, tokens=2, client_secret=SECRET)
    assert len(entra.asked) == 2


def test_tokens_that_the_server_refuses(agent, places, azure, signin, workdir):
    entra = signin()
    entra.stale = 99
    result = replicates(agent, places, azure, workdir, entra, code=None, client_secret=SECRET)
    assert result.code == 12 and "the credentials from client_secret are refused (403 AuthenticationFailed)" in result.out + result.err
    assert len(entra.asked) == 2


WAYS = {
    "secret": {"ARM_CLIENT_SECRET": SECRET, "ARM_USE_AZUREAD": "true"},
    "certificate": {"ARM_CLIENT_CERTIFICATE_PATH": "app.pfx", "ARM_CLIENT_CERTIFICATE_PASSWORD": PASSWORD, "ARM_USE_AZUREAD": "true"},
    "job": {"ARM_USE_OIDC": "true", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": PERMIT, "ARM_USE_AZUREAD": "true"},
    "looked up": {"ARM_CLIENT_SECRET": SECRET},
}


@pytest.mark.parametrize("way", WAYS)
def test_terraform_with_the_same_block_and_variables(agent, places, azure, signin, workdir, way):
    """terraform makes a state, and the agent, given what terraform was given, copies it."""
    server, certificates = azure
    if os.geteuid() != 0:
        pytest.skip("a hosts file of its own needs root")
    need_tool("unshare")
    program, entra = need("terraform", lambda: install.find("terraform")), signin()
    host = f"{server.account}.blob.localhost"
    entra.suffix, entra.blob = f"localhost:{server.port}", f"https://{host}:{server.port}"
    (workdir / "hosts").write_text(f"127.0.0.1 localhost {host}\n")
    wrapped = workdir / "terraform"
    wrapped.write_text(f"#!/bin/sh\nexec unshare -m sh -c 'mount --bind {workdir}/hosts /etc/hosts && exec {program} \"$@\"' sh \"$@\"\n")
    wrapped.chmod(0o700)
    env = WAYS[way] | {"ARM_TENANT_ID": TENANT, "ARM_CLIENT_ID": CLIENT, "ARM_METADATA_HOSTNAME": entra.host, "ARM_USE_CLI": "false",
                       "ARM_SUBSCRIPTION_ID": SUBSCRIPTION, "SSL_CERT_FILE": str(certificates.folder / "ca.pem")}
    if "ARM_CLIENT_CERTIFICATE_PATH" in env:
        env["ARM_CLIENT_CERTIFICATE_PATH"] = str(entra.application.folder / "app.pfx")
    if way == "job":
        env["ACTIONS_ID_TOKEN_REQUEST_URL"] = f"{entra.url}/github?api-version=2.0"
    key = f"{workdir.name}/prod.tfstate"
    args = {"storage_account_name": server.account, "container_name": BOX, "key": key,
            "resource_group_name": GROUP if way == "looked up" else None}
    project = Project(wrapped, workdir / "project", ("azurerm", args), env)
    project.init()
    project.apply()
    assert not entra.wrong and entra.asked, entra.wrong
    asked = {tuple(a.replace("//.default", "/.default") for a in what) for what in entra.asked}   # it keeps a "/" at the end
    entra.asked.clear()
    copy = places("local")
    agent.env |= env
    agent.backend("azurerm", "live", {k: v for k, v in args.items() if v})
    copy.add(agent, "copy")
    agent.replicate("out", "live", ["copy"])
    agent.sync()
    assert not entra.wrong and set(entra.asked) == asked, (entra.wrong, entra.asked, asked)
    assert copy.get(key) == server.client().get(BOX, key)
    agent.check_secrets([*CANARIES, server.key])


def test_the_example(example, agent, azure, signin):
    """A machine reads, an application of another tenant writes by its certificate, and the machine by the account's key."""
    server, machine, entra = azure[0], signin(tls=False), signin()
    password = agent.folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    boxes = {label: f"{BOX}-{label}" for label in ("live", "dr", "archive")}
    for box in boxes.values():
        server.client().create_container(box)
    body = state(1, lineage())
    server.client().put(boxes["live"], NAME, body)
    there = {"blob_endpoint": f"https://127.0.0.1:{server.port}/{server.account}", "metadata_host": entra.host}
    msi = {"msi_endpoint": f"{machine.url}/msi/token"}
    swap = {"acmestatesdr": server.account, "acmestates": server.account, "acmearchive": server.account, '"states"': f'"{GROUP}"',
            "00000000-0000-0000-0000-000000000000": TENANT, "11111111-1111-1111-1111-111111111111": CLIENT,
            "22222222-2222-2222-2222-222222222222": SUBSCRIPTION, "/etc/stateferry/dr.pfx": agent.folder.parent / "application/app.pfx",
            "/run/credentials/stateferry/password": password}
    example("azurerm-entra.hcl", swap, {"live": there | msi, "dr": there, "archive": msi | {"metadata_host": entra.host}})
    text = agent.blocks[0].whole
    for label, box in boxes.items():
        head, _, rest = text.partition(f'" "{label}" {{')
        text = head + f'" "{label}" {{' + rest.replace('"tfstate"', f'"{box}"', 1)
    agent.blocks[0].whole = text
    agent.sync()
    assert [server.client().get(box, NAME) for box in boxes.values()] == [body] * 3
    assert not entra.wrong and not machine.wrong and ("keys",) in entra.asked
    agent.check_secrets([*CANARIES, server.key])


def test_brainboards_storage_by_entra_id(agent, places, azure, signin, workdir, brainboard):
    """Brainboard's form has a switch for it: no key of the account is needed then."""
    entra, id_ = signin(), brainboard.add("net")
    live, copy = places("local"), places("local")
    live.add(agent, "live")
    copy.add(agent, "copy")
    storage = Block("storage", "azurerm", **block(azure, entra, workdir, client_secret=SECRET))
    agent.backend("brainboard", "bb", brainboard.backend() | {"key": "{uuid}"}, blocks=[storage])
    agent.replicate("in", "live", "bb")
    live.put(f"{id_}.tfstate", state(1, lineage()))
    agent.sync()
    agent.forget("replicate", "in")
    agent.replicate("out", "bb", "copy")
    agent.sync()
    assert copy.get(f"{id_}.tfstate") == live.get(f"{id_}.tfstate")
    agent.check_secrets(CANARIES)
