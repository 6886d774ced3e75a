#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The configuration language against terraform itself: TAP on stdout.

    test_conf_fmt.py [CONF_DUMP]

Documents are drawn from a grammar that is larger than what conf accepts, then damaged. Whatever conf accepts, "terraform fmt" must
accept; what conf prints must be in the layout of "terraform fmt" and mean the same; and values must be what terraform makes of the
same text. CONF_SEED and CONF_ROUNDS choose another or a longer run."""
import decimal
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]
DUMP = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / os.environ.get("O", "build") / "tools" / "conf_dump")
SEED = int(os.environ.get("CONF_SEED", "1"))
ROUNDS = int(os.environ.get("CONF_ROUNDS", "1"))
DOCS = 1500     # per round, as many again damaged
SMALL = 5000    # damaged ones of a line or two: damage is more often the only thing wrong
VALUES = 250    # per round
ENV = dict(os.environ, CHECKPOINT_DISABLE="1", TF_CLI_CONFIG_FILE=os.devnull, TF_IN_AUTOMATION="1")


class Grammar:
    """Text that terraform accepts, mostly: `bad` is the chance of something that conf or terraform refuses."""

    NAMES = ["a", "b", "bucket", "a-b", "_x", "x1", "for", "true", "null", "env", "A", "if", "in", "é"]
    CHARS = ["a", "b c", " ", "\\n", "\\t", "\\\"", "\\\\", "\\u00e9", "\\U0001F600", "é", "日本", "$", "%", "$${", "%%{", "$$${",
             "#", "//", "/*", "'", "{", "}", "]", "=", "\t", "<<E", "\\r", "\u00a0", "$$", "%%", "e\u0301"]
    NASTY = ["${x}", "%{if a}", "\\x", "\\u12", "\n", "\\ud800", "\r\n", "\"", "\\$", "\x01"]
    NUMBERS = ["0", "1", "30", "1.5", "007", "1e3", "2.50E-2", "-1", "-0.5", "-0", "123456789012345678901", "1e80", "0.10"]
    BAD_NUMBERS = [".5", "1.", "1e", "0x1F", "1_000", "- 1", "--1", "1e999", "5s", "+1"]
    EXPRESSIONS = ["1 + 2", "x", "var.x", "f(1)", "(1)", "!true", "true ? 1 : 2", "[for v in [1] : v]", "{ for k, v in {} : k => v }",
                   "[1][0]", "[1][*]", "a.*.b", "1 == 2", "base64encode(\"x\")", "f([1]...)", "a::b(1)", "path.module"]
    LINES = ["x", "  x", "    y z", "", "  ", "\t tab", "\u00a0 nbsp", "$${a} %%{b}", "E x", "\\n \"q\"", "$", "# no comment", "xE"]

    def __init__(self, rnd, bad=0.03, refs=True):
        self.r, self.bad, self.refs = rnd, bad, refs

    def odd(self):
        return self.r.random() < self.bad

    def name(self):
        return self.r.choice(self.NAMES[:-1] if not self.odd() else self.NAMES)

    def quoted(self):
        parts = [self.r.choice(self.NASTY if self.odd() else self.CHARS) for _ in range(self.r.choice([0, 1, 1, 2, 3, 5]))]
        return '"' + "".join(parts) + '"'

    def heredoc(self):
        word = self.r.choice(["E", "EOT", "a-b", "_1"])
        eol = self.r.choice(["\n", "\n", "\n", "\r\n"])
        lines = [self.r.choice(self.NASTY if self.odd() else self.LINES) for _ in range(self.r.randrange(5))]
        end = self.r.choice(["", "", "  ", "\t"]) + word + ("  " if self.odd() else "")
        return "<<" + self.r.choice(["", "-", "-"]) + word + (" " if self.odd() else "") + eol + "".join(l + eol for l in lines) + end

    def ref(self):
        default = self.r.choice(["", "", ', "d"', ", 5", ", null", ",\n \"d\" # c\n", ",", ', env("SET")'])
        call = self.r.choice([f'env("SET"{default})', f'env("UNSET"{default or ", true"})', 'file("x")', 'env ("SET")', 'env(\n"SET"\n)'])
        return call

    def value(self, depth=0, heredoc=True):
        if self.odd():
            return self.r.choice(self.EXPRESSIONS + self.BAD_NUMBERS)
        kind = self.r.choice("sssnnbhrlo" if depth < 3 else "ssnb")
        if kind == "s" or (kind == "h" and not heredoc) or (kind == "r" and not self.refs):
            return self.quoted()
        if kind == "n":
            return self.r.choice(self.NUMBERS)
        if kind == "b":
            return self.r.choice(["true", "false", "null"])
        if kind == "h":
            return self.heredoc()
        if kind == "r":
            return self.ref()
        return self.list(depth + 1) if kind == "l" else self.object(depth + 1)

    def blank(self):
        return self.r.choice(["", "", " ", "\n", " # c\n", "/* c */", "\n\n", "/*\n*/"])

    def after(self, value):
        """What must follow a value: a heredoc ends with its line."""
        return "\n" if value.startswith("<<") else ""

    def list(self, depth):
        out = "["
        for _ in range(self.r.randrange(4)):
            v = self.value(depth)
            out += self.blank() + v + self.after(v) + self.blank() + ("," if not self.odd() else " ")
        if out.endswith(",") and self.r.random() < 0.7:
            out = out[:-1]
        return out + self.blank() + "]"

    def object(self, depth):
        out = "{" + self.r.choice(["", "\n", " "])
        used = set()
        for _ in range(self.r.randrange(4)):
            key = self.r.choice([self.name(), self.quoted()])
            if key in used and not self.odd():
                continue
            used.add(key)
            v = self.value(depth)
            sep = "\n" if v.startswith("<<") else self.r.choice([", ", "\n", ",\n", " # c\n", ",", "\n\n"])
            out += key + self.r.choice([" = ", ": ", "=", " : ", " /* c */ = "]) + v + (sep if not self.odd() else " ")
        return out + "}"

    def attribute(self, name=None):
        v = self.value()
        eq = self.r.choice([" = ", "=", "   =\t"]) if not self.odd() else self.r.choice([" =\n", " : ", " ", "\n="])
        return (name or self.name()) + eq + v, v

    def label(self):
        return self.r.choice([self.name(), self.quoted(), '"x"'])

    def block(self, depth):
        head = " ".join([self.r.choice(["backend", "state", "b"])] + [self.label() for _ in range(self.r.randrange(3))])
        form = self.r.choice("emmmo")
        if form == "e":
            return head + self.r.choice([" {}", " { }", " {\n}", "{}"])
        if form == "o":
            return head + " { " + self.attribute()[0] + (" }" if not self.odd() else "\n}")
        return head + " {" + self.r.choice(["\n", " # c\n", "\r\n"]) + self.body(depth + 1) + self.r.choice(["}", "  }"])

    def body(self, depth=0):
        out = ""
        for i in range(self.r.randrange(1, 5)):
            if self.r.random() < 0.3 and depth < 3:
                item = self.block(depth)
            else:
                item = self.attribute(self.name() if self.odd() else f"k{depth}{i}")[0]
            end = "\n" if "<<" in item else self.r.choice(["\n", "\n", "\n\n", " # c\n", " // c\n", " /* c */\n", "\r\n"])
            out += self.r.choice(["", "  ", "\t"]) + item + (end if not self.odd() else self.r.choice([" ", ";", ",\n"]))
        return out

    def document(self):
        return ("\ufeff" if self.r.random() < 0.02 else "") + self.body() + self.r.choice(["", "", "# end", "\n"])


SNIPPETS = ["{", "}", "[", "]", "(", ")", "=", ":", ",", "\n", "\"", "#", "/*", "*/", "//", "<<E\n", "E\n", "${", "%{", "$${", ".", "?", "-",
            "!", "for ", "==", "=>", "::", "...", "env(", "file(", "0", "1e5", "\\", "'", ";", "\r", "\t", " ", "\u00e9", "\u00a0", "true", "null"]


# Where terraform draws the line, one by one.
EDGES = [
    "\ufeffa = 1\n", "a = 1\r\nb {\r\n c = 2\r\n}\r\n", "a = 1\rb = 2\n", "# a\rb = 1\n", "", "\n\n", "a", "a\n= 1\n", "a =\n 1\n",
    "a = <<E\nx\nE", "a = <<E\nx\nE\n", "a = <<E\nx\n E \n", "a = <<E \nx\nE\n", "a = << E\nx\nE\n", "a = <<E\nE\n", "a = <<E\nx\n\u00a0E\n",
    "a = <<-E-O\n x\nE-O\n", "a = <<--E\nx\n-E\n", "a = <<1\nx\n1\n", "a = <<_E\nx\n_E\n", "a = <<E\r\nx\nE\n", "a = <<E\nx\n\x0bE\n",
    "b { a = <<E\nx\nE\n}\n", "a = [<<E\nx\nE\n]\n", "a = [<<E\nx\nE, 1]\n", "a = {\n b = <<E\nx\nE\n c = 1 }\n", "a = { b = <<E\nx\nE\n}\n",
    "a = { b = <<E\nx\nE\n, c = 1 }\n", "a = env(\"SET\", <<E\nx\nE\n)\n", "a = env(\"SET\", <<E\nx\nE)\n",
    "a = 1 # x", "a = 1 // x", "a = 1 /* x */", "a = 1 /* x", "a = 1 /*/", "a = /* x\n */ 1\n", "a = 1 /* x\n */ b = 2\n", "a = 1 /**/\n",
    "a \"\" {}\n", "a \"$${x}\" {}\n", "a b c-d \"e\" {\n}\n", "a 1 {\n}\n", "a\n{\n}\n", "a {}\n", "a { }", "a {", "a }\n", "}\n",
    "a { b = 1, c = 2 }\n", "a { b = 1\n}\n", "a {\n b = 1 }\n", "a { b {} }\n", "a { /* x */ b = 1 /* y */ }\n", "a { # x\n b = 1\n}\n",
    "a {} b {}\n", "a {\n b {\n } }\n", "a {} # x\n", "a = {} b = 1\n", "a = 1\na = 2\n", "a = 1\na {}\n", "a { b = 1 } # x", "a { b = 1 # x }\n",
    "a = { for = 1 }\n", "a = { b = 1, for = 2 }\n", "a = { true = 1, null = 2 }\n", "a = [for]\n", "a = [\nfor]\n", "for = 1\n", "for {}\n",
    "a = {\n b = 1\n , c = 2 }\n", "a = { b = 1,\n\n c = 2 }\n", "a = { b = 1, }\n", "a = {,}\n", "a = {b:1, \"c\" : 2}\n", "a = {b::1}\n",
    "a = { b = 1 c = 2 }\n", "a = { b\n= 1 }\n", "a = { b =\n1 }\n", "a = {\n}\n", "a = { b = 1 # x\n c = 2 }\n", "a = { b = 1 /* x\n */ c = 2 }\n",
    "a = [{\n b = 1\n c = 2 }]\n", "a = { b = [1\n,\n2\n] }\n", "a = { b = 1,, }\n", "a = { b = 1 ]\n", "a = [1 }\n", "a = {b=1,\"b\"=2}\n",
    "a = [1,2,\n]\n", "a = [1,,2]\n", "a = [,1]\n", "a = [\n1\n,\n2\n]\n", "a = [1 # x\n, 2]\n", "a = [1\n2]\n", "a = [1] [2]\n", "a = []\nb = 1",
    "a = 007\n", "a = 1.5E+3\n", "a = 1e99\n", "a = .5\n", "a = 1.\n", "a = 1e\n", "a = - 5\n", "a = -5\n", "a = --5\n", "a = +5\n", "a = 5a\n", "a = 1.2.3\n",
    "a = env(\n\"SET\",\n\"d\",\n)\n", "a = env (\"SET\")\n", "a = env(/*x*/\"SET\" # y\n)\n", "a = env\n(\"SET\")\n", "a = env(\"SET\",,)\n",
    "a = env(\"SET\") # x", "a = env(\"SET\").x\n", "a = file(\"x\",)\n", "a = env()\n", "a = [env\n(\"SET\")]\n",
    "a = \"$\"\n", "a = \"$$\"\n", "a = \"$${\"\n", "a = \"$$${\"\n", "a = \"%%{\"\n", "a = \"$\\\"{\"\n", "a = \"\\$\"\n", "a = \"$%{\"\n",
    "a = \"$%%{\"\n", "a = \"\\ud800\"\n", "a = \"\\U00110000\"\n", "a = \"\\uffff\"\n", "a = \"x\ny\"\n", "a = \"x\r\ny\"\n", "a = \"x", "a = \"\ufeff\"\n",
    "a == 1\n", "a => 1\n", "a : 1\n", "a = = 1\n", "a.b = 1\n", "a-b-- = 1\n", "-a = 1\n", "_a = 1\n", "1a = 1\n", "\"a\" = 1\n", "\u00e9 = 1\n", "a=-1\n",
    "a = 1; b = 2\n", "a = 'x'\n", "a = 1\x0c\n", "a\u00a0= 1\n", "a = 1 \\\n", "a = \u201cx\u201d\n", "\ta\t=\t1\t\n", "a = \"\t\"\n", "a = true false\n",
]


def damage(rnd, text):
    for _ in range(rnd.choice([1, 1, 1, 2, 3])):
        at, n = rnd.randrange(len(text) + 1), rnd.choice([1, 1, 2, 5])
        text = rnd.choice([
            text[:at] + text[at + n:],
            text[:at] + rnd.choice(SNIPPETS) + text[at:],
            text[:at] + rnd.choice(SNIPPETS) + text[at + n:],
            text[:at] + text[at:at + n] + text[at:],
            text[:at],
        ])
    return text


def dump(folder, docs, suffix):
    """What conf says of each text, written as files of folder."""
    paths = []
    for i, doc in enumerate(docs):
        path = folder / f"{i}{suffix}"
        path.write_bytes(doc.encode())
        paths.append(path)
    out = []
    for i in range(0, len(paths), 200):
        done = subprocess.run([DUMP] + [str(p) for p in paths[i:i + 200]], stdout=subprocess.PIPE, check=True)
        out += [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert len(out) == len(docs)
    return paths, out


def terraform(*args, cwd):
    return subprocess.run(["terraform", *args], cwd=cwd, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def drawn(seed):
    """Documents, and damaged ones."""
    rnd = random.Random(seed)
    grammar = Grammar(rnd, 0)
    whole = [Grammar(rnd, rnd.choice([0, 0, 0.01, 0.05])).document() for _ in range(DOCS)]
    small = [rnd.choice([grammar.attribute()[0] + "\n", grammar.block(2) + "\n", rnd.choice(EDGES)]) for _ in range(SMALL)]
    return EDGES + whole + [damage(rnd, d) for d in whole + small]


def check_fmt(seed, folder):
    docs = drawn(seed)
    paths, results = dump(folder, docs, ".tf")
    accepted = [p for p, r in zip(paths, results) if "tree" in r]
    for p, r in zip(paths, results):
        if "tree" not in r:
            p.unlink()
    print(f"# seed {seed}: {len(accepted)} of {len(docs)} documents accepted")
    assert len(accepted) > len(docs) // 4, "the grammar draws too little that conf accepts"
    assert len(docs) - len(accepted) > len(docs) // 4, "the grammar draws too little that conf refuses"
    done = terraform("fmt", "-write=false", "-list=false", "-no-color", ".", cwd=folder)
    if done.returncode != 0:
        for p in accepted:
            one = terraform("fmt", "-write=false", "-list=false", "-no-color", p.name, cwd=folder)
            if one.returncode != 0:
                raise AssertionError(f"accepted by conf, refused by terraform fmt:\n{p.read_bytes()!r}\n{one.stdout.decode()}")
    assert done.returncode == 0, done.stdout.decode()


def rewritten(block):
    """Terraform fmt (1.11) writes labels anew: normalised, and without those that hold "$" or "%" among other characters."""
    return any(set("$%\u00a0") & set(l) or unicodedata.normalize("NFC", l) != l for l in block["labels"]) or \
        any(rewritten(b) for b in block["blocks"])


def check_print(seed, folder):
    """What conf prints is laid out as terraform fmt would, and conf accepts it again."""
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    _, results = dump(folder / "in", drawn(seed), ".hcl")
    printed = [r["printed"] for r in results if "tree" in r and not rewritten(r["tree"])]
    assert len(printed) > DOCS // 2
    paths, again = dump(folder / "out", printed, ".tf")
    for text, r in zip(printed, again):
        assert "tree" in r, f"printed by conf, refused by conf: {r['error']}\n{text!r}"
        assert r["printed"] == text, f"printed differently the second time:\n{text!r}\n{r['printed']!r}"
    done = terraform("fmt", "-check", "-list=true", "-write=false", "-diff", "-no-color", ".", cwd=folder / "out")
    assert done.returncode == 0, f"terraform fmt would change what conf prints:\n{done.stdout.decode()[:3000]}"


def meaning(v):
    """A value of conf_dump, or of terraform's JSON, in comparable form. Terraform normalises strings to NFC."""
    if isinstance(v, dict) and list(v) == ["number"]:
        return decimal.Decimal(v["number"])
    if isinstance(v, dict):
        return {unicodedata.normalize("NFC", k): meaning(x) for k, x in v.items()}
    if isinstance(v, list):
        return [meaning(x) for x in v]
    if isinstance(v, str):
        return unicodedata.normalize("NFC", v)
    return v


