# SPDX-License-Identifier: MIT
"""States that GitLab manages: the fake beside real terraform, and the agent beside both."""
import json
import socket
import threading

import pytest

import gitlab
from agent import eventually
from states import lineage, serial_of, state


@pytest.fixture
def project(gitlabs, terraform):
    server = gitlabs()
    tf = terraform("vpc", ("http", server.backend("vpc")))
    tf.init()
    return server, tf


# --- the fake, judged by terraform ------------------------------------------------------------------------------------


def test_terraform_on_the_fake(project, terraform, workdir):
    server, one = project
    one.apply(text="first")
    one.apply(text="second")
    assert one.unchanged() and one.pull()["serial"] == serial_of(server.body("vpc"))
    two = terraform("two", ("http", server.backend("vpc")))
    two.init()
    run = one.hold(workdir / "gate", text="held")
    held = server.locks()["vpc"]["ID"]
    refused = two.plan(ok=(1,))
    assert held in refused.out                              # the holder's
    two.call("force-unlock", "-force", "whatever")          # no body, no ID: it opens any lock
    assert server.locks() == {}
    one.release(workdir / "gate")
    failed = run.done()                                     # its own write and unlock are refused now
    assert failed.code == 1 and "409" in failed.out


def test_serials_ascend(project):
    """One that is lower is kept, and never shown; one that is stored already is refused."""
    server, tf = project
    tf.apply(text="first")
    doc = json.loads(server.body("vpc"))

    def push(serial, ok=(0,)):
        (tf.folder / "pushed.tfstate").write_text(json.dumps(doc | {"serial": serial}))
        return tf.call("state", "push", "-force", "pushed.tfstate", ok=ok).out

    push(50)                                                # terraform writes it with the next serial
    top = serial_of(server.body("vpc"))
    push(40)
    assert serial_of(server.body("vpc")) == top and server.serials("vpc")[-1] < top
    assert "422" in push(top - 1, ok=(1,))
    assert server.locks() == {}


# --- the agent --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", ["acme%2Fnet", gitlab.NUMBER])
def test_a_project_is_listed_page_by_page(agent, gitlabs, places, id_):
    server, folder = gitlabs(page=3, project=id_), places("local")
    lines = {f"s{i}": lineage() for i in range(7)}
    for name, line in lines.items():
        server.put(name, state(1, line))
    server.state("only-locked").lock = b'{"ID":"x"}'
    agent.backend("http", "live", server.backend("{name}"))
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    assert agent.edge(agent.sync(), "out")["written"] == 7
    before = len(server.requests())
    assert agent.edge(agent.sync(), "out")["unchanged"] == 7
    assert [e["target"] for e in server.requests()[before:]] == ["/api/graphql"] * 3
    server.put("s3", state(2, lines["s3"]))
    assert agent.edge(agent.sync(), "out")["written"] == 1
    assert folder.get("s3.tfstate") == server.body("s3")
    assert "locked" not in agent.states("live")["s3"]["flags"]
    server.state("s3").lock = b'{"ID":"x"}'
    agent.sync()
    assert "locked" in agent.states("live")["s3"]["flags"]


def test_the_token_of_a_job(agent, gitlabs, places):
    """Found by itself in the job's environment; it may not list, and that is said with the way out."""
    server, folder = gitlabs(user="", token=""), places("local")
    server.put("vpc", state(1, lineage()))
    agent.env |= {"CI_JOB_TOKEN": gitlab.JOB_TOKEN, "CI_API_V4_URL": f"http://127.0.0.1:{server.port}/api/v4"}
    agent.backend("http", "live", server.backend("{name}"))
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    told = agent.problem(agent.sync(code=12))
    assert "no such project" in told["message"] and "states =" in told["hint"]
    agent.forget("backend", "live")
    agent.backend("http", "live", server.backend("{name}"), states=["vpc"])
    agent.sync()
    assert folder.get("vpc.tfstate") == server.body("vpc")


@pytest.mark.parametrize("id_", ["acme%2Fother", "8"])
@pytest.mark.parametrize("how", ["listed", "named", "one", "job"])
def test_a_project_that_is_not_there_is_no_empty_one(agent, gitlabs, places, id_, how):
    """GitLab says 404 to it as to a state that is not there yet; terraform would begin with an empty state."""
    server = gitlabs(project=id_, **({"user": "gitlab-ci-token", "token": gitlab.JOB_TOKEN} if how == "job" else {}))
    server.put("vpc", state(1, lineage()))
    agent.backend("http", "live", server.backend("vpc" if how in ("one", "job") else "{name}"), **({"states": ["vpc"]} if how == "named" else {}))
    places("local").add(agent, "folder")
    agent.replicate("out", "live", "folder")
    told = agent.problem(agent.sync(code=12))
    assert "no such project" in told["message"] or "Project Not Found" in told["message"], told
    assert told["hint"]
    server.project = gitlab.NUMBER      # and one that is there has no such state yet
    agent.forget("backend", "live")
    agent.backend("http", "live", server.backend("other"))
    agent.sync()
    status = agent.call("status", code=(0, 3)).out
    assert "no state was seen yet" in status or "0 states, none was found" in status, status


