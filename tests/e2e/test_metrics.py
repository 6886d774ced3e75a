# SPDX-License-Identifier: MIT
"""/metrics as Prometheus' own parser reads it."""
import http.client
import json
import socket
import subprocess

import install
from agent import eventually
from conftest import need
from states import lineage, state

PARSE = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families
print(json.dumps([[f.name, f.type, f.documentation, [[s.name, s.labels, s.value] for s in f.samples]]
                  for f in text_string_to_metric_families(sys.stdin.read())]))
"""
SOLE = {"stateferry_states", "stateferry_states_uncovered", "stateferry_store_bytes", "stateferry_loop_delay_seconds"}
LABELS = {
    "stateferry_replica_status": {"edge", "status"},
    "stateferry_replica_lag_seconds": {"edge", "quantile"},
    "stateferry_last_success_timestamp_seconds": {"edge"},
    "stateferry_requests": {"backend", "operation", "result"},
    "stateferry_backend_requests": {"backend"},
    "stateferry_versions": {"verdict"},
}


class SocketConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(agent, path):
    """Status, type and text of a GET over the agent's socket."""
    c = SocketConnection(agent.folder / "store" / "agent.sock")
    c.request("GET", path)
    r = c.getresponse()
    try:
        return r.status, r.headers["Content-Type"], r.read().decode()
    finally:
        c.close()


class Metrics:
    """What the parser made of it; every line that is no comment must have become a sample."""

    def __init__(self, agent):
        status, kind, text = ask(agent, "/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        python = need("prometheus", lambda: install.find("prometheus"))
        done = subprocess.run([python, "-c", PARSE], input=text, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        self.families = {name: (kind, samples) for name, kind, _, samples in json.loads(done.stdout)}
        assert all(doc for _, _, doc, _ in json.loads(done.stdout)), "a family without help"
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert len(lines) == len(set(line.rpartition(" ")[0] for line in lines)), "a series comes twice"
        assert len(lines) == sum(len(samples) for _, samples in self.families.values())

    def value(self, name, **labels):
        found = [v for _, samples in self.families.values() for n, had, v in samples if n == name and had == labels]
        assert len(found) == 1, f"{name} {labels}: {found}"
        return found[0]


def is_a_histogram(m, backend, operation):
    _, samples = m.families["stateferry_request_seconds"]
    mine = [(n, had, v) for n, had, v in samples if (had["backend"], had["operation"]) == (backend, operation)]
    buckets = [(float(had["le"]), v) for n, had, v in mine if n.endswith("_bucket")]
    assert buckets == sorted(buckets) and [v for _, v in buckets] == sorted(v for _, v in buckets)
    count = next(v for n, _, v in mine if n.endswith("_count"))
    assert buckets[-1] == (float("inf"), count)
    assert sum(n.endswith("_sum") for n, _, _ in mine) == 1


def test_metrics_are_read_by_prometheus(agent, places):
    live, dr = places("local"), places("local")
    live.add(agent, "live")
    dr.add(agent, "dr")
    agent.replicate('an "edge" with \\ in it', "live", "dr")
    line = lineage()
    live.put("a.tfstate", state(1, line))
    agent.start()
    eventually(lambda: dr.get("a.tfstate") == live.get("a.tfstate"))
    agent.replica_is("current", "live", "a.tfstate", "dr")
    m = Metrics(agent)
    edge = 'an "edge" with \\ in it'
    assert m.value("stateferry_states") == 1
    assert m.value("stateferry_replica_status", edge=edge, status="current") == 1
    assert m.value("stateferry_replica_status", edge=edge, status="failed") == 0
    assert m.value("stateferry_replica_lag_seconds", edge=edge, quantile="1") == 0
    assert m.value("stateferry_last_success_timestamp_seconds", edge=edge) > 1.7e9
    assert m.value("stateferry_requests_total", backend="dr", operation="write", result="ok") == 1
    assert m.value("stateferry_requests_total", backend="dr", operation="lock", result="ok") == 1
    assert m.value("stateferry_requests_total", backend="live", operation="list", result="ok") >= 1
    assert m.value("stateferry_versions_total", verdict="first") >= 1
    assert m.value("stateferry_store_bytes") > 0
    is_a_histogram(m, "dr", "write")
    is_a_histogram(m, "live", "list")
    for name, labels in LABELS.items():
        assert all(set(had) == labels for _, had, _ in m.families[name][1]), name
    assert all(m.families[name][1][0][1] == {} for name in SOLE)
    writes = m.value("stateferry_requests_total", backend="dr", operation="write", result="ok")
    agent.reload()
    eventually(lambda: "the new configuration is in use" in agent.said())
    assert Metrics(agent).value("stateferry_requests_total", backend="dr", operation="write", result="ok") >= writes
    agent.stop()
