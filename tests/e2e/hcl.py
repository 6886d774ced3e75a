# SPDX-License-Identifier: MIT
"""Writes HCL blocks, for terraform's files and for ours."""
import json


class Block:
    """KIND "LABEL"... { arguments, then nested blocks }. Arguments that are None are left out."""

    def __init__(self, kind, *labels, blocks=(), **args):
        self.kind, self.labels, self.blocks, self.args = kind, labels, blocks, args

    def text(self, depth=0):
        pad = "  " * depth
        head = " ".join([self.kind, *map(quote, self.labels)])
        lines = [f"{pad}  {name.rstrip('_')} = {value(v)}" for name, v in self.args.items() if v is not None]
        lines += [b.text(depth + 1) for b in self.blocks]
        return f"{pad}{head} {{\n" + "".join(line + "\n" for line in lines) + f"{pad}}}"


class Verbatim(Block):
    """A whole file as it stands."""

    def __init__(self, text):
        super().__init__("")
        self.whole = text

    def text(self, depth=0):
        return self.whole


class Raw(str):
    """An expression, written as it is."""


def quote(text):
    quoted = json.dumps(str(text), ensure_ascii=False)
    return quoted.replace("${", "$${").replace("%{", "%%{")


def value(v):
    if isinstance(v, Raw):
        return str(v)
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, int):
        return str(v)
    if isinstance(v, dict):
        return "{ " + ", ".join(f"{k} = {value(x)}" for k, x in v.items()) + " }"
    if isinstance(v, (list, tuple)):
        return "[" + ", ".join(map(value, v)) + "]"
    return quote(v)
