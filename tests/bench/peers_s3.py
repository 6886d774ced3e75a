# SPDX-License-Identifier: MIT
"""rclone and MinIO's mc as their experts would run them, between two buckets of the same server.

Each sees two remotes, because that is the job: another account, another provider. (Within one remote rclone and mc would ask the server to
copy: that moves no byte, works within one server only, and is measured as a row of its own.)"""
import json
import os

import measure
from world import find

RCLONE_TUNED = ["--fast-list", "--checksum", "--checkers", "16", "--transfers", "16", "--s3-no-check-bucket", "--s3-no-head",
                "--retries", "1", "--low-level-retries", "1", "--stats", "0", "--log-level", "ERROR"]


def clean_env(home):
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "LANG": "C.UTF-8"}


class Rclone:
    name = "rclone"

    def __init__(self, world):
        self.program, self.why = find("rclone")
        self.env, self.cwd = clean_env(world.folder()), world.folder()
        conf = self.cwd / "rclone.conf"
        s3 = world.s3
        conf.write_text("".join(
            f"[{n}]\ntype = s3\nprovider = Minio\naccess_key_id = {s3.access_key}\nsecret_access_key = {s3.secret_key}\n"
            f"endpoint = http://127.0.0.1:{s3.port}\nregion = {s3.region}\nforce_path_style = true\n\n" for n in ("one", "two")))
        self.words = [self.program, "--config", conf]

    def sync(self, from_, to, remote="two"):
        return measure.run([*self.words, "sync", f"one:{from_}", f"{remote}:{to}", *RCLONE_TUNED], env=self.env, cwd=self.cwd)

    def server_side(self, from_, to):
        return self.sync(from_, to, "one")


class Mc:
    name = "mc mirror"

    def __init__(self, world):
        self.program, self.why = find("mc")
        s3, self.cwd = world.s3, world.folder()
        self.env = clean_env(world.folder())
        alias = {"url": f"http://127.0.0.1:{s3.port}", "accessKey": s3.access_key, "secretKey": s3.secret_key, "api": "s3v4", "path": "on"}
        conf = self.cwd / "config.json"
        conf.touch(0o600)
        conf.write_text(json.dumps({"version": "10", "aliases": {"one": alias, "two": alias}}))

    def sync(self, from_, to):
        return measure.run([self.program, "--config-dir", self.cwd, "--quiet", "--json", "mirror", "--overwrite", f"one/{from_}", f"two/{to}"],
                           env=self.env, cwd=self.cwd)
