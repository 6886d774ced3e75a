# SPDX-License-Identifier: MIT
"""Each file in conf/examples replicates what it says it does, beside its server. Put in its place is only what is particular to a machine
or an account: folders, names, addresses; and beside it what a server on loopback needs."""
import pathlib

from conftest import EXAMPLES, GITLAB_TOKEN, HARNESS_TOKEN, HTTP_PASSWORD, Dynalite, Ministack
from hcl import value
from states import lineage, state



def test_every_example_is_tried():
    tests = "".join(path.read_text() for path in pathlib.Path(__file__).parent.glob("test_*.py"))
    assert [path.name for path in EXAMPLES.iterdir() if f'"{path.name}"' not in tests] == []


def fresh():
    return state(1, lineage())


def test_local_to_local(example, agent):
    live, project, copy = (agent.folder / n for n in ("live", "project", "copy"))
    (live / "net").mkdir(parents=True)
    project.mkdir()
    bodies = [fresh(), fresh()]
    (live / "net/prod.tfstate").write_bytes(bodies[0])
    (project / "terraform.tfstate").write_bytes(bodies[1])
    example("local-to-local.hcl", {"/srv/terraform": live, "/srv/project": project, "/mnt/backup/terraform": copy})
    agent.sync()
    assert (copy / "live/net/prod.tfstate").read_bytes() == bodies[0]
    assert (copy / "project/default.tfstate").read_bytes() == bodies[1]
    assert len(list((copy / "history").rglob("*.tfstate.zst"))) == 1


def test_http(example, agent, http_states):
    server = http_states(user="stateferry", password=HTTP_PASSWORD)
    team = http_states(user="", password="")
    body, nets = fresh(), {"network/prod": fresh(), "network/test": fresh()}
    server.put("prod", body)
    for name, net in nets.items():
        team.put(name, net)
    agent.env["LEGACY_PASSWORD"] = HTTP_PASSWORD
    url, team_url = server.backend("prod")["address"], team.backend("{name}")["address"]
    example("http.hcl", {"https://state.example.com/prod/lock": url, "https://state.example.com/prod": url,
                         "https://state.example.com/team/{name}/lock": team_url, "https://state.example.com/team/{name}": team_url,
                         "/mnt/backup/terraform": agent.folder / "copy"})
    (agent.folder / "copy").mkdir()
    agent.sync()
    assert (agent.folder / "copy/legacy/default.tfstate").read_bytes() == body
    for name, net in nets.items():
        assert (agent.folder / f"copy/team/{name}.tfstate").read_bytes() == net


def test_gitlab(example, agent, gitlabs):
    live, standby = gitlabs(project="7"), gitlabs()
    for name in ("network", "web.prod"):
        live.put(name, fresh())
    agent.env["GITLAB_TOKEN"] = GITLAB_TOKEN
    (agent.folder / "copy").mkdir()
    example("gitlab.hcl", {"https://gitlab.example.com/api/v4/projects/1234/terraform/state/{name}": live.url("{name}"),
                           "https://gitlab.example.com/api/v4/projects/acme%2Fstandby/terraform/state/{name}": standby.url("{name}"),
                           '"stateferry"': '"ann"', "/mnt/backup/terraform": agent.folder / "copy"})
    agent.sync()
    for name in ("network", "web.prod"):
        assert (agent.folder / f"copy/{name}.tfstate").read_bytes() == live.body(name) == standby.body(name)


def test_harness(example, agent, harnesses):
    live, standby = harnesses(), harnesses(project="standby")
    for name in ("vpc", "web"):
        live.put(name, fresh())
        standby.add(name)
    agent.env |= {"HARNESS_PLATFORM_API_KEY": HARNESS_TOKEN, "TF_HTTP_PASSWORD": HARNESS_TOKEN}
    (agent.folder / "copy").mkdir()
    example("harness.hcl", {"https://app.harness.io/gateway": live.endpoint, "/mnt/backup/terraform": agent.folder / "copy"},
            {"live": {"endpoint": live.endpoint}, "standby": {"endpoint": standby.endpoint}})
    agent.sync()
    for name in ("vpc", "web"):
        assert (agent.folder / f"copy/{name}.tfstate").read_bytes() == live.body(name) == standby.body(name)
    assert (agent.folder / "copy/pipeline/web.tfstate").read_bytes() == live.body("web")


