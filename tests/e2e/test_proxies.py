# SPDX-License-Identifier: MIT
"""The way through a proxy and by an authority of one's own: arguments of the block, and the environment's variables."""
import pytest

from forward_proxy import ForwardProxy, TlsFront
from states import lineage, state

NAME = "net/prod.tfstate"


@pytest.fixture
def forward():
    proxy = ForwardProxy().start()
    yield proxy
    proxy.stop()


@pytest.fixture
def tls_front(certificates, bucket):
    """The S3 server of `bucket` behind TLS."""
    front = TlsFront(certificates, bucket.server.port).start()
    yield front
    front.stop()


@pytest.fixture
def source(agent, places):
    live = places("local")
    live.add(agent, "live")
    live.put(NAME, state(1, lineage()))
    return live


def replicate(agent, kind, args, **more):
    agent.backend(kind, "dr", args, **more)
    agent.replicate("out", "live", "dr")


def https(bucket, front):
    return bucket.backend() | {"endpoints": {"s3": f"https://127.0.0.1:{front.port}"}}


@pytest.mark.parametrize("no_proxy", [None, "127.0.0.1", "example.com,*", "example.com"])
def test_s3_goes_through_http_proxy_unless_no_proxy(agent, source, bucket, forward, no_proxy):
    replicate(agent, "s3", bucket.backend(), http_proxy=forward.url, **({"no_proxy": no_proxy} if no_proxy else {}))
    agent.sync()
    assert bucket.get(NAME) == source.get(NAME)
    through = no_proxy in (None, "example.com")
    assert bool(forward.journal) == through
    if through:
        assert {method for method, _ in forward.journal} >= {"GET", "PUT", "DELETE"}
        assert all(target.startswith(f"http://127.0.0.1:{bucket.server.port}/") for _, target in forward.journal)


@pytest.mark.parametrize("argument", ["https_proxy", "http_proxy"])
def test_s3_over_tls_is_tunnelled(agent, source, bucket, forward, tls_front, certificates, argument):
    replicate(agent, "s3", https(bucket, tls_front), custom_ca_bundle=str(certificates.folder / "ca.pem"),
              **{argument: forward.url})
    agent.sync()
    assert bucket.get(NAME) == source.get(NAME)
    assert set(forward.journal) == {("CONNECT", f"127.0.0.1:{tls_front.port}")}
    assert {method for method, _ in tls_front.journal} >= {"GET", "PUT", "DELETE"}


def test_https_proxy_is_not_for_http(agent, source, bucket, forward):
    replicate(agent, "s3", bucket.backend(), https_proxy=forward.url)
    agent.sync()
    assert bucket.get(NAME) == source.get(NAME) and forward.journal == []


def test_the_arguments_win_over_the_environment(agent, source, bucket, forward):
    agent.env["http_proxy"] = "http://127.0.0.1:1"
    replicate(agent, "s3", bucket.backend(), http_proxy=forward.url)
    agent.sync()
    assert bucket.get(NAME) == source.get(NAME) and forward.journal


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_custom_ca_bundle_is_what_is_trusted(agent, source, bucket, tls_front, certificates, how):
    replicate(agent, "s3", https(bucket, tls_front))
    doc = agent.sync(code=12)
    assert "certificate" in agent.problem(doc)["message"], doc
    assert tls_front.journal == [] and bucket.keys() == []
    if how == "argument":
        agent.forget("backend", "dr")
        agent.backend("s3", "dr", https(bucket, tls_front), custom_ca_bundle=str(certificates.folder / "ca.pem"))
    else:
        agent.env["AWS_CA_BUNDLE"] = str(certificates.folder / "ca.pem")
    agent.sync()
    assert bucket.get(NAME) == source.get(NAME)


def test_a_ca_bundle_that_is_not_there_is_named(agent, source, bucket, tls_front, workdir):
    replicate(agent, "s3", https(bucket, tls_front), custom_ca_bundle=str(workdir / "none.pem"))
    done = agent.call("sync", code=None)
    assert done.code == 10 and "none.pem" in done.err


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("no_proxy", ["", "127.0.0.1"])
def test_environment_of_an_http_backend(agent, source, http_states, certificates, forward, variable, no_proxy):
    server = http_states(tls=certificates)
    agent.env |= {variable: forward.url, "NO_PROXY": no_proxy}
    replicate(agent, "http", server.backend("{name}"))
    agent.sync()
    assert server.body(NAME) == source.get(NAME)
    assert set(forward.journal) == (set() if no_proxy else {("CONNECT", f"127.0.0.1:{server.port}")})


def test_environment_of_plain_http(agent, source, http_states, forward):
    """http_proxy in small letters alone: HTTP_PROXY is what a client's header "Proxy:" becomes in a CGI program."""
    server = http_states()
    agent.env["http_proxy"] = forward.url
    replicate(agent, "http", server.backend("{name}"))
    agent.sync()
    assert server.body(NAME) == source.get(NAME)
    assert {method for method, _ in forward.journal} >= {"GET", "POST", "LOCK", "UNLOCK"}
