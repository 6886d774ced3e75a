# SPDX-License-Identifier: MIT
"""stateferry init as a stranger comes to it: projects of real terraform in a folder, what is printed, checked, and run as it stands."""
import json
import os
import pathlib
import subprocess

import install
import pytest
from conftest import need
from hcl import Verbatim, quote, value
from servers import Azurite, FakeGcs, S3Server
from states import CANARY, lineage, state

PASSWORD = "canary-in-a-block-91"
NEEDED = "# From the environment, which the agent needs too: "


@pytest.fixture
def init(workdir, agents):
    """init(folder): an agent with the configuration that is printed for it, after terraform fmt had nothing to change. It passes config
    check with those variables alone that the comments name."""
    terraform = need("terraform", lambda: install.find("terraform"))

    def make(folder, code=0, secrets=(), name="agent", **kw):
        agent = agents(name, **kw)
        said = agent.call("init", folder, code=code)
        for secret in (S3Server.secret_key, S3Server.access_key, Azurite.key, FakeGcs.token, PASSWORD, *secrets):
            assert secret not in said.out + said.err, said.out
        done = subprocess.run([terraform, "fmt", "-check", "-diff", "-"], input=said.out, text=True, capture_output=True, cwd=workdir,
                              env={"HOME": str(workdir), "PATH": os.environ["PATH"]}, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        agent.blocks = agent.blocks[:1] + [Verbatim(said.out)]
        agent.printed, agent.unread = said.out, said.err
        told = [name for line in said.out.splitlines() if line.startswith(NEEDED) for name in line[len(NEEDED):].split(", ")]
        whole, agent.env = agent.env, {k: v for k, v in agent.env.items() if k in told or k not in (kw.get("env") or {})}
        agent.call("config", "check")
        agent.env = whole
        return agent

    return make


def copies(agent):
    """What the first target holds after a pass, by label and name."""
    folder = agent.folder / "copies"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.tfstate")}


def labels(agent):
    return [line.split('"')[3] for line in agent.printed.splitlines() if line.startswith("backend ")]


def workspace(project, name):
    """Another workspace with a state of its own."""
    project.call("workspace", "new", name)
    project.apply(items=2)


def test_every_root_is_found_and_copied(workdir, places, terraform, init):
    """Two roots and a workspace in each kind of store, as a repository has them; states without a backend beside them."""
    infra, want, env = workdir / "infra", [], {}
    for kind in ("s3", "gcs", "azurerm"):
        place = places(kind)
        env |= getattr(place, "env", {})
        for root in ("vpc", "eks"):
            project = terraform(f"infra/{kind}/{root}", place.terraform(f"prod/{root}/default.tfstate"), env=env)
            project.init()
            project.apply()
            want.append((place, f"prod/{root}/default.tfstate"))
        workspace(project, "blue")
        want.append((place, {"s3": "env:/blue/prod/eks/default.tfstate", "gcs": "prod/eks/blue.tfstate",
                             "azurerm": "prod/eks/default.tfstateenv:blue"}[kind]))
    place = places("http")
    project = terraform("infra/gitlab", place.terraform("net"))
    project.init()
    project.apply()
    want.append((place, "net"))
    plain = terraform("infra/plain", ("local", {}))
    (plain.folder / "backend.tf").unlink()
    plain.init()
    plain.apply()
    workspace(plain, "green")
    agent = init(infra, env=env)
    assert labels(agent)[-1] == "copies" and len(labels(agent)) == 6, agent.printed
    assert "env:/*/prod/**" in agent.printed and '"blue"' not in agent.printed and "workspace blue" in agent.printed
    agent.sync()
    bodies = [place.get(name) for place, name in want]
    bodies += [(plain.folder / f).read_bytes() for f in ("terraform.tfstate", "terraform.tfstate.d/green/terraform.tfstate")]
    assert None not in bodies and sorted(copies(agent).values()) == sorted(bodies), sorted(copies(agent))
    assert agent.json("status")["verdict"] == "ok"
    again = agent.json("init", agent.folder, code=1)
    assert "found no state of terraform's" in again["error"]["message"], "our own copies are nobody's project"


@pytest.mark.parametrize("kind", ["s3", "gcs", "azurerm"])
def test_a_repository_that_was_never_initialised(kind, workdir, places, init):
    """One root whose values lie in a file for each stage: each is a state, and credentials stay in these files."""
    place, folder, line = places(kind), workdir / "infra/app", lineage()
    folder.mkdir(parents=True)
    (folder / "main.tf").write_text(f'terraform {{\n  backend "{kind}" {{}}\n}}\n\nlocals {{\n  x = [for s in var.y : s]\n}}\n')
    for serial, stage in enumerate(("dev", "prod"), 1):
        name = f"app/{stage}/default.tfstate"
        args = place.terraform(name)[1]
        (folder / f"{stage}.tfbackend.json").write_text(json.dumps(args))
        place.put(name, state(serial, line))
    agent = init(workdir / "infra", env=getattr(place, "env", None))
    assert len(labels(agent)) == 2, agent.printed
    assert "from_file" in agent.printed and agent.unread == ""
    agent.sync()
    assert sorted(copies(agent).values()) == [state(1, line), state(2, line)]


def test_what_was_recorded_comes_before_the_block(workdir, places, terraform, init):
    """KEY=VALUE of the command line is known from there alone."""
    place = places("s3")
    kind, args = place.terraform("app/default.tfstate")
    project = terraform("infra/app", (kind, {}))
    project.init(*[f"-backend-config={k}={json.dumps(v) if not isinstance(v, str) else v}" for k, v in args.items() if k != "endpoints"],
                 f'-backend-config=endpoints={{s3="{args["endpoints"]["s3"]}"}}')
    project.apply()
    agent = init(workdir / "infra")
    assert ".terraform/terraform.tfstate" in agent.printed
    agent.sync()
    assert list(copies(agent).values()) == [place.get("app/default.tfstate")]


def test_a_bucket_of_terragrunt(workdir, places, terraform, init):
    """Its root file names the bucket and a function the key: one block for the bucket, units that were run and those that were not."""
    place, line = places("s3"), lineage()
    kind, args = place.terraform("live/vpc/default.tfstate")
    project = terraform("infra/live/vpc", (kind, args))
    project.init()
    project.apply()
    place.put("live/eks/default.tfstate", state(7, line))
    config = "".join(f"    {k} = {value(v)}\n" for k, v in args.items() if k != "key")
    (workdir / "infra/root.hcl").write_text(f'remote_state {{\n  backend = "s3"\n  generate = {{\n    path      = "backend.tf"\n    if_exists = "overwrite"\n'
                                            f'  }}\n  config = {{\n{config}    key = "${{path_relative_to_include()}}/default.tfstate"\n'
                                            f'    skip_bucket_versioning = true\n  }}\n}}\n')
    agent = init(workdir / "infra")
    assert len(labels(agent)) == 2 and "All states of the bucket" in agent.printed, agent.printed
    agent.sync()
    assert sorted(copies(agent).values()) == sorted([place.get("live/vpc/default.tfstate"), state(7, line)])


def block(label, text):
    """The lines of that backend, with the comments above."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("backend ") and f'"{label}" {{' in line)
    first = max(i for i in range(at) if lines[i] == "") + 1
    return "\n".join(lines[first:lines.index("}", at) + 1])


def test_no_state_is_in_two_blocks(workdir, places, init):
    """A bucket of terragrunt, in which another root keeps its own with arguments of its own: each state is found and copied once."""
    place, line = places("s3"), lineage()
    kind, args = place.terraform("boot/default.tfstate")
    (workdir / "infra/boot").mkdir(parents=True)
    config = "".join(f"    {k} = {value(v)}\n" for k, v in args.items() if k != "key")
    (workdir / "infra/root.hcl").write_text(f'remote_state {{\n  backend = "{kind}"\n  config = {{\n{config}    key = "${{x}}"\n  }}\n}}\n')
    (workdir / "infra/boot/x.tf").write_text(f'terraform {{\n  backend "{kind}" {{\n{config}    key = "boot/default.tfstate"\n'
                                             f'    encrypt = true\n  }}\n}}\n')
    names = ("live/default.tfstate", "boot/default.tfstate", "env:/blue/boot/default.tfstate", "env:/blue/live/default.tfstate")
    for serial, name in enumerate(names, 1):
        place.put(name, state(serial, line))
    agent = init(workdir / "infra")
    assert len(labels(agent)) == 3 and agent.printed.count("exclude") == 1, agent.printed
    agent.sync()
    assert sorted(copies(agent).values()) == sorted(place.get(name) for name in names), copies(agent)


@pytest.mark.parametrize("kind", ["gitlab", "harness"])
def test_a_project_of_a_platform(kind, workdir, places, terraform, init):
    """Two roots of one GitLab project are one block; those of Harness are known by their addresses. The token comes by a variable, as in
    a pipeline."""
    place, want = places(kind), []
    env = dict(getattr(place, "env", {}))
    if kind == "harness":
        place.prepare("net", "app")
    for name in ("net", "app"):
        what, args = place.terraform(name)
        env |= {"TF_HTTP_PASSWORD": args.pop("password")} if "password" in args else {}
        project = terraform(f"infra/{name}", (what, args), env=env)
        project.init()
        project.apply()
        want.append(name)
    agent = init(workdir / "infra", secrets=list(env.values()), env=env)
    assert len(labels(agent)) == (2 if kind == "gitlab" else 3) and "TF_HTTP_PASSWORD" in agent.printed, agent.printed
    assert 'backend "harness" "net"' in agent.printed if kind == "harness" else 'states         = ["app", "net"]' in agent.printed
    agent.sync()
    assert sorted(copies(agent).values()) == sorted(place.get(name) for name in want)


@pytest.mark.parametrize("kind", ["cloud", "remote"])
def test_workspaces_of_an_organization(kind, workdir, tfe, terraform, init):
    """Two roots of one organization are one block; the token stays in the CLI configuration, where TF_CLI_CONFIG_FILE says."""
    for name in ("net", "app"):
        project = terraform(f"infra/{name}", tfe.backend(kind, "tfe.test", token=False, name=name), cli=tfe.cli_config("tfe.test"))
        project.init()
        project.apply()
    tfe.put("other", state(1, lineage()))
    agent = init(workdir / "infra", secrets=[tfe.token], env={"TF_CLI_CONFIG_FILE": str(workdir / "infra/net/terraformrc")})
    assert labels(agent) == ["acme", "copies"] and 'include      = ["app", "net"]' in agent.printed, agent.printed
    agent.sync()
    assert sorted(copies(agent).values()) == sorted([tfe.body("net"), tfe.body("app")])


WRONG = {
    "expression": ('terraform {\n  backend "s3" {\n    bucket = var.bucket\n  }\n}\n', "a reference to var.* is not supported"),
    "unknown": (f'terraform {{\n  backend "s3" {{\n    bukket = "{PASSWORD}"\n  }}\n}}\n', 'did you mean "bucket"'),
    "kind": ('terraform {\n  backend "consul" {\n    path = "x"\n  }\n}\n', '"consul" is not one that this version knows'),
    "partial": ('terraform {\n  backend "s3" {}\n}\n', 'expected the argument "bucket"'),
    "open": (f'terraform {{\n  backend "s3" {{\n    secret_key = "{PASSWORD}', "never closed"),
    "twice": ('terraform {\n  backend "s3" {}\n  backend "gcs" {}\n}\n', "expected one backend block"),
    "binary": ('terraform {\n  backend "s3" {\n    bucket = "\x01\x02"\n  }\n}\n', "UTF-8"),
}


def test_wrong_input_is_told_and_the_rest_is_printed(workdir, init):
    """One sentence for each, with its file, on stderr and in a comment; no credential in either."""
    infra = workdir / "infra"
    for name, (text, _) in WRONG.items():
        (infra / name).mkdir(parents=True)
        (infra / name / "backend.tf").write_text(text)
        (infra / name / "terraform.tfstate").write_text("{}")
    (infra / "good").mkdir()
    (infra / "good/backend.tf").write_text('terraform {\n  backend "s3" {\n    bucket = "acme"\n    key    = "k"\n    region = "eu-west-1"\n  }\n}\n')
    agent = init(infra, code=3)
    assert labels(agent) == ["acme", "copies"]
    for name, (_, why) in WRONG.items():
        said = [line for line in agent.unread.splitlines() if f"/{name}/backend.tf" in line]
        assert len(said) == 1 and why in said[0], agent.unread
        assert any(line.startswith(f"# {name}/backend.tf") and why in line for line in agent.printed.splitlines()), agent.printed


def test_what_a_platform_could_do_is_told(workdir, init):
    """Addresses of GitLab, Gitea and Harness without credentials: what is missing, and which block would find more."""
    infra = workdir / "infra"
    base = {"gitlab": "https://gitlab.example/api/v4/projects/7/terraform/state/net", "gitea": "https://git.example/api/packages/acme/terraform/state/app",
            "harness": "https://app.harness.io/gateway/iacm/api/orgs/o/projects/p/workspaces/w/terraform-backend?accountIdentifier=a",
            "odd": "https://app.harness.io/gateway/iacm/api/orgs/o/projects/p/workspaces/v/terraform-backend?accountIdentifier=a&x=1",
            "other": "https://host.example/terraform/state/x"}
    for name, address in base.items():
        (infra / name).mkdir(parents=True)
        (infra / name / "x.tf").write_text(f'terraform {{\n  backend "http" {{\n    address = "{address}"\n  }}\n}}\n')
    agent = init(infra)
    said = {label: block(label, agent.printed) for label in labels(agent)}
    assert "GitLab lists its states: with {name} in the place of net in the addresses" in said["net"]
    assert "Gitea and Forgejo keep several: with {name} in the place of app" in said["app"] and "states = [" in said["app"]
    assert 'backend "harness" "w"' in said["w"] and "It wants a token: HARNESS_PLATFORM_API_KEY" in said["w"]
    assert 'backend "http" "v"' in said["v"] and 'no backend "harness" because' in said["v"] and "is not that of a Harness workspace" in said["v"]
    assert all("wants credentials" in said[label] for label in ("net", "app", "v")) and "wants" not in said["x"]
    agent = init(infra, name="other", env={"HARNESS_PLATFORM_API_KEY": PASSWORD, "TF_HTTP_PASSWORD": PASSWORD, "TF_HTTP_USERNAME": "ann"})
    said = {label: block(label, agent.printed) for label in labels(agent)}
    assert 'backend "harness" "w"' in said["w"] and "wants a token" not in said["w"] and f"{NEEDED}HARNESS_PLATFORM_API_KEY" in said["w"]
    assert "wants credentials" not in agent.printed


def test_names_that_would_break_out(workdir, init):
    """Folders, keys and addresses with quotes, newlines and templates; credentials in a URL and beside a role."""
    infra = workdir / "infra"
    odd = {'a "quoted" one': ("s3", {"bucket": "b-1", "key": 'q"u/${x}.tfstate', "region": "x"}),
           "two\nlines = 1": ("s3", {"bucket": "b-2", "key": "k%{if}", "region": "x", "secret_key": PASSWORD, "access_key": "AKIA"}),
           "}\nbackend": ("local", {"path": "odd\\name\n.tfstate"}),
           "url": ("http", {"address": f"https://me:{PASSWORD}@host.example/state/a%20b?token={PASSWORD}"}),
           "header": ("gcs", {"bucket": "b-3", "credentials": json.dumps({"type": "authorized_user", "client_id": "x", "client_secret": PASSWORD, "refresh_token": PASSWORD})}),
           "copies": ("s3", {"bucket": "copies", "key": "k", "region": "x"}),
           "ünï/ü": ("azurerm", {"storage_account_name": "acme", "container_name": "tfs", "key": "ä.tfstate", "sas_token": f"sig={PASSWORD}"})}
    for name, (kind, args) in odd.items():
        (infra / name).mkdir(parents=True)
        body = "".join(f"    {k} = {quote(v)}\n" for k, v in args.items())
        (infra / name / "backend.tf").write_text(f'terraform {{\n  backend "{kind}" {{\n{body}  }}\n}}\n')
    (infra / "role").mkdir()
    (infra / "role/backend.tf").write_text('terraform {\n  backend "s3" {\n    bucket = "b-4"\n    key = "k"\n    region = "x"\n    assume_role = {\n'
                                           '      role_arn = "arn:aws:iam::123456789012:role/x"\n    }\n  }\n}\n')
    agent = init(infra, code=(0, 3))
    assert agent.unread == "" and len(labels(agent)) == len(odd) + 2, agent.unread + agent.printed
    assert len(set(labels(agent))) == len(labels(agent))
    assert "arn:aws:iam::123456789012:role/x" in agent.printed and "AKIA" not in agent.printed
    doc = agent.json("init", infra)
    assert len(doc["backends"]) == len(odd) + 1 and doc["configuration"] == agent.printed and doc["unread"] == []
    assert PASSWORD not in json.dumps(doc)


def test_one_block_for_each_bucket(workdir, init):
    """States that differ in their names share a block; another region, a key that no listing finds, and credentials do not."""
    infra = workdir / "infra"

    def root(name, **args):
        (infra / name).mkdir(parents=True)
        body = "".join(f"    {k} = {quote(v)}\n" for k, v in args.items())
        (infra / name / "x.tf").write_text(f'terraform {{\n  backend "{"gcs" if "prefix" in args else "s3"}" {{\n{body}  }}\n}}\n')

    for key in ("prod/a/x.tfstate", "prod/b/x.tfstate", "prod/b/y.tfstate"):
        root(key, bucket="shared", key=key, region="x")
    root("state", bucket="shared", key="prod/state", region="x")
    root("us", bucket="shared", key="prod/us.tfstate", region="us-east-1")
    root("own", bucket="other", key="a/x.tfstate", region="x", workspace_key_prefix="a/ws")
    root("own2", bucket="other", key="a/y.tfstate", region="x", workspace_key_prefix="a/ws")
    root("wide", bucket="wide", key="x.tfstate", region="x")
    root("wide2", bucket="wide", key="a/y.tfstate", region="x")
    for prefix in ("net/a", "net/ab"):
        root(f"g/{prefix}", bucket="google", prefix=prefix)
    root("g/other", bucket="google", prefix="net/key", kms_encryption_key="projects/p/locations/l/keyRings/r/cryptoKeys/k")
    doc = init(infra).json("init", infra)
    found = {b["label"]: sorted(s["name"] for s in b["states"]) for b in doc["backends"]}
    assert found == {"shared": ["prod/a/x.tfstate", "prod/b/x.tfstate", "prod/b/y.tfstate"], "shared-2": ["prod/state"],
                     "shared-3": ["prod/us.tfstate"], "other": ["a/x.tfstate", "a/y.tfstate"], "wide": ["a/y.tfstate", "x.tfstate"],
                     "google": ["net/a", "net/ab"], "google-2": ["net/key"]}
    text = " ".join(doc["configuration"].split())
    assert 'include = ["prod/**", "env:/*/prod/**"]' in text and 'prefix = "a/"' in text and 'prefix = "net" ' in text
    assert text.count("# All states of the bucket") == 1
    assert 'exclude = ["key/default.tfstate", "key/*.tfstate"]' in text and 'exclude = ["prod/us.tfstate", "env:/*/prod/us.tfstate"]' in text


def test_nothing_is_there(workdir, agent):
    """One sentence that says where it looked."""
    (workdir / "empty/a/b").mkdir(parents=True)
    said = agent.call("init", workdir / "empty", code=1)
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"stateferry: {workdir}/empty: found no state of terraform's: looked at 3 folders and read 0 files")
    said = agent.call("init", workdir / "nowhere", code=1)
    assert "name a folder that is there" in said.err
    assert "cannot read the folder: No such file or directory" in said.err and said.out == ""


def test_a_configuration_that_is_there_stays(workdir, agent):
    """Nothing is written but to standard output."""
    infra = workdir / "infra"
    infra.mkdir()
    (infra / "x.tf").write_text('terraform {\n  backend "s3" {\n    bucket = "b-1"\n    key = "k"\n    region = "x"\n  }\n}\n')
    (infra / "stateferry.hcl").write_text("# mine\n")
    before = {p: p.stat().st_mtime_ns for p in [infra, *infra.rglob("*")]}
    agent.call("init", infra)
    assert {p: p.stat().st_mtime_ns for p in [infra, *infra.rglob("*")]} == before
    assert pathlib.Path(infra / "stateferry.hcl").read_text() == "# mine\n" and CANARY not in str(before)
