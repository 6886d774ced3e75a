# SPDX-License-Identifier: MIT
"""The harness sees what a sanitizer finds in a process of an agent."""
import os

import pytest

import install
from agent import SANITIZER_EXIT, Agent
from conftest import need

FAULTS = {
    "address": "char *p = malloc(8); free(p); return *(volatile char *)p;",
    "undefined": "volatile int i = 0x7fffffff; i += argc; return i == 5;",
    "leak": "volatile char *p = malloc(8); p = 0; return p != 0;",
}


@pytest.fixture(params=FAULTS)
def faulty(request, workdir):
    """A program with one fault, built as the sanitizer builds are."""
    source, program = workdir / "faulty.c", workdir / "faulty"
    source.write_text("#include <stdlib.h>\nint main(int argc, char **argv)\n{\n\t(void)argv;\n\t(void)argc;\n\t"
                      f"{FAULTS[request.param]}\n}}\n")
    need("sanitizers", lambda: install.call([os.environ.get("CC", "cc").split()[-1], "-O0", "-fno-sanitize-recover=all",
                                             "-fsanitize=address,undefined", "-o", program, source]))
    return program


def test_a_finding_is_seen(faulty, workdir):
    agent = Agent(faulty, workdir)
    assert agent.call("status", code=None).code == SANITIZER_EXIT
    with pytest.raises(AssertionError, match="runtime error|Sanitizer"):
        agent.check_sanitizers()
