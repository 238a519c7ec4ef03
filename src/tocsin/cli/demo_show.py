"""Demo show: how the demo looks: lines that stay, at 80 columns, the same at a terminal and in a pipe."""

import email
import email.message
import email.policy
import json
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tocsin.cli.demo_check import Check
from tocsin.cli.demo_rule import of_rule
from tocsin.cli.demo_sinks import Mailbox, Post, WebServer, is_signed
from tocsin.cli.demo_storm import BEATS
from tocsin.cli.show import SEVERITY_STYLE, STATE_STYLE, console, table, text

WIDTH = 80
INDENT = 10


class Stage:
    """Says what happens, as it happens."""

    def __init__(self, alerts: int, minutes: float) -> None:
        self._out: Console = console()
        self._out.width = min(WIDTH, self._out.width)
        self._alerts = alerts
        self._minutes = minutes
        self._beat = 0
        self._count = 0
        self._news: list[tuple[int, str]] = []

    def _title(self, words: str) -> None:
        self._out.print()
        self._out.print(Text(words, style="bold"))

    def begins(self, url: str) -> None:
        """Say what this is."""
        self._out.print(
            Text.assemble(
                ("Tocsin", "bold"),
                " takes alerts in, makes incidents of them, tells people, and can prove it.\n"
                f"Here a payments company's database fails over: {self._alerts} alerts in "
                f"{self._minutes:.0f} minutes,\n"
                f"played in seconds to a real server at {url}.\n"
                "Mail, Teams and webhook are stand-ins; nothing leaves this machine.",
            )
        )
        self._title("What comes in")

    def at(self, at: int) -> None:
        """The story is at this second of its own; a new beat of it may begin."""
        while self._beat < len(BEATS) and at >= BEATS[self._beat][0] * 60:
            self._flush()
            minute, words = BEATS[self._beat]
            self._out.print(Text.assemble((f"  {int(minute):>2} min  ", "dim"), words))
            self._beat += 1

    def came_in(self, alerts: int, news: list[tuple[int, str]]) -> None:
        """So many alerts were answered, and these incidents opened or came back."""
        self._count += alerts
        self._news += news

    def _flush(self) -> None:
        """Sum up the beat that ends."""
        if self._count:
            lines = [[(f"{self._count} alerts", "cyan")]]
            room = WIDTH - INDENT
            for number, service in self._news:
                name = f"  #{number} {service}"
                if sum(len(part) for part, _ in lines[-1]) + len(name) > room:
                    lines.append([(" " * len(lines[0][0][0]), "")])
                lines[-1].append((name, "bold red"))
            for line in lines:
                self._out.print(Text.assemble(" " * INDENT, *line))
        self._count, self._news = 0, []

    def killed(self, requests: int, tally: Any) -> None:
        """The server was killed."""
        self._flush()
        self._out.print(
            Text.assemble(
                ("  kill -9 ", "bold white on red"),
                f" The server dies, on purpose. {tally.requests_unanswered} of {requests} requests get no\n"
                f"           answer ({tally.unanswered} alerts), and a notification was on the wire.",
            )
        )

    def is_back(self, tally: Any) -> None:
        """The server is up again, and has all that it had not answered."""
        self._out.print(
            Text.assemble(
                ("  restart ", "bold white on green"),
                f" Up again after {tally.down_s:.1f} s. Only those {tally.unanswered} alerts are sent again.",
            )
        )

    def incidents(self, incidents: list[dict[str, Any]], looks: dict[int, int]) -> None:
        """Show what became of the storm."""
        self._flush()
        incidents = [one for one in incidents if one not in of_rule(incidents)]
        self._title(f"What people see: {self._alerts} alerts became {len(incidents)} incidents")
        shown = table(">#", "state", "severity", ">alerts", "what", ">told", wide="what")
        for one in incidents:
            told = sum(delivery["state"] in ("delivered", "accepted") for delivery in one["deliveries"])
            name = f"{one['labels']['service']}: {one['rule_id']}"
            shown.add_row(
                text(one["number"], "bold"),
                text(one["state"], STATE_STYLE[one["state"]]),
                text(one["severity"], SEVERITY_STYLE[one["severity"]]),
                text(looks.get(one["number"], 0)),
                text(name, one_line=True),
                text(told),
            )
        self._out.print(Padding(shown, (0, 0, 0, 2)))

    def rule(self, incidents: list[dict[str, Any]], days: int) -> None:
        """Show what the rule saw."""
        self._title(f"What a rule saw meanwhile, in a database: {days} real days of Seattle's weather")
        for one in incidents:
            lines = [
                f"#{one['number']} {one['title']}",
                f"{one['severity']}, now {one['state']}: it fired, was told, and turned green by itself.",
            ]
            for position, line in enumerate(lines):
                self._out.print(Text.assemble("  ", text(line, "dim" if position else "bold", WIDTH - 2)))

    def channels(self, mailbox: Mailbox, web: WebServer, secret: str) -> None:
        """Show what each channel was sent: how much, and one of them."""
        cards, hooks = web.to("/teams"), web.to("/webhook")
        self._title("What was sent")
        self._sample("e-mail", len(mailbox.mails), _mail(mailbox.mails))
        self._sample("Teams", len(cards), _card([post.body for post in cards]))
        self._sample("webhook", len(hooks), _hook(hooks, secret))

    def _sample(self, channel: str, count: int, lines: list[str]) -> None:
        for position, line in enumerate(lines):
            lead = f"  {channel:<8}{count:>4}  " if position == 0 else " " * 16
            self._out.print(
                Text.assemble((lead, "bold"), text(line, "" if position == 0 else "dim", WIDTH - 16)),
                overflow="ellipsis",
                no_wrap=True,
            )

    def proof(self, checks: list[Check], kept: Path | None) -> None:
        """Show what was claimed, and whether it held."""
        self._title("The proof")
        for one in checks:
            mark = ("  ✓ ", "bold green") if one.held else ("  ✗ ", "bold red")
            self._out.print(Text.assemble(mark, *_wrapped(one.what, WIDTH - 5)))
        self._out.print()
        if not all(one.held for one in checks):
            self._out.print(Text("Not all of it held. Please report this, with the lines above.", "bold red"))
        elif kept is not None:
            self._out.print(Text.assemble("Go on: ", (f"{_tocsin()} status --data {kept}", "bold")))
        else:
            tocsin = _tocsin()
            serve = "make serve" if tocsin != "tocsin" and Path("Makefile").exists() else f"{tocsin} serve"
            self._out.print(
                Text.assemble("Go on: ", (serve, "bold"), ", then ", (f"{tocsin} status", "bold"))
            )


