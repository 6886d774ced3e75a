# SPDX-License-Identifier: MIT
"""Session tokens and the headers of SSE-C on a server that checks the signature over them; terraform shows that it checks right."""
import base64

import pytest

from servers import Ministack
from signed_proxy import SignedProxy
from states import lineage, state

NAME = "net/a b+c ü.tfstate"
KEY = base64.b64encode(bytes(range(32))).decode()
TOKEN = "FwoGZXIvYXdzE+/lent=="
CUSTOMER = "x-amz-server-side-encryption-customer-"


@pytest.fixture
def strict(make_bucket):
    """A bucket, and what stands before it; arguments(...) of a backend block that goes there."""
    bucket = make_bucket(Ministack)
    with SignedProxy(bucket.server, TOKEN) as front:
        yield front, lambda key=None, **more: bucket.server.backend(
            bucket.name, key, port=front.port, **{"token": TOKEN, "encrypt": True, "sse_customer_key": KEY} | more)


def test_token_and_customer_key_are_signed(agent, places, strict, terraform):
    front, arguments = strict
    live = places("local")
    live.add(agent, "live")
    agent.backend("s3", "dr", arguments())
    agent.replicate("out", "live", "dr")
    line = lineage()
    for serial in (1, 2):
        live.put(NAME, state(serial, line))
        assert agent.edge(agent.sync(), "out")["written"] == 1
    assert agent.json("probe", "dr")["enforces"]
    tf = terraform("there", ("s3", arguments(NAME)))
    tf.init()
    assert str(line) in tf.call("state", "pull").out
    assert front.refused == []
    sent = [e["headers"] for e in front.requests(part="/net/") if e["method"] in ("GET", "PUT") and ".tflock" not in e["target"]]
    assert sent and all(h["x-amz-security-token"] == TOKEN and h[CUSTOMER + "key"] == KEY for h in sent)
    agent.check_secrets([KEY, TOKEN])


@pytest.mark.parametrize("wrong", [{"token": "gone"}, {"token": None}, {"secret_key": "another"}], ids=["old token", "no token", "secret"])
def test_wrong_ones_are_one_clear_problem(agent, places, strict, wrong):
    front, arguments = strict
    live = places("local")
    live.add(agent, "live")
    agent.backend("s3", "dr", {k: v for k, v in arguments(**wrong).items() if v is not None})
    agent.replicate("out", "live", "dr")
    live.put(NAME, state(1, lineage()))
    problem = agent.problem(agent.sync(code=12))
    assert problem["message"] and problem["hint"] and front.refused
    assert agent.status()["verdict"] == "failing"
    assert {e["status"] for e in front.requests()} == {403}
