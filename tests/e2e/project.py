# SPDX-License-Identifier: MIT
"""A small terraform project on a backend of the test's choice, run with the real program.

`items` resources of type terraform_data, which needs no provider download; with `gate` one more, whose creation lasts
until that file exists: terraform holds its lock meanwhile."""
import json
import os
import pathlib
import subprocess
import time

from hcl import Block
from servers import die_with_parent

MAIN = """
variable "items" {
  type    = number
  default = 1
}
variable "text" {
  type    = string
  default = "first"
}
variable "gate" {
  type    = string
  default = ""
}
resource "terraform_data" "item" {
  count = var.items
  input = "${var.text}-${count.index}"
}
resource "terraform_data" "gate" {
  count = var.gate == "" ? 0 : 1
  provisioner "local-exec" {
    command = <<-EOT
      touch '${var.gate}.reached'
      n=0
      while [ ! -e '${var.gate}' ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n+1)); done
    EOT
  }
}
output "text" {
  value = var.text
}
"""


class Done:
    """How a command ended."""

    def __init__(self, code, out):
        self.code, self.out = code, out


class Run:
    """A terraform command that is still running."""

    def __init__(self, process, what, log):
        self.process, self.what, self.log = process, what, log

    def done(self, timeout=60):
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"{self.what} did not end within {timeout} s:\n{self.log.read_text()}") from None
        return Done(code, self.log.read_text(errors="replace"))

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Project:
    """One working folder; backend is (type, arguments) of its backend block, for "cloud" and "remote" with a third, the arguments of
    its block of workspaces; cli: what the CLI configuration says."""

    def __init__(self, program, folder, backend, env=None, cli=""):
        self.program, self.folder = program, pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        (self.folder / "home").mkdir()
        (self.folder / "terraformrc").write_text(cli)
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TF_")) and "proxy" not in k.lower()}
        self.env = keep | {"HOME": str(self.folder / "home"), "TF_CLI_CONFIG_FILE": str(self.folder / "terraformrc"),
                           "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"} | (env or {})
        self.runs = []
        self.vars = {}
        self.point_at(backend)
        (self.folder / "main.tf").write_text(MAIN)

    def point_at(self, backend):
        """Another backend from here on; init() comes next."""
        kind, args, *nested = backend
        inside = [Block("workspaces", **w) for w in nested]
        own = Block("cloud", blocks=inside, **args) if kind == "cloud" else Block("backend", kind, blocks=inside, **args)
        block = Block("terraform", blocks=[own])
        (self.folder / "backend.tf").write_text(block.text() + "\n")

    def start(self, *args, stdin=subprocess.DEVNULL):
        """Runs terraform without waiting."""
        log = self.folder / f"run-{len(self.runs) + 1}.log"
        with open(log, "wb") as out:
            process = subprocess.Popen([str(self.program), *map(str, args)], cwd=self.folder, env=self.env, stdout=out,
                                       stderr=subprocess.STDOUT, stdin=stdin, preexec_fn=die_with_parent)
        run = Run(process, f"terraform {' '.join(map(str, args))}", log)
        self.runs.append(run)
        return run

    def call(self, *args, ok=(0,), timeout=60):
        """Runs terraform to its end; any other exit code than those of ok fails the test."""
        run = self.start(*args)
        done = run.done(timeout)
        assert done.code in ok, f"{run.what} ended with {done.code}:\n{done.out}"
        return done

    def init(self, *args):
        return self.call("init", "-no-color", "-input=false", *args)

    def arguments(self, changed):
        self.vars |= changed
        return [f"-var={k}={v}" for k, v in self.vars.items()]

    def apply(self, *args, ok=(0,), **changed):
        """Applies; variables keep their last value."""
        return self.call("apply", "-no-color", "-input=false", "-auto-approve", *args, *self.arguments(changed), ok=ok)

    def plan(self, *args, ok=(0,), **changed):
        return self.call("plan", "-no-color", "-input=false", *args, *self.arguments(changed), ok=ok)

    def unchanged(self):
        """Whether terraform sees nothing to do: plan -detailed-exitcode."""
        return self.plan("-detailed-exitcode", ok=(0, 2)).code == 0

    def hold(self, gate, timeout=30, **changed):
        """Starts an apply that keeps the lock until release(gate); returns when it has it."""
        gate = pathlib.Path(gate)
        run = self.start("apply", "-no-color", "-input=false", "-auto-approve", *self.arguments(changed),
                         f"-var=gate={gate}")
        deadline = time.monotonic() + timeout
        while not pathlib.Path(f"{gate}.reached").exists():
            if run.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{run.what} does not reach its gate:\n{run.done(1).out}")
            time.sleep(0.02)
        return run

    def asking(self, locked, timeout=20):
        """Starts an apply that waits for approval: it holds the lock and writes nothing. locked() sees that lock."""
        run = self.start("apply", "-no-color", *self.arguments({}), "-replace=terraform_data.item[0]",
                         stdin=subprocess.PIPE)
        deadline = time.monotonic() + timeout
        while not locked():
            assert run.process.poll() is None and time.monotonic() < deadline, run.log.read_text(errors="replace")
            time.sleep(0.02)
        return run

    @staticmethod
    def refuse(run):
        """Ends what asking() started."""
        run.process.stdin.write(b"no\n")
        run.process.stdin.close()
        assert "Apply cancelled" in run.done().out

    @staticmethod
    def release(gate):
        pathlib.Path(gate).touch()

    def pull(self):
        """The state as terraform reads it."""
        return json.loads(self.call("state", "pull").out)

    def end(self):
        for run in self.runs:
            run.end()
