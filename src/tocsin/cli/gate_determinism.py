"""Gate: notify_determinism. Does the same input give the same ledger, wherever it is decided?

Asked twice: of two processes under other hash seeds, time zones and languages, and of the source itself.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import tocsin
from tocsin.cli.gate_check import Asked, Found
from tocsin.cli.gate_impurities import impurities, set_fields
from tocsin.settings import child_environment

PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from tocsin.cli.gate_world import main; main()"
WORLDS: tuple[Mapping[str, str], ...] = (
    {"PYTHONHASHSEED": "1", "TZ": "UTC", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
    {
        "PYTHONHASHSEED": "4242",
        "TZ": "Pacific/Chatham",
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "",
        "PYTHONUTF8": "0",
    },
)
PATIENCE_S = 60.0
PURE = ("core", "intake")
"""The rooms that must depend on their input alone."""


def determinism(asked: Asked) -> Found:
    """Play everything in two worlds at the same time and compare the roots; meanwhile read the source."""
    package = Path(tocsin.__path__[0])
    playing = [_play(world, package.parent) for world in WORLDS]
    try:
        files, wrong = _read(package)
        here, there = (_ended(process) for process in playing)
    finally:
        for process in playing:
            process.kill()
            process.wait()
    for name in sorted({*here, *there}):
        one, other = here.get(name, "nothing"), there.get(name, "nothing")
        if one != other:
            wrong.append(f"{name}: two worlds come to different ledgers: {one[:24]}... and {other[:24]}...")
    figures = {"ledgers": here, "files": files}
    if wrong:
        return Found(
            "fail", f"{len(wrong)} things depend on more than the input.", wrong=tuple(wrong), figures=figures
        )
    said = f"Two worlds (hash seed, time zone, language) come to the same {len(here)} ledgers, byte for byte"
    if not files:
        step = "Run the gate where the source is installed too, if that matters."
        return Found("warn", f"{said}; there is no source to read.", step, figures=figures)
    return Found(
        "ok", f"{said}; no banned name is in {files} files of the core and the intake.", figures=figures
    )


def _play(world: Mapping[str, str], folder: Path) -> "subprocess.Popen[str]":
    """Begin to play in a process of its own. folder: where the package lies."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=child_environment(world),
    )


def _ended(process: "subprocess.Popen[str]") -> dict[str, str]:
    """Wait for what a process prints. Raises: RuntimeError if it failed."""
    out, err = process.communicate(timeout=PATIENCE_S)
    if process.returncode:
        lines = err.strip().splitlines()
        raise RuntimeError(
            f"a world ended with {process.returncode}: {lines[-1] if lines else 'it said nothing'}"
        )
    roots: dict[str, str] = json.loads(out)
    return roots


def _read(package: Path) -> tuple[int, list[str]]:
    """Look for what asks the machine, or reads a set in its order: how many files were read, and what was found."""
    sources = {
        path: path.read_text(encoding="utf-8")
        for room in PURE
        for path in sorted((package / room).rglob("*.py"))
    }
    fields = set_fields(ast.parse(source) for source in sources.values())
    return len(sources), [
        f"{path.relative_to(package)}:{what}"
        for path, source in sources.items()
        for what in impurities(source, fields=fields, floats=path.is_relative_to(package / "core" / "ledger"))
    ]
