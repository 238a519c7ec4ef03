"""A verb loads only what it needs, so that it is there at once; what takes its time is named here.

Nothing is timed: what is not imported costs nothing on any machine.
"""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.cli.running import environment

from tocsin.cli.main import VERBS, main

HEAVY = (
    "pydantic", "fastapi", "starlette", "aiohttp", "rich", "uvicorn", "uvloop", "apsw", "structlog", "yaml",
    "prometheus_client", "joserfc", "cryptography", "aiosmtplib", "re2", "dateutil", "msgspec",
)  # fmt: skip

CLIENTS: list[list[str]] = [
    ["status"],
    ["send", "--rule-id", "disk", "--severity", "error", "--message", "x"],
    ["ack", "1"],
    ["resolve", "1"],
    ["note", "1", "x"],
    ["stats"],
    ["deliveries", "list"],
    ["token", "list"],
    ["why", "1"],
    ["rule", "list"],
    ["rule", "show", "x"],
]

REPORT = """
import sys
from tocsin.cli.main import main
try:
    main(sys.argv[1:], prog_name="tocsin")
finally:
    print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def run(*arguments: str) -> tuple[str, str, set[str]]:
    """Run a verb: what it said on stdout and stderr, and what it had loaded at its end."""
    ran = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments],
        capture_output=True, text=True, check=False, timeout=60, env=environment(),
    )  # fmt: skip
    err, _, loaded = ran.stderr.rpartition("loaded:")
    assert loaded, ran.stderr
    return ran.stdout, err, set(loaded.split())


def test_help_loads_nothing_heavy() -> None:
    out, _, loaded = run("--help")

    assert all(verb in out for verb in VERBS)
    assert loaded & {*HEAVY, "asyncio"} == set()


@pytest.mark.parametrize("verb", VERBS)
def test_what_help_says_of_a_verb_is_what_the_verb_says(verb: str) -> None:
    command = main.get_command(click.Context(main), verb)

    assert command is not None
    assert VERBS[verb][2] == command.get_short_help_str(200)


@pytest.mark.parametrize("words", CLIENTS, ids=" ".join)
def test_a_verb_that_asks_a_server_loads_nothing_heavy_until_it_has_asked(words: list[str]) -> None:
    _, err, loaded = run(*words, "--url", "http://127.0.0.1:9")

    assert "http://127.0.0.1:9 cannot be reached" in err
    assert loaded & set(HEAVY) == set()


def test_a_verb_that_finds_no_server_says_so_without_loading_one(tmp_path: Path) -> None:
    _, err, loaded = run("status", "--data", str(tmp_path))

    assert "There is no Tocsin" in err
    assert loaded & set(HEAVY) == set()


def test_the_names_of_what_is_heavy_are_right() -> None:
    script = f"import importlib.util as u; print([n for n in {HEAVY!r} if u.find_spec(n) is None])"

    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert ran.stdout.strip() == "[]"
