"""The core and the intake depend on their input alone, also where no linter looks."""

import ast

import pytest
from tests.architecture.project import PACKAGE

from tocsin.cli.gate_impurities import impurities, set_fields

PURE = sorted([*(PACKAGE / "core").rglob("*.py"), *(PACKAGE / "intake").rglob("*.py")])


def test_the_core_and_the_intake_depend_on_their_input_alone():
    fields = set_fields(ast.parse(path.read_text()) for path in PURE)

    found = [
        f"{path.relative_to(PACKAGE)}:{what}"
        for path in PURE
        for what in impurities(
            path.read_text(), fields=fields, floats=path.is_relative_to(PACKAGE / "core/ledger")
        )
    ]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        'for name in {"a", "b"}: pass',
        'for name in set("ab"): pass',
        'for name in frozenset("ab") | other: pass',
        "for name in set(a).union(b): pass",
        "names = [name for name in set(a)]",
        "names = {name: 1 for name in {*a}}",
        "names = list({*a})",
        "names = tuple(set(a) - set(b))",
        "first = next(iter(set(a)))",
        "pairs = zip(a, set(b))",
        'line = ",".join(set(a))',
        "order = dict.fromkeys(set(a))",
        "names = [*set(a)]",
        "seen = set(a)\nfor name in seen: pass",
        "seen: set[str] = make()\nfor name in seen: pass",
        "def f(names: frozenset[str]):\n    for name in names: pass",
        "def f(names: set[str] | None):\n    return [name for name in names]",
        "class C:\n    names: frozenset[str]\ndef f(c):\n    for name in c.names: pass",
        "def f():\n    yield from set(a)",
        "seen = set(a)\none = seen.pop()",
    ],
)
def test_a_set_that_is_read_in_its_order_is_found(code):
    assert [what for what in impurities(code) if "a set has no order" in what]


@pytest.mark.parametrize(
    "code",
    [
        "for name in sorted({*a}): pass",
        "names = sorted(name for name in set(a))",
        "known = name in {1, 2}",
        "both = set(a) & set(b)",
        "count = len(set(a))",
        "some = any(name > 1 for name in set(a))",
        "names = {name for name in set(a)}",
        "seen = set(a)\nseen = sorted(seen)\nfor name in seen: pass",
        "def f(names: tuple[str, ...]):\n    for name in names: pass",
        "for name in {'a': 1}: pass",
        "half = number // 2",
    ],
)
def test_what_does_not_depend_on_the_order_passes(code):
    assert not list(impurities(code))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("key = hash(name)", "take a digest"),
        ("key = id(name)", "address in memory"),
        ('text = open("f").read()', "the shell"),
        ('print("x")', "the shell"),
        ('time = __import__("time")', "cannot see"),
        ("at = eval(code)", "cannot see"),
        ("from datetime import datetime as d\nat = d.now()", ".now asks the machine"),
        ("make = datetime.utcnow", ".utcnow asks the machine"),
        ("day = date.today()", ".today asks the machine"),
        ("at = clock.monotonic_ns()", ".monotonic_ns asks the machine"),
        ("import random", "random is the clock, chance or the machine"),
        ("import os.path as harmless", "os.path is the clock, chance or the machine"),
        ("from time import time_ns as harmless", "time is the clock, chance or the machine"),
        ('at = getattr(datetime, "now")()', "by another way"),
        ("async def f(): pass", "nothing in here waits"),
        ("def f():\n    global state", "a value that is passed"),
    ],
)
def test_what_asks_the_machine_is_found(code, said):
    assert [what for what in impurities(code) if said in what]


@pytest.mark.parametrize("code", ["share = 0.5", "share = part / whole", "share = float(text)"])
def test_a_float_is_found_where_floats_are_refused(code):
    assert list(impurities(code, floats=True))
    assert not list(impurities(code))
