"""What a run says: the table on the screen, and the same as JSON and Markdown."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.rounds import NOISE_MAX, Result, Verdict, judge
from benchmarks.trial import Measurement, Row

COLOURS = {"aim reached": "green", "passes": "green", "below": "yellow", "failed": "red"}
LOAD_BUSY = 0.90
"""From this share of its core on the load, not the server, may be what a row measures."""

COLUMNS = ("row", "tocsin", "peer", "ratio", "at least", "aim", "verdict")


def number(value: float | None) -> str:
    """A figure with three significant digits or, from 1,000 on, without decimals."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bar(row: Row, bar: float) -> str:
    if row.compare == "ratio":
        return f"{bar:g} x"
    return f"{'>=' if row.better == 'higher' else '<='} {bar:g} {row.unit}"


def _cells(result: Result, row: Row) -> tuple[list[str], Verdict]:
    verdict = judge(result, row)
    peer = "-" if not result.peer else result.peer_absent or number(verdict.peers)
    ratio = "-" if verdict.ratio is None else f"{verdict.ratio:.2f} x"
    cells = [
        f"{row.title}, {row.unit}",
        number(verdict.ours),
        peer,
        ratio,
        _bar(row, row.at_least),
        _bar(row, row.aim),
    ]
    return cells, verdict


def _remarks(result: Result) -> list[str]:
    """What a reader must know of these rounds beside the figures."""
    remarks = []
    if result.noise() > NOISE_MAX:
        remarks.append(f"noisy: others used up to {result.noise():.2f} cores in a round that counts")
    if result.discarded:
        remarks.append(f"{result.discarded} noisy trials done again")
    for subject, measurements in result.measurements.items():
        if measurements:
            load = median(one.load_cpu for one in measurements)
            limit = ", which may limit it" if load >= LOAD_BUSY else ""
            remarks.append(f"generator and sink used {load:.0%} of their core beside {subject}{limit}")
    return remarks


def table(results: Sequence[Result]) -> Table:
    """The table for the screen."""
    shown = Table(title="Medians over the rounds; the ratio is ours to the peer's", title_justify="left")
    for column in COLUMNS:
        words = column in ("row", "verdict")
        shown.add_column(column, justify="left" if words else "right", no_wrap=column != "row")
    for result in results:
        for row in result.experiment.rows:
            cells, verdict = _cells(result, row)
            colour = COLOURS.get(verdict.word)
            shown.add_row(*cells, f"[{colour}]{verdict.word}[/]" if colour else verdict.word)
    return shown


def show(console: Console, results: Sequence[Result]) -> None:
    """Print the table, the remarks and everything that failed."""
    console.print(table(results))
    for result in filter(_remarks, results):
        console.print(
            f"{result.experiment.name}: {'; '.join(_remarks(result))}.", style="dim", highlight=False
        )
    for result in results:
        for why in (*result.failures(result.ours), *result.failures(result.peer)):
            console.print(
                f"{result.experiment.name} FAILED: {why}", style="red", markup=False, highlight=False
            )
        for measurement in (one for many in result.measurements.values() for one in many if one.log_tail):
            console.print(f"The end of its log:\n{measurement.log_tail}", markup=False, highlight=False)


def _subject(measurements: Sequence[Measurement], key: str) -> dict[str, object] | None:
    values = [one.figures[key] for one in measurements if key in one.figures]
    if not values:
        return None
    return {"median": median(values), "min": min(values), "max": max(values), "rounds": values}


def as_json(results: Sequence[Result], *, at: datetime, machine: Mapping[str, str], scale: str) -> str:
    """Everything that was measured, for programs."""
    rows: list[dict[str, object]] = []
    trials: dict[str, object] = {}
    for result in results:
        for row in result.experiment.rows:
            verdict = judge(result, row)
            rows.append(
                {
                    "key": row.key,
                    "title": row.title,
                    "unit": row.unit,
                    "compare": row.compare,
                    "better": row.better,
                    "at_least": row.at_least,
                    "aim": row.aim,
                    "ratio": verdict.ratio,
                    "verdict": verdict.word,
                    **{
                        name: _subject(result.measurements.get(name, []), row.key)
                        for name in (result.ours, result.peer)
                        if name
                    },
                }
            )
        trials[result.experiment.name] = {
            "discarded": result.discarded,
            **{
                subject: [
                    {
                        "details": one.details,
                        "load_cpu": one.load_cpu,
                        "noise_cores": one.noise,
                        "failures": one.failures,
                    }
                    for one in measurements
                ]
                for subject, measurements in result.measurements.items()
            },
        }
    whole = {"at": at.isoformat(timespec="seconds"), "scale": scale, "machine": dict(machine), "rows": rows}
    return json.dumps({**whole, "trials": trials}, indent=2) + "\n"


def as_markdown(results: Sequence[Result], *, at: datetime, machine: Mapping[str, str], scale: str) -> str:
    """The table for people, with the machine's facts and the remarks."""
    lines = [f"# Benchmarks, {at:%Y-%m-%d %H:%M} UTC", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += [f"- scale: {scale}", "", "Medians over the rounds; the ratio is ours to the peer's.", ""]
    lines += [f"| {' | '.join(COLUMNS)} |", f"|---|{'---:|' * 5}---|"]
    for result in results:
        for row in result.experiment.rows:
            cells, verdict = _cells(result, row)
            lines.append(f"| {' | '.join([*cells, verdict.word])} |")
    lines.append("")
    lines += [
        f"- {result.experiment.name}: {'; '.join(_remarks(result))}." for result in filter(_remarks, results)
    ]
    failed = [
        f"- {result.experiment.name} failed: {why.splitlines()[0]}"
        for result in results
        for why in (*result.failures(result.ours), *result.failures(result.peer))
    ]
    return "\n".join([*lines, *([""] if failed else []), *failed]) + "\n"


def write(
    folder: Path, results: Sequence[Result], *, machine: Mapping[str, str], scale: str
) -> tuple[Path, Path]:
    """Write both files, named by the day (a second run of a day gets `-2`); their paths, JSON first."""
    at = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    stem, attempt = f"{at:%Y-%m-%d}", 1
    while (folder / f"{stem}.json").exists():
        attempt += 1
        stem = f"{at:%Y-%m-%d}-{attempt}"
    as_data, as_text = folder / f"{stem}.json", folder / f"{stem}.md"
    as_data.write_text(as_json(results, at=at, machine=machine, scale=scale))
    as_text.write_text(as_markdown(results, at=at, machine=machine, scale=scale))
    return as_data, as_text
