"""Gate report: the verdict for programs (JSON), for people who were not there (Markdown), and as a badge (SVG).

No secret stands in it, and no name of this machine; of channels only what the doctor shows of them.
"""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from tocsin.cli.gate_check import Checked
from tocsin.cli.plain import plain
from tocsin.wiring.machine import build_clock
from tocsin.wiring.stores import store_versions

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COLOURS = {"passed": "#2e7d32", "warned": "#b26a00", "failed": "#c62828"}
CHARACTER_WIDTH = 7
"""In pixels, of the badge's text at 11 px; fonts differ, so `textLength` holds them to it."""


def verdict(made: Sequence[Checked], failed: Sequence[str]) -> str:
    """Give the verdict in a word: passed, warned (which is passed too) or failed."""
    if failed:
        return "failed"
    return "warned" if any(one.verdict == "WARN" for one in made) else "passed"


def as_answer(made: Sequence[Checked], failed: Sequence[str]) -> dict[str, Any]:
    """Give all of it as JSON has it."""
    return {
        "ok": not failed,
        "verdict": verdict(made, failed),
        "failed": list(failed),
        "at": _now(),
        "seconds": round(sum(one.seconds for one in made), 3),
        "versions": versions(),
        "checks": [
            {
                "name": one.name,
                "verdict": one.verdict,
                "seconds": round(one.seconds, 3),
                "said": one.found.said,
                "step": one.found.step,
                "wrong": list(one.found.wrong),
                "differs": [{"expected": expected, "found": found} for expected, found in one.found.differs],
                "figures": dict(one.found.figures),
            }
            for one in made
        ],
    }


def versions() -> dict[str, str]:
    """Name what was looked at, and on what kind of machine."""
    apsw, sqlite = store_versions()
    return {
        "tocsin": version("tocsin"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "apsw": apsw,
        "sqlite": sqlite,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": str(os.cpu_count() or 0),
    }


def _now() -> str:
    at = EPOCH + timedelta(microseconds=build_clock().wall())
    return at.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def as_markdown(made: Sequence[Checked], failed: Sequence[str]) -> str:
    """Write the report."""
    words = {"passed": "passed", "warned": "passed, with warnings", "failed": f"failed: {', '.join(failed)}"}
    lines = ["# The gate of Tocsin", "", f"**Gate {words[verdict(made, failed)]}** ({_now()})."]
    lines += ["", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in versions().items()]
    lines += ["", "| check | verdict | seconds | what was found |", "|---|---|---|---|"]
    for one in made:
        said = f"{one.found.said} {one.found.step}".strip()
        lines.append(f"| {one.name} | {one.verdict} | {one.seconds:.1f} | {_cell(said)} |")
    for one in made:
        lines += _details(one)
    return "\n".join([*lines, ""])


def _details(one: Checked) -> list[str]:
    found = one.found
    lines = [f"- {_cell(wrong)}" for wrong in found.wrong]
    if found.differs:
        lines += ["", "| expected | found |", "|---|---|"]
        lines += [f"| {_cell(expected)} | {_cell(there)} |" for expected, there in found.differs]
    for name, figure in found.figures.items():
        if isinstance(figure, dict):
            lines += ["", f"| {name} | |", "|---|---|"]
            lines += [f"| {_cell(key)} | {_cell(value)} |" for key, value in figure.items()]
        else:
            lines.append(f"- {name}: {_cell(figure)}")
    return ["", f"## {one.name}", "", *lines] if lines else []


_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|~!"})


def _cell(value: object) -> str:
    """Write text from anywhere as Markdown that shows only itself, in one line."""
    return plain(value).translate(_MARKS)


def as_badge(made: Sequence[Checked], failed: Sequence[str]) -> str:
    """Draw the badge: what it is about, and the verdict."""
    word = verdict(made, failed)
    label = f"tocsin {versions()['tocsin']} gate"
    passed = sum(one.verdict == "PASS" for one in made)
    said = f"{word} {passed}/{len(made)}"
    left, right = (CHARACTER_WIDTH * len(part) + 14 for part in (label, said))
    width = left + right
    parts = []
    for part, middle, length in ((label, left / 2, left - 14), (said, left + right / 2, right - 14)):
        parts.append(
            f'<text x="{middle:g}" y="14" text-anchor="middle" textLength="{length}" '
            f'lengthAdjust="spacingAndGlyphs">{escape(part)}</text>'
        )
    title = f"{label}: {said}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" '
        f"aria-label={quoteattr(title)}>\n"
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{width}" height="20" rx="3" fill="#424242"/>\n'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1 -3 3H{left}z" fill="{COLOURS[word]}"/>\n'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">\n'
        + "\n".join(parts)
        + "\n</g>\n</svg>\n"
    )
