# SPDX-License-Identifier: MIT
"""Encryption by the store, on a server that refuses what S3 refuses: an object under a customer's key is not read without it,
nor under another one, and not asked for with one when it has none."""
import base64
import hashlib

import pytest

from s3_client import S3Error
from servers import Ministack
from states import lineage, state

NAME = "net/prod.tfstate"
OURS, THEIRS = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
HEADER = "x-amz-server-side-encryption"


def under(key):
    return {"encrypt": True, "sse_customer_key": key}


def asked_with(key):
    digest = hashlib.md5(base64.b64decode(key), usedforsecurity=False).digest()
    return {f"{HEADER}-customer-algorithm": "AES256", f"{HEADER}-customer-key": key,
            f"{HEADER}-customer-key-md5": base64.b64encode(digest).decode()}


def read(bucket, name, key):
    return bucket.client.request("GET", bucket.name, name, headers=asked_with(key))[1]


def only_under(bucket, name, key):
    """The bytes; without the key they must not be had."""
    for headers in ({}, asked_with(THEIRS if key == OURS else OURS)):
        with pytest.raises(S3Error):
            bucket.client.request("GET", bucket.name, name, headers=headers)
    return read(bucket, name, key)


@pytest.fixture
def buckets(make_bucket):
    return make_bucket(Ministack), make_bucket(Ministack)


def test_customer_keys_beside_terraform(agent, buckets, places, terraform):
    """Terraform under one key, the replica under another; then terraform goes on over there, and its lock is waited for."""
    live, dr = buckets
    folder = places("local")
    tf = terraform("tf", ("s3", live.backend(NAME, **under(OURS))))
    tf.init()
    tf.apply()
    agent.backend("s3", "live", live.backend(), **under(OURS))
    agent.backend("s3", "dr", dr.backend(), lock_timeout="1s", **under(THEIRS))
    folder.add(agent, "folder")
    agent.replicate("out", "live", ["dr", "folder"])
    assert agent.edge(agent.sync(), "out")["written"] == 2
    assert only_under(live, NAME, OURS) == only_under(dr, NAME, THEIRS) == folder.get(NAME)
    there = terraform("there", ("s3", dr.backend(NAME, **under(THEIRS))))
    there.init()
    assert there.unchanged()
    run = there.asking(dr.locks)
    [held] = agent.json("locks", "dr")["locks"]
    assert held["operation"] == "OperationTypeApply" and not held["ours"]
    tf.apply(items=2)
    assert agent.problem(agent.sync(code=3), NAME)["code"] == 11
    there.refuse(run)
    agent.sync()
    assert read(dr, NAME, THEIRS) == read(live, NAME, OURS) == folder.get(NAME)
    agent.call("restore", f"live:{NAME}@1", "--yes")
    assert tf.plan("-detailed-exitcode", ok=(2,), items=2)
    assert live.locks() == dr.locks() == []
    assert agent.json("probe", "dr")["enforces"]
    agent.check_secrets([OURS, THEIRS])


@pytest.mark.parametrize("wrote,key", [(OURS, THEIRS), (OURS, None), (None, OURS)],
                         ids=["another key", "no key", "a key too many"])
def test_what_cannot_be_read_is_one_clear_problem(agent, buckets, places, wrote, key):
    live, folder = buckets[0], places("local")
    live.client.request("PUT", live.name, NAME, body=state(1, lineage()), headers=asked_with(wrote) if wrote else {})
    agent.backend("s3", "live", live.backend(), **(under(key) if key else {}))
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    problem = agent.problem(agent.sync(code=12), NAME)
    assert "sse_customer_key" in problem["hint"], problem
    assert folder.get(NAME) is None and agent.quarantine() == []
    assert agent.status()["verdict"] == "failing"
    agent.check_secrets([OURS, THEIRS])


@pytest.mark.parametrize("args,header,value", [
    ({"encrypt": True}, HEADER, "AES256"),
    ({"encrypt": True, "kms_key_id": "alias/tfstate"}, f"{HEADER}-aws-kms-key-id", "alias/tfstate"),
], ids=["AES256", "KMS"])
def test_encryption_is_asked_for(agent, buckets, places, args, header, value):
    live, dr = places("local"), buckets[0]
    live.add(agent, "live")
    agent.backend("s3", "dr", dr.backend(), **args)
    agent.replicate("out", "live", "dr")
    live.put(NAME, state(1, lineage()))
    agent.sync()
    _, body, headers = dr.client.request("GET", dr.name, NAME)
    assert body == live.get(NAME) and headers[header] == value
