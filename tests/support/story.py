"""Story: a test as a text of what happens and what people hear. Times are UTC; the first day is a Friday.

What happens, one thing a line (`#1` names an incident by its number):

    09:00  alert   disk critical host=db-1      a look at an alert: it fires; so `green` and `over`, without severity
    09:00  send    disk error host=db-1 to webhook   somebody sends by hand; without `to`, to those of the route
    09:00  ack     ben #1                       so `unack`, `unsilence`, `resolve`, `reopen`
    09:00  silence ben #1 until 10:00           the incident; without `until`, until somebody ends it
    09:00  hush    rule_id=disk until 10:00     by matchers
    09:00  down    email                        a channel stops to answer; `up` lets it work again
    09:30  quiet                                until then, nothing else happens

What people hear or do not, as the story finds it:

    09:00  page    anna, ben  opened #1 critical
    09:00  hold    anna       opened #1 suppressed
"""

import re
from datetime import UTC, datetime

from tests.support.builders import NINE, an_alert
from tests.support.world import World

from tocsin.core.engine.state import LiveDelivery
from tocsin.core.model import event as ev
from tocsin.core.model.input import Manual
from tocsin.core.model.notification import Delivered, Outcome, Retry
from tocsin.core.model.policy import DAY, Policy

LINE = re.compile(r"(\s*)(\d\d:\d\d(?::\d\d)?)\s+(\w+)\s*(.*?)\s*")
MIDNIGHT = NINE - 9 * 3_600_000_000


def play(story: str, *, policy: Policy) -> str:
    """Let a story happen under a policy, and tell it again as it was. It is true if both texts are the same.

    Lines of `page` and `hold` are not read but found; those that are true keep their blanks.
    """
    lines = story.splitlines()
    spellings = {" ".join(line.split()): line for line in lines}
    indent = next((m[1] for m in map(LINE.fullmatch, lines) if m), "")
    told: list[str] = []
    stage = _Stage(policy)
    for line in lines:
        found = LINE.fullmatch(line)
        if found is None:
            told += [*_spelled(stage.news(), spellings, indent), line] if told or not line.strip() else [line]
            continue
        _, moment, verb, rest = found.groups()
        if verb in ("page", "hold"):
            continue
        stage.until(moment)
        told += _spelled(stage.news(), spellings, indent)
        told.append(line)
        stage.do(verb, rest.split())
        told += _spelled(stage.news(), spellings, indent)
    return "\n".join(told) + ("\n" if story.endswith("\n") else "")


def _spelled(news: list[str], spellings: dict[str, str], indent: str) -> list[str]:
    return [spellings.get(" ".join(line.split()), indent + line) for line in news]


class _Stage:
    def __init__(self, policy: Policy) -> None:
        self.world = World(policy, answers=self._answer)
        self.down: set[str] = set()
        self.read = 0

    def _answer(self, delivery: LiveDelivery, attempt: int, at: int) -> Outcome:
        return Retry(why="down") if delivery.channel in self.down else Delivered()

    def instant(self, moment: str) -> int:
        """The next such moment of the day."""
        hours, minutes, seconds = (int(part) for part in f"{moment}:00".split(":")[:3])
        at = MIDNIGHT + ((hours * 60 + minutes) * 60 + seconds) * 1_000_000
        while at < self.world.at:
            at += DAY
        return at

    def until(self, moment: str) -> None:
        self.world.until(self.instant(moment))

    def do(self, verb: str, words: list[str]) -> None:
        world = self.world
        until = self.instant(words[words.index("until") + 1]) if "until" in words else 0
        match verb:
            case "alert":
                world.fire(words[0], words[1], **_labels(words[2:]))
            case "green":
                world.green(words[0], **_labels(words[1:]))
            case "over":
                world.clear(words[0], **_labels(words[1:]))
            case "send":
                at = words.index("to") if "to" in words else len(words)
                alert = an_alert(words[0], words[1], source="manual", **_labels(words[2:at]))
                world.send(alert, manual=Manual(channels=tuple(words[at + 1 :])))
            case "ack" | "unack" | "silence" | "unsilence" | "resolve" | "reopen":
                world.act(verb, int(words[1].lstrip("#")), until=until, actor=words[0])
            case "hush":
                world.silence(" ".join(words[: words.index("until")]), lasting=until - world.at)
            case "down":
                self.down.add(words[0])
            case "up":
                self.down.discard(words[0])
            case "quiet":
                pass
            case _:
                raise ValueError(f"a story knows no {verb!r}")

    def news(self) -> list[str]:
        """What was decided to be told or withheld since the last time."""
        lines = []
        for entry in self.world.entries[self.read :]:
            moment = (
                datetime.fromtimestamp(entry.at // 1_000_000, UTC).strftime("%H:%M:%S").removesuffix(":00")
            )
            for event in entry.draft.events:
                if isinstance(event, ev.Notified):
                    who = ", ".join(new.target for new in event.deliveries)
                    what = f"{event.kind} #{event.incident} {event.severity}"
                    lines.append(f"{moment}  page    {who}  {what}")
                elif isinstance(event, ev.NotificationWithheld):
                    who = ", ".join(event.targets)
                    lines.append(f"{moment}  hold    {who}  {event.kind} #{event.incident} {event.reason}")
        self.read = len(self.world.entries)
        return lines


def _labels(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words)  # type: ignore[misc]