def _tocsin() -> str:
    """Name this command as it can be run from here: it is on the path, or is named as it was now."""
    return "tocsin" if shutil.which("tocsin") else sys.argv[0]


def _wrapped(words: str, width: int) -> list[str]:
    """Break a sentence into lines; those after the first are indented as the marks are."""
    return [
        ("\n    " if position else "") + line for position, line in enumerate(textwrap.wrap(words, width))
    ]


def _mail(mails: list[bytes]) -> list[str]:
    """Give the subject and the first lines of the mail that says most."""
    read = [email.message_from_bytes(mail, policy=email.policy.default) for mail in mails]
    if not read:
        return ["nothing"]
    mail, lines = max(
        ((mail, _lines(mail)) for mail in read), key=lambda pair: _telling(" ".join(pair[1][:4]))
    )
    subject = str(mail["Subject"])
    return [f"Subject: {subject}", *[line for line in lines if line not in subject][:2]]


def _lines(mail: email.message.EmailMessage) -> list[str]:
    body = mail.get_body(("plain",))
    lines = body.get_content().splitlines() if body is not None else []
    return [line.strip() for line in lines if line.strip()]


def _telling(words: str) -> tuple[bool, bool, bool]:
    """Say how much a sample shows: news of something grave, in full swing."""
    return "opened" in words.lower(), "critical" in words.lower(), not re.search(r"[1-9] cleared", words)


def _card(bodies: list[bytes]) -> list[str]:
    """Give the first texts of the adaptive card that says most, without their markdown."""
    cards = [_texts(json.loads(body)) for body in bodies]
    if not cards:
        return ["nothing"]
    best = max(cards, key=lambda texts: _telling(" ".join(texts[:6])))
    title, *rest = [re.sub(r"\\(.)", r"\1", found) for found in best]
    return [f"Card: {title}", " · ".join(rest[:2])]


def _texts(node: Any) -> list[str]:
    """Give the texts of a card's blocks, top to bottom."""
    if isinstance(node, dict):
        own = [str(node["text"])] if node.get("type") == "TextBlock" and node.get("text") else []
        return own + [found for value in node.values() for found in _texts(value)]
    if isinstance(node, list):
        return [found for value in node for found in _texts(value)]
    return []


def _hook(posts: list[Post], secret: str) -> list[str]:
    """Give a webhook's JSON, shortened, and its headers."""
    if not posts:
        return ["nothing"]
    post = max(posts, key=lambda post: _telling(post.body.decode()))
    read = json.loads(post.body)
    incident = read["data"]["incident"] or {}
    short = {"incident": {name: incident.get(name) for name in ("number", "state")}}
    whole = json.dumps({"type": read["type"], "data": short}, separators=(",", ":"))
    signed = "signature verified" if is_signed(post, secret) else "SIGNATURE WRONG"
    return [
        f"{whole[: WIDTH - 18]}…",
        f"webhook-id: {post.headers.get('webhook-id', '')[:16]}…  {signed}",
    ]
