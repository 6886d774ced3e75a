# SPDX-License-Identifier: MIT
"""The table: rows in sections, each with a figure, what it stands beside, its budget and whether that is met."""


class Row:
    """One line. budget: (text, met) or None; beside: a ratio or a word about a peer."""

    def __init__(self, what, figure, beside="", budget=None):
        self.what, self.figure, self.beside = what, figure, beside
        self.budget, self.met = budget if budget else ("", None)

    def cells(self):
        return [self.what, self.figure, self.beside, self.budget, {None: "", True: "met", False: "**not met**"}[self.met]]


class Table:
    """Collects rows and prints each as it comes, so that a long run shows that it lives."""

    def __init__(self):
        self.sections = []

    def section(self, title, note=""):
        self.sections.append((title, note, []))
        print(f"== {title}", flush=True)

    def row(self, *args, **kw):
        row = Row(*args, **kw)
        self.sections[-1][2].append(row)
        print("  " + " | ".join(c for c in row.cells() if c), flush=True)

    def missed(self):
        return [r for _, _, rows in self.sections for r in rows if r.met is False]

    def markdown(self, head):
        out = [head]
        for title, note, rows in self.sections:
            out += [f"## {title}", ""]
            out += [note, ""] if note else []
            out += ["| what | figure | beside | budget | |", "|---|---|---|---|---|"]
            out += ["| " + " | ".join(r.cells()) + " |" for r in rows] + [""]
        return "\n".join(out)


def at_most(value, limit, text):
    return f"≤ {text}", value <= limit


def at_least(value, limit, text):
    return f"≥ {text}", value >= limit


def ratio(ours, theirs):
    """How many times less of something we need: "3.1 ×" is three times less than the peer."""
    return f"{theirs / ours:.1f} ×" if ours > 0 else "–"


def seconds(s):
    return f"{s:.2f} s" if s >= 1 else f"{s * 1000:.1f} ms" if s >= 0.0001 else f"{s * 1e6:.0f} µs"


def size(n):
    for unit, limit in (("MB", 10 ** 6), ("KB", 10 ** 3)):
        if n >= limit:
            return f"{n / limit:.2f} {unit}"
    return f"{n:.0f} B"