def test_remote(example, agent, tfes):
    hcp, enterprise = tfes(), tfes(organization="acme-dr")
    body, other, net = fresh(), fresh(), fresh()
    hcp.put("web", body)
    hcp.put("scratch", other)
    hcp.workspaces["web"].tags["production"] = ""
    states = agent.folder / "states"
    (states / "network").mkdir(parents=True)
    (states / "network/prod.tfstate").write_bytes(net)
    (agent.folder / "copy").mkdir()
    example("remote.hcl", {"/mnt/backup/terraform": agent.folder / "copy", "/srv/terraform": states},
            {label: {"api_base": f"http://127.0.0.1:{server.port}/api/v2/", "token": server.token}
             for label, server in (("hcp", hcp), ("enterprise", enterprise))})
    agent.sync()
    assert (agent.folder / "copy/web.tfstate").read_bytes() == body and not (agent.folder / "copy/scratch.tfstate").exists()
    assert enterprise.body("copy-network-prod") == net and enterprise.locks() == {}
    assert enterprise.workspaces["copy-network-prod"].attributes["execution-mode"] == "local"


def keys_of(agent, server, endpoint):
    agent.env |= {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key, "AWS_ENDPOINT_URL_S3": endpoint}


def test_s3(example, agent, make_bucket):
    live, dr = make_bucket(), make_bucket(create=False)
    server = live.server
    url = f"http://127.0.0.1:{server.port}"
    keys_of(agent, server, url)
    agent.env |= {"DR_ACCESS_KEY": server.access_key, "DR_SECRET_KEY": server.secret_key}
    default, other = "network/prod/terraform.tfstate", "env:/test/network/prod/terraform.tfstate"
    live.put(default, fresh())
    live.put(other, fresh())
    example("s3.hcl", {"acme-tfstate-dr": dr.name, "acme-tfstate": live.name, "eu-central-1": server.region, "us-east-1": server.region,
                       "https://s3.example.com": url}, {"live": {"use_path_style": True}})
    agent.sync()
    assert dr.get("states/network/default/terraform.tfstate") == live.get(default)
    assert dr.get("states/network/test/terraform.tfstate") == live.get(other)


def test_s3_dynamodb(example, agent, make_bucket, _session):
    live, dr, table = make_bucket(), make_bucket(), _session(Dynalite)
    keys_of(agent, live.server, f"http://127.0.0.1:{live.server.port}")
    agent.env["AWS_ENDPOINT_URL_DYNAMODB"] = f"http://127.0.0.1:{table.port}"
    table.create("terraform-locks")
    live.put("net/prod.tfstate", fresh())
    example("s3-dynamodb.hcl", {"acme-tfstate-dr": dr.name, "acme-tfstate": live.name, "eu-central-1": live.server.region},
            {label: {"use_path_style": True} for label in ("live", "dr")})
    agent.sync()
    assert dr.get("net/prod.tfstate") == live.get("net/prod.tfstate") and dr.locks() == []
    assert list(table.rows("terraform-locks")) == [f"{dr.name}/net/prod.tfstate-md5"]


def test_s3_assume_role(example, agent, make_bucket):
    live, dr = make_bucket(Ministack), make_bucket(Ministack)
    url = f"http://127.0.0.1:{live.server.port}"
    keys_of(agent, live.server, url)
    agent.env["AWS_ENDPOINT_URL_STS"] = url
    token = agent.folder / "token"
    token.write_text("eyJhbGciOiJSUzI1NiJ9.e30.c2ln")
    live.put("net/prod.tfstate", fresh())
    example("s3-assume-role.hcl", {"acme-tfstate-dr": dr.name, "acme-tfstate": live.name, "eu-central-1": live.server.region,
                                   "111111111111": "000000000000", "222222222222": "000000000000", "/var/run/secrets/tokens/aws": token},
            {label: {"use_path_style": True} for label in ("live", "dr")})
    agent.sync()
    assert dr.get("net/prod.tfstate") == live.get("net/prod.tfstate")