def test_headers_instead_of_a_user(agent, gitlabs, places):
    server, folder = gitlabs(user="", token=""), places("local")
    server.put("vpc", state(1, lineage()))
    agent.backend("http", "live", server.backend("{name}"), headers={"PRIVATE-TOKEN": gitlab.TOKEN})
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")
    agent.sync()
    assert folder.get("vpc.tfstate") == server.body("vpc")


def target(agent, server, live, **more):
    live.add(agent, "live")
    agent.backend("http", "dr", server.backend("{name}"), lock_timeout="1s", **more)
    agent.replicate("out", "live", "dr", key="{path}")


def test_a_probe_leaves_no_row(agent, gitlabs):
    server = gitlabs()
    server.put("vpc", state(1, lineage()))
    agent.backend("http", "gl", server.backend("{name}"))
    checks = {c["name"]: c for c in agent.json("probe", "gl")["checks"]}
    assert checks["lock"]["ok"], checks
    assert set(server.states) == {"vpc"}


@pytest.mark.parametrize("what", ["lock", "write", "unlock"])
def test_a_lost_answer(agent, gitlabs, places, what):
    server, live = gitlabs(), places("local")
    target(agent, server, live)
    live.put("vpc.tfstate", state(1, lineage()))
    method, path = {"lock": ("POST", "*/lock"), "write": ("POST", "*/state/vpc"), "unlock": ("DELETE", "*/lock")}[what]
    server.rules.add(method, path, drop="after")
    agent.sync(code=None)
    eventually(lambda: agent.sync(code=None) and server.body("vpc") == live.get("vpc.tfstate") and server.locks() == {})
    assert [w[0] for w in server.state("vpc").writes] == [1]


def test_a_lower_serial_is_told(agent, gitlabs, places):
    """What a person decides to overwrite is taken by GitLab, and never shown."""
    server, live = gitlabs(), places("local")
    server.put("vpc", state(7, lineage()))
    target(agent, server, live)
    live.put("vpc.tfstate", state(3, lineage()))
    agent.sync(code=13)
    said = agent.call("resolve", "out", "live:vpc.tfstate", "--overwrite", "--yes", code=None)
    assert said.code != 0 and "highest serial" in said.err, said.err
    assert serial_of(server.body("vpc")) == 7 and server.locks() == {}


def test_a_lock_of_others(agent, gitlabs, places, terraform):
    server, live = gitlabs(), places("local")
    tf = terraform("vpc", ("http", server.backend("vpc")))
    tf.init()
    tf.apply()
    line = tf.pull()["lineage"]
    target(agent, server, live)
    live.put("vpc.tfstate", state(50, line))
    run = tf.asking(lambda: server.locks())
    held = server.locks()["vpc"]["ID"]
    told = agent.problem(agent.sync(code=11))
    assert held in told["message"] and gitlab.USER in told["message"]
    wrong = agent.call("unlock", "--yes", "dr:vpc", "wrong", code=13)
    assert f"by {gitlab.USER} since" in wrong.err
    agent.call("unlock", "--yes", "dr:vpc", held)
    assert server.locks() == {}
    assert "not locked" in agent.call("unlock", "--yes", "dr:vpc", held, code=1).err
    tf.refuse(run) if run.process.poll() is None else None
    agent.sync()
    assert server.body("vpc") == live.get("vpc.tfstate")


# --- a socket ---------------------------------------------------------------------------------------------------------


class Socket:
    """A Unix socket in front of a port."""

    def __init__(self, path, port):
        self.port, self.n = port, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.n += 1
            far = socket.create_connection(("127.0.0.1", self.port))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    @staticmethod
    def copy(a, b):
        try:
            while piece := a.recv(65536):
                b.sendall(piece)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_a_unix_socket(agent, http_states, places, workdir):
    server, live = http_states(), places("local")
    door = Socket(workdir / "s", server.port)
    args = {k: v.replace(f"127.0.0.1:{server.port}", "states.internal") for k, v in server.backend("vpc").items()}
    live.add(agent, "live")
    agent.backend("http", "dr", args, unix_socket=str(workdir / "s"))
    agent.replicate("out", "live", "dr")
    live.put("vpc.tfstate", state(1, lineage()))
    agent.sync()
    assert server.body("vpc") == live.get("vpc.tfstate") and server.locks() == {} and door.n > 0
    door.listener.close()
    (workdir / "s").unlink()
    assert f"unix:{workdir}/s" in agent.problem(agent.sync(code=1))["message"]
