"""Rule explain: a rule in words: whom it asks what, when, by which formula it judges, and what that comes to now."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from tocsin.cli import rule_words
from tocsin.cli.exits import told
from tocsin.cli.rule_load import load, rules_argument
from tocsin.cli.rule_test import SCOPES_SHOWN, exit_for, heading, look
from tocsin.cli.show import console, facts, labels, output_option, show_json, text, wants_json
from tocsin.cli.times import PAST, Moment

if TYPE_CHECKING:
    from rich.console import Console

    from tocsin.core.model.rule import Rule
    from tocsin.runtime.trial import Trial

LOOKS_TOLD = 3

FORMULAS = {
    "threshold": ("reduce(points) op limit", ""),
    "delta_pct": ("100 * (now - before) / |before| op limit", ""),
    "slope": (
        "slope = sum((t - mean t)(v - mean v)) / sum((t - mean t)^2) op limit",
        "least squares: Montgomery, Peck and Vining, Introduction to Linear Regression Analysis, 2.2",
    ),
    "break": (
        "S+ = max(0, S+ + z - k), S- = max(0, S- - z - k); the larger one >= h",
        "CUSUM: Page, Continuous Inspection Schemes, Biometrika 41, 1954; NIST/SEMATECH e-Handbook, 6.3.2.3",
    ),
    "outlier": (
        "0.6745 * (last - median) / MAD >= limit",
        "modified z-score: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993",
    ),
    "absent": ("time since the newest point >= limit", ""),
    "burn_rate": (
        "((total - good) / total) / (1 - objective) >= factor, over the long window and over the short one",
        "multiwindow, multi-burn-rate: Google, The Site Reliability Workbook, chapter 5",
    ),
}
"""Kind of trigger -> its formula, and where that comes from."""


@click.command()
@rules_argument
@click.option("--at", type=PAST, metavar="TIME", help="Explain the look at this moment. Default: now.")
@output_option
def explain(
    what: str,
    rule_ids: tuple[str, ...],
    config: Path | None,
    data: Path,
    at: Moment | None,
    output: str | None,
) -> None:
    """Say in words what the rules of FILE do, or a configured one, with the numbers of now filled in.

    Nobody is told, and nothing is remembered. Exit codes as of `tocsin rule test`.
    """
    with told():
        loaded = load(what, rule_ids, config, data)
        made = look(loaded, at)
    if wants_json(output):
        from tocsin.cli.rule_answer import trial_answer

        show_json(
            {"rules": [trial_answer(one, points=False) | {"explained": explained(one)} for one in made]}
        )
    else:
        out = console()
        for one in made:
            _show(out, one)
    exit_for([one.failure for one in made])


def explained(made: "Trial") -> dict[str, Any]:
    """Give the words, by what they are about."""
    from tocsin.core.model.policy import SECOND
    from tocsin.core.rules.plain import plain

    rule = made.rule
    settings = plain(rule.trigger, lambda length: length / SECOND)
    kind = settings["kind"]
    formula, origin = FORMULAS[kind]
    return {
        "says": rule.description,
        "asks": rule.source,
        "questions": list(_questions(rule, made.at)),
        "looks": _when(rule, made.at),
        "formula": f"{formula} ({kind})",
        "source": origin,
        "where": ", ".join(rule_words.terms(settings)),
        "fires": f"{rule_words.steps(settings)}; {rule_words.once(rule.looks, rule.of)}",
        "no data": rule_words.no_data(kind, rule.no_data),
        "scopes": _scopes(rule),
        "labels": labels(rule.labels | rule.scope),
        "owner": rule.owner,
        "runbook": rule.runbook,
    }


def _show(out: "Console", made: "Trial") -> None:
    said = explained(made)
    questions = said.pop("questions")
    out.print(text(made.rule.rule_id, "bold"))
    facts(out, [(name, value) for name, value in said.items() if name in ("says", "asks")])
    for one in questions:
        out.print(text(f"    {one['name']}: from {one['since']} to {one['until']}", "dim"))
        out.print(text(f"      {one['query']}"))
    facts(out, [(name, value) for name, value in said.items() if name not in ("says", "asks")])
    out.print(text(f"  at {_moment(made.at, made.rule.zone)}:", "bold"))
    if made.failure:
        out.print(text(f"  no answer: {made.failure}", "bold red"))
    for glance in made.glances[:SCOPES_SHOWN]:
        out.print(heading(glance))
    if len(made.glances) > SCOPES_SHOWN:
        out.print(text(f"  and {len(made.glances) - SCOPES_SHOWN} more scopes: --output json", "dim"))
    out.print()


def _questions(rule: "Rule", at: int) -> Iterator[dict[str, str]]:
    from tocsin.core.rules import triggers

    for ask in triggers.asks(rule, at):
        since, until = (_moment(one, rule.zone) for one in (ask.since, ask.until))
        yield {"name": ask.name, "since": since, "until": until, "query": ask.query}


def _when(rule: "Rule", at: int) -> str:
    from tocsin.core.model.rule import Cron
    from tocsin.core.rules import schedule
    from tocsin.core.rules.triggers import wording

    if not rule.enabled:
        return "never, because it is not enabled"
    every = (
        f"when the clocks show {rule.every.expression}"
        if isinstance(rule.every, Cron)
        else f"every {wording.each(rule.every.length)}"
    )
    following = []
    for _ in range(LOOKS_TOLD):
        at = schedule.next_due(rule, at)
        following.append(_moment(at, rule.zone))
    return f"{every}; next {', '.join(following)}"


def _scopes(rule: "Rule") -> str:
    if rule.by is None:
        return "one for each combination of all labels that the answer has"
    return f"one for each {', '.join(rule.by)}" if rule.by else "one for all"


def _moment(at: int, zone: str) -> str:
    from tocsin.core.model.policy import SECOND

    moment = datetime.fromtimestamp(at // SECOND, tz=UTC).astimezone(ZoneInfo(zone))
    return f"{moment:%Y-%m-%d %H:%M:%S} {zone}"