def test_azurerm(example, agent, places, azure_names):
    live = places("azurerm")
    agent.env |= azure_names | {"ARM_ACCESS_KEY": live.server.key}
    live.put("net/prod.tfstate", fresh())
    (agent.folder / "copy").mkdir()
    example("azurerm.hcl", {"acmestates": live.server.account, '"tfstate"': f'"{live.container}"', "/srv/tfstate-copy": agent.folder / "copy"})
    agent.sync()
    assert (agent.folder / "copy/net/prod.tfstate").read_bytes() == live.get("net/prod.tfstate")


def of_the_cli(agent, text):
    """Terraform's own configuration."""
    rc = agent.folder / "home/.terraformrc"
    rc.write_text(text)
    rc.chmod(0o600)


def test_cloud(example, agent, tfes):
    live, standby = tfes(), tfes()
    of_the_cli(agent, live.cli_config("app.terraform.io") + standby.cli_config("tfe.example.com"))
    bodies = {name: fresh() for name in ("network", "web", "other")}
    for name, body in bodies.items():
        live.put(name, body)
    live.add("web").tags["env"] = "prod"
    (agent.folder / "versions.tf").write_text('terraform {\n  cloud {\n    organization = "acme"\n    workspaces {\n      name = "network"\n    }\n  }\n}\n')
    (agent.folder / "copy").mkdir()
    example("cloud.hcl", {"/srv/network/versions.tf": agent.folder / "versions.tf", "/mnt/backup/terraform": agent.folder / "copy"})
    agent.sync()
    assert (agent.folder / "copy/network/network.tfstate").read_bytes() == bodies["network"]
    assert (agent.folder / "copy/web.tfstate").read_bytes() == bodies["web"]
    assert not (agent.folder / "copy/other.tfstate").exists()
    assert standby.body("web") == bodies["web"] and list(standby.workspaces) == ["web"] and standby.locks() == {}


def inside(kind, **args):
    """{what opens a storage block: the same with arguments in it} for example()."""
    head = f'storage "{kind}" {{'
    return {head: head + "".join(f"\n{k} = {value(v)}" for k, v in args.items())}


def brainboard_example(example, agent, brainboard, name, swap, beside=None):
    """What is the same for each: the API, and the folder of the copies."""
    agent.env["BRAINBOARD_TOKEN"] = brainboard.token
    (agent.folder / "copy").mkdir()
    token = 'env("BRAINBOARD_TOKEN")'
    example(name, {token: f'{token}\n  api_base = "{brainboard.backend()["api_base"]}"'} | swap, beside)
    agent.sync()
    return agent.folder / "copy"


def test_brainboard(example, agent, places, azure_names, make_bucket, brainboard):
    live, dr = places("azurerm"), make_bucket(create=False)
    id_ = brainboard.add("net")
    live.put(id_, fresh())
    keys_of(agent, dr.server, f"http://127.0.0.1:{dr.server.port}")
    agent.env |= azure_names | {"ARM_ACCESS_KEY": live.server.key, "NO_PROXY": "127.0.0.1"}
    brainboard_example(example, agent, brainboard, "brainboard.hcl", {
        "acmestates": live.server.account, '"tfstate"': f'"{live.container}"', "acme-tfstate-dr": dr.name, "eu-west-3": dr.server.region},
        {"dr": {"use_path_style": True}})
    assert dr.get(f"{id_}/terraform.tfstate") == live.get(id_)


