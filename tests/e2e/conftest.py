# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests. What a machine lacks is skipped by name, or fails with
STATEFERRY_REQUIRE_SERVERS=1; the stateferry program itself ($STATEFERRY, else build/stateferry) must be there."""
import itertools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "servers")]

import install  # noqa: E402
from agent import SLOW, Agent  # noqa: E402
from brainboard import Brainboard  # noqa: E402
from fault_proxy import FaultProxy  # noqa: E402
from forward_proxy import TlsInside  # noqa: E402
from gitlab import JOB_TOKEN, TOKEN as GITLAB_TOKEN, GitLab  # noqa: E402
from harness import TOKEN as HARNESS_TOKEN, Harness  # noqa: E402
from hcl import Verbatim, value  # noqa: E402
from http_state import HttpState  # noqa: E402
from places import (AzurePlace, BrainboardPlace, CloudPlace, GcsPlace, GitLabPlace, HarnessPlace, HttpPlace, LocalPlace,  # noqa: E402
                    RemotePlace, S3Place, TablePlace)
from project import Project  # noqa: E402
from servers import Azurite, Certificates, Dynalite, FakeGcs, Ministack, Moto, S3Server, Versitygw, die_with_parent  # noqa: E402
from states import CANARY  # noqa: E402
from tfe import TFE_TOKEN, Tfe  # noqa: E402
from tfe_versions import TFE_LINK  # noqa: E402

DEADLINE = 60
EXAMPLES = HERE.parent.parent / "conf" / "examples"
HTTP_PASSWORD = "http-passw0rd-7f3a"
missing = {}


def pytest_configure(config):
    config.addinivalue_line("markers", f"deadline(seconds): how long the test may take ({DEADLINE} s)")


def pytest_collection_modifyitems(items):
    """Scenarios that are known to fail are skipped by name and with their reason, never silently; KNOWN_GAPS=1 runs them."""
    path = HERE / "known_gaps.txt"
    if os.environ.get("KNOWN_GAPS") == "1" or not path.exists():
        return
    gaps = dict(line.split(None, 1) for line in path.read_text().splitlines() if line.strip() and line[0] != "#")
    for item in items:
        name = item.nodeid.split("/")[-1].replace(" ", "_")
        for known, why in gaps.items():
            if name == known or name.split("[")[0] == known:
                item.add_marker(pytest.mark.skip(reason=f"known gap: {why}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Every test has a deadline; SIGALRM reaches it wherever it waits."""
    mark = item.get_closest_marker("deadline")
    seconds = (mark.args[0] if mark else DEADLINE) * SLOW

    def late(*_):
        pytest.fail(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.failed = True
    return report


def pytest_terminal_summary(terminalreporter):
    """The tables that tests have filled: see cell()."""
    tables = {}
    for how in ("passed", "failed"):
        for report in terminalreporter.stats.get(how, []):
            for table, row, column, text in (v for k, v in report.user_properties if k == "cell"):
                tables.setdefault(table, {})[row, column] = text if how == "passed" else "FAILED"
    for table, cells in tables.items():
        rows, columns = (list(dict.fromkeys(key[i] for key in cells)) for i in (0, 1))
        wide = 2 + max(map(len, [table, *rows]))
        terminalreporter.write_line(f"{table:{wide}}" + "".join(f"{c:12}" for c in columns))
        for row in rows:
            terminalreporter.write_line(f"{row:{wide}}" + "".join(f"{cells.get((row, c), ''):12}" for c in columns))


def need(what, make):
    """make(), or the test is skipped (or fails) because something is not on this machine."""
    if what not in missing:
        try:
            return make()
        except install.Missing as e:
            missing[what] = str(e)
    text = f"{what} is missing: {missing[what]}"
    if os.environ.get("STATEFERRY_REQUIRE_SERVERS") == "1":
        pytest.fail(text)
    pytest.skip(text)


def need_tool(name):
    """A command of the machine."""
    def find():
        if not shutil.which(name):
            raise install.Missing("no such command")
        return name
    return need(name, find)


@pytest.fixture
def cell(record_property):
    """cell(table, row, column, text): what stands there in a table at the end of the run if this test passes."""
    return lambda *what: record_property("cell", what)


@pytest.fixture
def workdir(request):
    """A short path (sockets live below it); kept when the test failed."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="ferry-e2e-"))
    yield path
    if getattr(request.node, "failed", False):
        print(f"kept for a look: {path}", file=sys.stderr)
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def _session():
    """Servers that several tests share: started once, each test has its own buckets."""
    top = pathlib.Path(tempfile.mkdtemp(prefix="ferry-e2e-"))
    running = {}

    def get(cls):
        if cls not in running:
            running[cls] = need(cls.name, lambda: cls(top / cls.__name__).start())
        return running[cls]

    yield get
    for server in running.values():
        server.kill()
    shutil.rmtree(top, ignore_errors=True)


_buckets = itertools.count(1)


class Bucket:
    """One new bucket of an S3 server, and what tests do with it."""

    def __init__(self, server, versioning=False, create=True):
        self.server, self.name = server, f"bucket-{next(_buckets)}"
        self.client = server.client()
        if create:
            self.client.create_bucket(self.name, versioning)

    def backend(self, key=None, **more):
        return self.server.backend(self.name, key, **more)

    def put(self, key, body, **headers):
        return self.client.put(self.name, key, body, **headers)

    def get(self, key):
        return self.client.get(self.name, key)

    def delete(self, key):
        self.client.delete(self.name, key)

    def keys(self, prefix=""):
        return self.client.keys(self.name, prefix)

    def locks(self):
        return [k for k in self.keys() if k.endswith(".tflock")]


@pytest.fixture
def bucket(_session):
    """A new bucket on versitygw."""
    return Bucket(_session(Versitygw))


@pytest.fixture
def make_bucket(_session):
    def make(cls=Versitygw, **kw):
        return Bucket(_session(cls), **kw)
    return make


@pytest.fixture
def own_versitygw(workdir):
    """A versitygw for this test alone: it may be stopped and killed."""
    server = need("versitygw", lambda: Versitygw(workdir / "versitygw").start())
    yield server
    server.stop()


@pytest.fixture
def proxy():
    """proxy(server): a fault proxy in front of it."""
    made = []

    def make(server):
        made.append(FaultProxy(server.port).start())
        return made[-1]

    yield make
    for p in made:
        p.stop()


def strict(workdir, cls, name, **usual):
    """A maker of servers of that class; in the end each must have met only requests it knows."""
    made = []

    def make(**kw):
        made.append(cls(journal=workdir / f"{name}-{len(made)}.jsonl", **usual | kw).start())
        return made[-1]

    yield make
    for server in made:
        server.stop()
    for server in made:
        server.check()


@pytest.fixture
def http_states(workdir):
    """http_states(...): state servers of terraform's HTTP protocol."""
    yield from strict(workdir, HttpState, "http", user="ferry", password=HTTP_PASSWORD, etag=True)


@pytest.fixture
def http_state(http_states):
    return http_states()


@pytest.fixture
def gitlabs(workdir):
    """gitlabs(...): projects of GitLab."""
    yield from strict(workdir, GitLab, "gitlab")


@pytest.fixture
def harnesses(workdir):
    """harnesses(...): projects of Harness."""
    yield from strict(workdir, Harness, "harness")


@pytest.fixture
def tfes(workdir):
    """tfes(...): fakes of HCP Terraform."""
    yield from strict(workdir, Tfe, "tfe")


@pytest.fixture
def brainboards(workdir):
    """brainboards(): Brainboard's API."""
    yield from strict(workdir, Brainboard, "brainboard")


@pytest.fixture
def brainboard(brainboards):
    return brainboards()


@pytest.fixture
def tfe(tfes):
    return tfes()


@pytest.fixture
def places(workdir, request):
    """places(kind): a new, empty place for states, one of PLACES."""
    made = itertools.count()

    def make(kind, **kw):
        if kind == "s3":
            bucket = request.getfixturevalue("make_bucket")(**kw)
            return S3Place(bucket, request.getfixturevalue("proxy")(bucket.server))
        if kind == "s3-table":
            bucket = request.getfixturevalue("make_bucket")(**kw)
            return TablePlace(bucket, request.getfixturevalue("proxy")(bucket.server), request.getfixturevalue("_session")(Dynalite))
        if kind == "gcs":
            server = request.getfixturevalue("_session")(kw.pop("cls", FakeGcs))
            return GcsPlace(server, f"bucket-{next(_buckets)}", request.getfixturevalue("proxy")(server), **kw)
        if kind == "azurerm":
            server = request.getfixturevalue("_session")(Azurite)
            return AzurePlace(server, f"bucket-{next(_buckets)}", request.getfixturevalue("proxy")(server),
                              lambda: request.getfixturevalue("azure_names"))
        if kind == "gitlab":
            return GitLabPlace(request.getfixturevalue("gitlabs")(**kw))
        if kind == "harness":
            return HarnessPlace(request.getfixturevalue("harnesses")(**kw))
        if kind == "remote":
            return RemotePlace(request.getfixturevalue("tfes")(**kw))
        if kind == "cloud":
            return CloudPlace(request.getfixturevalue("tfes")(**kw))
        if kind.startswith("brainboard-"):
            return BrainboardPlace(request.getfixturevalue("brainboard"), make(kind.removeprefix("brainboard-"), **kw))
        if kind == "http":
            return HttpPlace(request.getfixturevalue("http_states")(**kw))
        return LocalPlace(workdir / f"place-{next(made)}")

    return make


@pytest.fixture
def certificates(workdir):
    return need("openssl", lambda: Certificates(workdir / "certificates"))


@pytest.fixture
def azure_names(_session, certificates):
    """The environment in which azurite has the names of Azure, by TLS."""
    with TlsInside(certificates, _session(Azurite).port) as proxy:
        ca = str(certificates.folder / "ca.pem")
        yield {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": ca, "CURL_CA_BUNDLE": ca}


@pytest.fixture
def terraform(workdir):
    """terraform(name, backend): a project on that backend."""
    yield from projects(workdir, need("terraform", lambda: install.find("terraform")))


@pytest.fixture
def tofu(workdir):
    """The same for OpenTofu, where somebody had it built."""
    try:
        program = install.tofu_if_there()
    except install.Missing as e:
        pytest.skip(f"OpenTofu is missing: {e}")
    yield from projects(workdir, program)


def projects(workdir, program):
    made = []

    def make(name, backend, **kw):
        made.append(Project(program, workdir / name, backend, **kw))
        return made[-1]

    yield make
    for project in made:
        project.end()


@pytest.fixture
def preload(workdir):
    """preload(name): the environment that loads preload/NAME.c into a program."""
    def make(name):
        library = workdir / f"{name}.so"
        need("cc", lambda: install.call([os.environ.get("CC", "cc").split()[-1], "-shared", "-fPIC", "-O1", "-o",
                                         library, HERE / "preload" / f"{name}.c"]))
        return {"LD_PRELOAD": str(library),
                "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
    return make


class SmallDisk:
    """A file system of a few megabytes that only programs started with `prefix` see."""

    def __init__(self, folder, size):
        self.folder = folder
        folder.mkdir()
        user = [] if os.geteuid() == 0 else ["-r"]
        script = f"mount -t tmpfs -o size={size} tmpfs {folder} && echo mounted && exec sleep infinity"
        self.holder = subprocess.Popen(["unshare", "-m", *user, "sh", "-c", script], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        if self.holder.stdout.readline() != b"mounted\n":
            raise install.Missing(f"unshare and mount: {self.holder.stderr.read().decode().strip()}")
        self.prefix = ["nsenter", "-t", str(self.holder.pid), "-m",
                       *(["-U", "--preserve-credentials"] if user else []), "--"]

    def shell(self, script):
        return subprocess.run([*self.prefix, "sh", "-c", script], capture_output=True, check=False)

    def fill(self):
        self.shell(f"dd if=/dev/zero of={self.folder}/filler bs=4k")

    def empty(self):
        self.shell(f"rm {self.folder}/filler")

    def end(self):
        self.holder.kill()
        self.holder.wait()


@pytest.fixture
def small_disk(workdir):
    disk = need("a private mount", lambda: SmallDisk(workdir / "disk", "24m"))
    yield disk
    disk.end()


@pytest.fixture
def agents(workdir):
    """agents(name): stateferry with a store of its own. Its program must exist."""
    program = pathlib.Path(os.environ.get("STATEFERRY") or HERE.parent.parent / "build" / "stateferry").resolve()
    if not os.access(program, os.X_OK):
        pytest.fail(f"{program} is missing: build it, or name it in $STATEFERRY", pytrace=False)
    made = []

    def make(name="agent", **kw):
        made.append(Agent(program, workdir, name, **kw))
        return made[-1]

    yield make
    for agent in made:
        agent.end()
    for agent in made:
        agent.check_sanitizers()
        agent.check_secrets([S3Server.secret_key, HTTP_PASSWORD, FakeGcs.token, Azurite.key, Brainboard.token, CANARY, HARNESS_TOKEN,
                             TFE_TOKEN, TFE_LINK, GITLAB_TOKEN, JOB_TOKEN])


@pytest.fixture
def agent(agents):
    return agents()


@pytest.fixture
def example(agent):
    """example(name, {what stands there: what instead}, {label: arguments beside}): the agent has that file of conf/examples."""
    def make(name, swap, beside=None):
        text = (EXAMPLES / name).read_text()
        for old, new in ({"/var/lib/stateferry": agent.folder / "store"} | swap).items():
            assert old in text, f"{name} has no {old}"
            text = text.replace(old, str(new))
        for label, args in (beside or {}).items():
            head = re.search(rf'^backend "\w+" "{label}" {{\n', text, re.M)
            text = text[:head.end()] + "".join(f"  {k} = {value(v)}\n" for k, v in args.items()) + text[head.end():]
        agent.blocks = [Verbatim(text)]
        return agent
    return make


KINDS = ["s3", "http", "local"]
PLACES = ["local", "http", "s3", "s3-table", "gcs", "azurerm"]
PLATFORMS = ["harness", "gitlab", "remote"]  # whose names are words, of what people made before
BARE = [*PLATFORMS, "http"]             # whose names need no end
BRAINBOARD = ["brainboard-s3", "brainboard-azurerm"]    # whose names are UUIDs
ALL_S3 = [pytest.param(c, id=c.name) for c in (Versitygw, Ministack, Moto)]