def check_values(seed, folder):
    """The same values through terraform: outputs of an empty configuration."""
    rnd = random.Random(seed)
    (folder / "in").mkdir()
    (folder / "tf").mkdir()
    grammar = Grammar(rnd, 0, refs=False)
    drawn_values = [grammar.value() for _ in range(VALUES)] + [grammar.heredoc() for _ in range(VALUES // 4)]
    _, results = dump(folder / "in", [f"v = {v}\n" for v in drawn_values], ".hcl")
    kept = [(v, r["tree"]["attrs"]["v"]) for v, r in zip(drawn_values, results) if "tree" in r]
    assert len(kept) > len(drawn_values) // 2
    text = "".join(f'output "o{i}" {{\n  value = [{v}\n]\n}}\n' for i, (v, _) in enumerate(kept))
    (folder / "tf" / "main.tf").write_bytes(text.encode())
    done = terraform("apply", "-auto-approve", "-no-color", "-input=false", cwd=folder / "tf")
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    out = json.loads(terraform("output", "-json", cwd=folder / "tf").stdout, parse_float=decimal.Decimal)
    for i, (v, ours) in enumerate(kept):
        theirs = out[f"o{i}"]["value"][0]
        assert meaning(ours) == meaning(theirs), f"{v!r}\nconf:      {ours!r}\nterraform: {theirs!r}"
    print(f"# seed {seed}: {len(kept)} values agree")


def main():
    tests = [(f"{fn.__name__.replace('check_', 'conf and terraform: ')} (seed {SEED + n})", fn, SEED + n)
             for n in range(ROUNDS) for fn in (check_fmt, check_print, check_values)]
    failed = 0
    for i, (name, fn, seed) in enumerate(tests, 1):
        if shutil.which("terraform") is None:
            print(f"# terraform is not on this machine\nok {i} {name} # SKIP")
            continue
        with tempfile.TemporaryDirectory(prefix="stateferry-conf.") as folder:
            try:
                fn(seed, pathlib.Path(folder))
                print(f"ok {i} {name}")
            except (AssertionError, subprocess.SubprocessError, OSError) as e:
                failed += 1
                print("\n".join("# " + line for line in str(e).splitlines()))
                print(f"not ok {i} {name}")
    print(f"1..{len(tests)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