def test_brainboard_s3(example, agent, make_bucket, _session, brainboard):
    live, table = make_bucket(), _session(Dynalite)
    keys_of(agent, live.server, f"http://127.0.0.1:{live.server.port}")
    agent.env["AWS_ENDPOINT_URL_DYNAMODB"] = f"http://127.0.0.1:{table.port}"
    table.create(f"locks-of-{live.name}")
    id_ = brainboard.add("net")
    live.put(f"{id_}/terraform.tfstate", fresh())
    copy = brainboard_example(example, agent, brainboard, "brainboard-s3.hcl", {
        'region = "us1" # of the API, or "apac1"\n': "", "acme-brainboard": live.name, "eu-central-1": live.server.region,
        "terraform-locks": f"locks-of-{live.name}",
        "/srv/brainboard-copy": agent.folder / "copy"} | inside("s3", use_path_style=True))
    assert (copy / "payments/prod/net.tfstate").read_bytes() == live.get(f"{id_}/terraform.tfstate")


def test_brainboard_azurerm(example, agent, places, azure_names, brainboard):
    live = places("azurerm")
    id_ = brainboard.add("net")
    live.put(f"{id_}/terraform.tfstate", fresh())
    agent.env |= azure_names | {"ARM_ACCESS_KEY": live.server.key, "NO_PROXY": "127.0.0.1"}
    copy = brainboard_example(example, agent, brainboard, "brainboard-azurerm.hcl", {
        "acmestates": live.server.account, '"tfstate"': f'"{live.container}"', "/srv/brainboard-copy": agent.folder / "copy"})
    assert (copy / f"{id_}.tfstate").read_bytes() == live.get(f"{id_}/terraform.tfstate")


def test_brainboard_gcs(example, agent, places, brainboard):
    live = places("gcs")
    id_ = brainboard.add("net")
    live.put(f"{id_}/default.tfstate", fresh())
    own = live.server.backend(live.bucket)
    copy = brainboard_example(example, agent, brainboard, "brainboard-gcs.hcl", {
        "acme-brainboard": live.bucket, "/srv/brainboard-copy": agent.folder / "copy"} | inside(
            "gcs", access_token=own["access_token"], storage_custom_endpoint=own["storage_custom_endpoint"]))
    assert (copy / f"{id_}.tfstate").read_bytes() == live.get(f"{id_}/default.tfstate")


def test_brainboard_http(example, agent, http_states, brainboard):
    server = http_states(user="stateferry", password=HTTP_PASSWORD)
    agent.env["STATE_PASSWORD"] = HTTP_PASSWORD
    id_, other = brainboard.add("net"), brainboard.add("payments", id_="9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f")
    server.put(id_, fresh())
    server.put("payments", fresh())
    url, fixed = (server.backend(n)["address"] for n in ("{name}", "payments"))
    copy = brainboard_example(example, agent, brainboard, "brainboard-http.hcl", {
        "https://state.example.com/brainboard/{uuid}/lock": url, "https://state.example.com/brainboard/{uuid}": url,
        "https://state.example.com/payments/lock": fixed, "https://state.example.com/payments": fixed,
        "/srv/brainboard-copy": agent.folder / "copy"})
    assert (copy / f"{id_}.tfstate").read_bytes() == server.body(id_)
    assert (copy / f"{other}.tfstate").read_bytes() == server.body("payments")


def test_brainboard_cloud(example, agent, tfe, brainboard):
    agent.env["TFC_TOKEN"] = tfe.token
    brainboard.add("payments", id_="9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f")
    brainboard.add("net")
    tfe.put("brainboard-payments", fresh())
    copy = brainboard_example(example, agent, brainboard, "brainboard-cloud.hcl", {
        '"app.terraform.io"': f'"127.0.0.1:{tfe.port}"\n  api_base = "http://127.0.0.1:{tfe.port}/api/v2/"',
        "/srv/brainboard-copy": agent.folder / "copy"})
    assert (copy / "9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f.tfstate").read_bytes() == tfe.body("brainboard-payments")
    assert agent.status()["uncovered"] == 1
