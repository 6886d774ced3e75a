# SPDX-License-Identifier: MIT
"""Tests that are functions, told as TAP."""
import contextlib
import traceback


class Skip(Exception):
    """This machine lacks what the test needs."""


def run(tests, place=None):
    """Calls each, with a new place() that is closed after it when there is one; the exit code."""
    failed = 0
    for n, test in enumerate(tests, 1):
        name = test.__name__.replace("_", " ")
        try:
            with contextlib.closing(place()) if place else contextlib.nullcontext() as at:
                test(*([at] if place else []))
            print(f"ok {n} {name}", flush=True)
        except Skip as e:
            print(f"# {e}\nok {n} {name} # SKIP", flush=True)
        except Exception as e:  # the next test says something of its own
            failed += 1
            lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.name == test.__name__]
            print("\n".join("# " + line for line in f"line {lines[-1] if lines else '?'}: {type(e).__name__}: {e}".splitlines()))
            print(f"not ok {n} {name}", flush=True)
    print(f"1..{len(tests)}")
    return 1 if failed else 0
