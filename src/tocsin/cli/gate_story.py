"""Story: a text of what happens and what people hear, told by the real pump. Times are UTC; the first day is a Friday.

What happens, one thing a line (`#1` names an incident by its number):

    09:00  alert   disk critical host=db-1      it fires; so `green` and `over` (without a severity)
    09:01  alert   disk critical host=db-1 looked 09:00     the minute up to then was looked at, and not the last one
    09:00  alert   disk critical host=db-1 until 09:30      nobody vouches for it after that
    09:00  send    disk critical host=db-1 via email        by hand; without `via`, by the route; `try` is a dry run
    09:00  ack     ben #1                       so `unack`, `unsilence`, `resolve`, `reopen`
    09:00  silence ben #1 until 10:00           the incident; without `until`, until somebody ends it
    09:00  hush    rule_id=disk until 10:00     by matchers
    09:00  down    email                        a channel stops to answer; `refuses`: takes nothing; `up`: works again
    09:00  stop                                 the process ends; from `start` on another goes on with what was stored
    09:30  quiet                                until then, nothing else happens

What follows, as the story finds it:

    09:00  page    anna, ben  opened #1 critical        people are told; `mock`: in a dry run
    09:00  hold    anna       opened #1 suppressed      they are not, for that reason

And in full, each with its `because`:

    09:00  so      opened #1                    what who sent the alert, or did something, was answered
    09:00  turn    #1 OPEN                      an incident enters a state
    09:00  fail    anna  opened #1 retry        an attempt failed; `dead` was the last one
    09:00  done    anna  opened #1 delivered    an attempt succeeded after others had failed
    09:00  drop    anna  opened #1 merged       a delivery ended without an attempt
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tocsin.cli.gate_house import MIDNIGHT, House
from tocsin.core.ledger.encoding import read_decision, read_header, unpack
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Severity, Status
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import Action, Manual, SilenceRequested
from tocsin.core.model.notification import DeliveryState, Refused, Retry
from tocsin.core.model.policy import SECOND, Policy
from tocsin.core.model.silence import parse_matcher
from tocsin.runtime.turn import Result

LINE = re.compile(r"(\s*)(\d\d:\d\d(?::\d\d)?)\s+(\w+)\s*(.*?)\s*")
FOUND = ("page", "mock", "hold", "so", "turn", "fail", "done", "drop")
"""Lines that are not read but found."""

LOOKS = {"alert": Status.FIRING, "green": Status.GREEN, "over": Status.RESOLVED}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ENTERS: dict[type, IncidentState] = {
    ev.IncidentOpened: IncidentState.OPEN,
    ev.IncidentReopened: IncidentState.OPEN,
    ev.IncidentAcknowledged: IncidentState.ACK,
    ev.IncidentUnacknowledged: IncidentState.OPEN,
    ev.IncidentSilenced: IncidentState.SILENCED,
    ev.IncidentUnsilenced: IncidentState.OPEN,
    ev.IncidentResolved: IncidentState.RESOLVED,
}
ARRIVED = (DeliveryState.DELIVERED, DeliveryState.ACCEPTED, DeliveryState.DRY_RUN)


def play(story: str, *, policy: Policy, in_full: bool = False) -> str:
    """Let a story happen under a policy, and tell it again as it was. It is true if both texts are the same.

    Lines that are true keep their blanks. Raises: ValueError for a line that cannot be read.
    """
    return Stage(policy, in_full=in_full).play(story)


class Stage:
    """A house in which one story happens."""

    def __init__(self, policy: Policy, *, in_full: bool = False) -> None:
        self.house = House(policy)
        self._in_full = in_full
        self._read = self.house.store.head().size
        self._deliveries: dict[int, tuple[str, str]] = {}

    def play(self, story: str) -> str:
        """See `play`."""
        lines = story.splitlines()
        spellings = {" ".join(line.split()): line for line in lines}
        indent = next((m[1] for m in map(LINE.fullmatch, lines) if m), "")
        told: list[str] = []

        def tell(news: Iterator[str]) -> None:
            told.extend(spellings.get(" ".join(line.split()), indent + line) for line in news)

        for line in lines:
            found = LINE.fullmatch(line)
            if found is None:
                told.append(line)
                continue
            _, moment, verb, rest = found.groups()
            if verb in FOUND:
                continue
            self.house.until(self._instant(moment))
            tell(self._news())
            told.append(line)
            result = self._do(verb, rest.split())
            if self._in_full and result is not None:
                tell(iter([f"{_moment(self.house.clock.at)}  so      {_answer(result)}"]))
            tell(self._news())
        return "\n".join(told) + ("\n" if story.endswith("\n") else "")

    def _instant(self, moment: str) -> int:
        hours, minutes, seconds = (int(part) for part in f"{moment}:00".split(":")[:3])
        return self.house.next_such(((hours * 60 + minutes) * 60 + seconds) * SECOND)

    # What happens

    def _do(self, verb: str, words: list[str]) -> Result | None:
        house = self.house
        options = {
            name: words.pop(words.index(name) + 1) for name in ("until", "looked", "via") if name in words
        }
        words = [word for word in words if word not in options]
        until = self._instant(options["until"]) if "until" in options else 0
        match verb:
            case "alert" | "green" | "over":
                severity = Severity(words.pop(1)) if verb == "alert" else Severity.WARNING
                return house.look(
                    LOOKS[verb],
                    words[0],
                    severity,
                    _labels(words[1:]),
                    looked=_past(options["looked"]) if "looked" in options else 0,
                    ends_at=until or None,
                )
            case "send" | "try":
                channels = (options["via"],) if "via" in options else ()
                manual = Manual(channels=channels, dry_run=verb == "try")
                return house.look(
                    Status.FIRING, words[0], Severity(words[1]), _labels(words[2:]), manual=manual
                )
            case "ack" | "unack" | "silence" | "unsilence" | "resolve" | "reopen":
                return house.act(Action(verb), int(words[1].lstrip("#")), actor=words[0], until=until)
            case "hush":
                matchers = tuple(map(parse_matcher, words))
                house.take(
                    SilenceRequested(matchers=matchers, starts_at=house.clock.at, ends_at=until, forced=True)
                )
            case "down":
                house.moods[words[0]] = Retry(why="down")
            case "refuses":
                house.moods[words[0]] = Refused(why="gone")
            case "up":
                house.moods.pop(words[0], None)
            case "stop":
                house.stop()
            case "start":
                house.start()
            case "quiet":
                pass
            case _:
                raise ValueError(f"a story knows no {verb!r}")
        return None

    # What follows

    def _news(self) -> Iterator[str]:
        """Tell what was decided since the last time."""
        first, self._read = self._read, self.house.store.head().size
        for segment in self.house.store.segments(first):
            for seq, (header, decision, _) in enumerate(unpack(segment.data), segment.first_seq):
                if seq >= first:
                    moment = _moment(read_header(header).at)
                    for event in read_decision(decision).events:
                        for word, what in self._told(event):
                            why = f"  because {event.because}" if self._in_full else ""
                            yield f"{moment}  {word:<6}  {what}{why}"

    def _told(self, event: ev.Decided) -> Iterator[tuple[str, str]]:
        match event:
            case ev.Notified():
                who = ", ".join(new.target for new in event.deliveries)
                for new in event.deliveries:
                    self._deliveries[new.delivery] = new.target, f"{event.kind} #{event.incident}"
                yield (
                    "mock" if event.dry_run else "page",
                    f"{who}  {event.kind} #{event.incident} {event.severity}",
                )
            case ev.NotificationWithheld():
                yield "hold", f"{', '.join(event.targets)}  {event.kind} #{event.incident} {event.reason}"
            case ev.DeliveryRetried() if self._in_full:
                who, what = self._deliveries[event.delivery]
                yield "fail", f"{who}  {what} retry"
            case ev.DeliveryEnded(state=state) if self._in_full:
                who, what = self._deliveries[event.delivery]
                if state not in ARRIVED:
                    yield "fail" if state is DeliveryState.DEAD else "drop", f"{who}  {what} {state}"
                elif event.attempts > 1:
                    yield "done", f"{who}  {what} {state}"
            case (
                ev.IncidentOpened()
                | ev.IncidentReopened()
                | ev.IncidentAcknowledged()
                | ev.IncidentUnacknowledged()
                | ev.IncidentSilenced()
                | ev.IncidentUnsilenced()
                | ev.IncidentResolved()
            ) if self._in_full:
                yield "turn", f"#{event.incident} {ENTERS[type(event)]}"
            case _:
                pass


def _answer(result: Result) -> str:
    """Say what somebody was answered."""
    if result.refused is not None:
        sentence, _, _ = str(result.refused).partition(". ")
        return f"refused: {sentence.removesuffix('.')}."
    incidents = [f"{outcome} #{number}" for _, number, outcome in result.incidents]
    return ", ".join(incidents) or result.outcome


def _moment(at: int) -> str:
    shown = EPOCH + timedelta(microseconds=at)
    return shown.strftime("%H:%M:%S").removesuffix(":00")


def _past(moment: str) -> int:
    """Give that moment of the first day."""
    hours, minutes = map(int, moment.split(":"))
    return MIDNIGHT + (hours * 60 + minutes) * 60 * SECOND


def _labels(words: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}
