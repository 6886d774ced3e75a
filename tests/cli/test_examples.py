#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every example configuration, and the one in README.md, is accepted by "config check", and laid out as "terraform fmt" does it
(where there is a terraform), as TAP."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("O", ROOT / "build")) / "stateferry"


def examples():
    for path in sorted((ROOT / "conf").rglob("*.hcl")):
        yield str(path.relative_to(ROOT)), path.read_text()
    for n, (pad, text) in enumerate(re.findall(r"^( *)```hcl\n(.*?)^ *```$", (ROOT / "README.md").read_text(), re.S | re.M), 1):
        yield f"README.md, block {n}", re.sub(f"^{pad}", "", text, flags=re.M)


# What a file of terraform's has, where an example names one.
OF_TERRAFORM = 'terraform {\n  cloud {\n    organization = "acme"\n    workspaces {\n      name = "network"\n    }\n  }\n}\n'


def trouble(home, text):
    """What is wrong with it, or None. Secrets that an example reads from files are made up, and so is a cloud block that it reads."""
    for name in re.findall(r'^ *from_file *= "(/[^"]+)"', text, re.M):
        made_up = home / pathlib.Path(name).name
        made_up.write_text(OF_TERRAFORM)
        text = text.replace(f'"{name}"', f'"{made_up}"')
    for name in re.findall(r'file\("([^"]+)"\)', text):
        made_up = home / name.replace("/", "_")
        made_up.write_text("00" * 32)
        text = text.replace(f'"{name}"', f'"{made_up}"')
    conf = home / "example.tf"
    conf.write_text(text)
    conf.chmod(0o600)
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials")}
    env |= {name: "bWFkZXVw" for name in re.findall(r'env\("(\w+)"\)', text)}
    done = subprocess.run([BINARY, "-c", conf, "config", "check"], env=env, capture_output=True, text=True)
    if done.returncode != 0:
        return done.stderr.strip()
    if shutil.which("terraform"):
        done = subprocess.run(["terraform", "fmt", "-check", "-diff", conf], capture_output=True, text=True)
        if done.returncode != 0:
            return done.stdout.strip() or done.stderr.strip()
    return None


def main():
    failed = n = 0
    for n, (name, text) in enumerate(examples(), 1):
        with tempfile.TemporaryDirectory() as folder:
            home = pathlib.Path(folder)
            (home / "credentials").write_text("[dr]\naws_access_key_id = A\naws_secret_access_key = B\n")
            why = trouble(home, text)
        print("".join(f"# {line}\n" for line in (why or "").splitlines()), end="")
        print(f"{'not ok' if why else 'ok'} {n} {name}")
        failed += why is not None
    print(f"1..{n}")
    return 1 if failed or n < 5 else 0


if __name__ == "__main__":
    sys.exit(main())
