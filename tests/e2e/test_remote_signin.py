# SPDX-License-Identifier: MIT
"""Whose token is shown to a server of HCP Terraform: the one that real terraform shows, from the same home folder."""
import json

import pytest

from hcl import Block
from states import lineage, state
from tfe_objects import Principal

HOST = "tfe.test"
PLUGINS = ".terraform.d/plugins/"
VARIABLE = "TF_TOKEN_tfe_test"
HELPER = 'credentials_helper "vault" {\n  args = ["-x"]\n}\n'
WHO = ["env", "rc", "login", "other", "file", "helper"]


def block(who):
    return f'credentials "{HOST}" {{\n  token = "tfe-{who}"\n}}\n'


def login(who):
    return json.dumps({"credentials": {HOST: {"token": f"tfe-{who}"}}})


def helper(who):
    return f"#!/bin/sh\n[ \"$*\" = '-x get {HOST}' ] && echo '{{\"token\":\"tfe-{who}\"}}'\n"


# name: (files below the home folder, HOST stands for the block about the host; variables; whose token it is)
PLACES = {
    "variable": ({".terraformrc": "HOST" + block("rc")}, {VARIABLE: "tfe-env"}, "env"),
    "main": ({".terraformrc": "HOST" + block("rc")}, {}, "rc"),
    "login": ({".terraformrc": "HOST" + block("rc"), ".terraform.d/credentials.tfrc.json": login("login"), ".terraform.d/a.tfrc": block("other")},
              {}, "login"),
    "later": ({".terraformrc": "HOST", ".terraform.d/credentials.tfrc.json": login("login"), ".terraform.d/z.tfrc": block("other")}, {}, "other"),
    "one file": ({"ci.tfrc": "HOST" + block("file"), ".terraform.d/credentials.tfrc.json": login("login")},
                 {"TF_CLI_CONFIG_FILE": "~/ci.tfrc"}, "file"),
    "one file, none": ({"ci.tfrc": "HOST", ".terraform.d/credentials.tfrc.json": login("login")}, {"TF_CLI_CONFIG_FILE": "~/ci.tfrc"}, None),
    "older variable": ({"ci.tfrc": "HOST" + block("file")}, {"TERRAFORM_CONFIG": "~/ci.tfrc"}, "file"),
    "before helper": ({".terraformrc": "HOST" + HELPER + block("rc"), PLUGINS + "terraform-credentials-vault": helper("helper")}, {}, "rc"),
    "newest helper": ({".terraformrc": "HOST" + HELPER, PLUGINS + "terraform-credentials-vault_v10.0.0": helper("helper"),
                       PLUGINS + "terraform-credentials-vault_v9.0.0": helper("other"), PLUGINS + "terraform-credentials-vault": helper("rc")},
                      {}, "helper"),
    "more of HCL": ({".terraformrc": 'x = "${a("b")}"\nprovider_installation { direct { exclude = ["b/*"] } dev_overrides { "a/b" = "/x" } }\nHOST'
                     + block("rc")}, {}, "rc"),
    "broken login": ({".terraformrc": "HOST" + block("rc"), ".terraform.d/credentials.tfrc.json": "{"}, {}, "rc")}


@pytest.mark.parametrize("place", PLACES)
def test_the_token_that_terraform_takes(agent, places, tfe, terraform, place):
    files, variables, whose = PLACES[place]
    tfe.tokens = {f"tfe-{who}": Principal(who) for who in WHO}
    tfe.put("prod", state(3, lineage()))
    tf = terraform("tf", tfe.backend("cloud", HOST, token=False, name="prod"))
    folder = places("local")
    homes = (tf.folder / "home", agent.folder / "home")
    for home, env in zip(homes, (tf.env, agent.env)):
        for path, text in files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text.replace("HOST", tfe.cli_config(HOST, token=False), 1))
            (home / path).chmod(0o700)
        for name in ("TF_CLI_CONFIG_FILE", "TERRAFORM_CONFIG", VARIABLE):
            env.pop(name, None)
        env |= {name: value.replace("~", str(home)) for name, value in variables.items()}
    agent.backend("cloud", "live", {"hostname": HOST, "organization": "acme"}, blocks=[Block("workspaces", name="prod")])
    folder.add(agent, "folder")
    agent.replicate("out", "live", "folder")

    tf.call("init", "-no-color", "-input=false", ok=(0,) if whose else (1,))
    shown = {e.get("who") for e in tfe.requests()} - {None}
    before = len(tfe.requests())
    agent.call("sync", code=0 if whose else 12)
    assert shown == ({whose} if whose else set()), "terraform itself"
    assert {e.get("who") for e in tfe.requests()[before:]} - {None} == shown
    agent.check_secrets([f"tfe-{who}" for who in WHO])
