"""Summarise: the steps of an incident in one to six plain sentences, for somebody who was woken at three."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from tocsin.core.engine.actors import called, read_aloud
from tocsin.core.engine.compose import clip
from tocsin.core.engine.state import LiveIncident
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import Withheld
from tocsin.core.model.trace import Attempted, Notified, Step, WithheldFrom

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WORDS_MAX = 200
"""So many characters of what somebody else said are repeated."""

NAMED = 3
"""So many addresses are named; a longer list is counted."""


def summarise(
    incident: LiveIncident,
    steps: Sequence[Step],
    *,
    repeats: int = 0,
    left_out: int = 0,
    names: Mapping[str, str] | None = None,
    silenced_by: Sequence[int] = (),
) -> list[str]:
    """Say what led to people being told or not.

    steps: oldest first; repeats: looks at its alerts since their last entries that were no news.
    left_out: entries before the first step that were not read; names: of tokens, by their ids.
    silenced_by: numbers of the silences that cover its alerts now.
    """
    sentences = [
        _beginning(incident, steps, left_out),
        _telling(steps),
        _withholding(steps),
        _failing(steps),
        _repeating(steps, repeats),
        _standing(incident, steps, names or {}, silenced_by),
    ]
    return [sentence for sentence in sentences if sentence]


def _beginning(incident: LiveIncident, steps: Sequence[Step], left_out: int) -> str:
    if left_out:
        return (
            f"Incident #{incident.number} has a long story: its first {left_out} entries are left out here."
        )
    first = next((step for step in steps if step.received is not None), None)
    if first is None or first.received is None:
        return f"Incident #{incident.number} opened at {_moment(incident.opened_at)}."
    received = first.received
    scope = ", ".join(f"{name}={value}" for name, value in (received.scope or {}).items())
    rule = _repeated(received.rule_id) + (f" ({_repeated(scope)})" if scope else "")
    why = f": {first.route.because}" if first.route is not None else ""
    return (
        f"Incident #{incident.number} opened at {_moment(first.at)}, when rule {rule} fired at "
        f"{received.severity}{why}."
    )


def _telling(steps: Sequence[Step]) -> str:
    told = [(step.at, notified) for step in steps for notified in step.notified]
    if not told:
        return "Nobody has been notified."
    (first_at, first), (last_at, last) = told[0], told[-1]
    at_first = [n for at, n in told if (at, n.kind) == (first_at, first.kind)]
    names = _listed(map(_addressee, at_first))
    sentence = f"Notified at {_moment(first_at)}: {names} ({first.kind}: {first.because})"
    if len(at_first) == len(told):
        return sentence + "."
    kinds = Counter(str(n.kind) for at, n in told if (at, n.kind) != (first_at, first.kind))
    more = ", ".join(f"{kind} {_times(number)}" for kind, number in kinds.items())
    return f"{sentence}; since then {more}, last at {_moment(last_at)} ({last.because})."


def _addressee(notified: Notified) -> str:
    """Name who was told. A channel whose address is a secret goes by its own name."""
    if notified.address == notified.channel:
        return notified.channel
    return f"{notified.address or 'somebody'} by {notified.channel}"


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _withholding(steps: Sequence[Step]) -> str:
    parts: list[str] = []
    for reason in Withheld:
        held = [(step, w) for step in steps for w in step.withheld if w.reason is reason]
        if held:
            parts.append(_held(held))
    return f"Not told: {'; '.join(parts)}." if parts else ""


def _held(held: Sequence[tuple[Step, WithheldFrom]]) -> str:
    step, last = held[-1]
    said = f"{_times(len(held))}, last at {_moment(step.at)}, because {last.because}"
    if last.reason is Withheld.SUPPRESSED and step.silences is not None and step.silences.matched:
        said += f" ({_listed([_named(m.number, m.comment) for m in step.silences.matched])})"
    planned = [s.rate_window.digest_at for s, _ in held if s.rate_window and s.rate_window.digest_at]
    if planned:
        said += f", to be told in the digest of {_moment(planned[-1])}"
    return said


def _named(number: int, comment: str) -> str:
    return f"silence S{number}: {_repeated(comment)}" if comment else f"silence S{number}"


def _failing(steps: Sequence[Step]) -> str:
    latest: dict[int, tuple[int, Attempted]] = {}
    failures: Counter[int] = Counter()
    for step in steps:
        for attempted in step.attempted:
            latest[attempted.delivery] = (step.at, attempted)
            failures[attempted.delivery] += attempted.outcome in ("retry", "dead")
    failed = [(at, attempted) for delivery, (at, attempted) in latest.items() if failures[delivery]]
    if not failed:
        return ""
    at, last = failed[-1]
    name = f"Delivery {last.delivery} by {last.channel}"
    if len(failed) > 1:
        name = f"{len(failed)} deliveries had trouble; the latest, number {last.delivery} by {last.channel},"
    attempts = f"{last.attempts} attempt{'' if last.attempts == 1 else 's'}"
    then = {"retry": "it waits for its next attempt", "dead": "it was given up"}.get(
        last.outcome, f"in the end it was {last.outcome}"
    )
    if last.outcome == "retry" and last.next_at is not None:
        then = f"the next attempt is due at {_moment(last.next_at)}"
    said = _repeated(last.said) if last.said else last.because
    return f"{name} had {attempts} until {_moment(at)}: {said}; {then}."


def _repeating(steps: Sequence[Step], repeats: int) -> str:
    counted = repeats + sum(step.dedup.repeats_counted_before for step in steps if step.dedup is not None)
    if not counted:
        return ""
    times = "once" if counted == 1 else f"{counted} times"
    return (
        f"Besides, its alerts were seen {times} without news; such repeats are counted, and told to nobody."
    )


def _standing(
    incident: LiveIncident, steps: Sequence[Step], names: Mapping[str, str], silenced_by: Sequence[int]
) -> str:
    changed = next((step for step in reversed(steps) if step.changed is not None), None)
    because = ""
    if changed is not None and changed.changed is not None:
        because = f": {read_aloud(changed.changed.because, names)}"
    match incident.state:
        case IncidentState.OPEN:
            then = "It is OPEN, and nobody has it"
            because = f" since {_moment(changed.at)}{because}" if changed is not None else ""
            next_look = (
                f"; it is looked at again at {_moment(incident.flush_at)}" if incident.flush_at else ""
            )
            return f"{then}{because}{_covered(incident, silenced_by)}{next_look}."
        case IncidentState.ACK:
            until = f", until {_moment(incident.ack_until)}" if incident.ack_until else ""
            covered = _covered(incident, silenced_by)
            return f"{called(incident.acked_by, names)} has it{until}{covered}; only worse news is told meanwhile."
        case IncidentState.SILENCED:
            end = (
                f"until {_moment(incident.silenced_until)}"
                if incident.silenced_until
                else "until somebody ends it"
            )
            return f"It is SILENCED {end}{because}."
        case IncidentState.RESOLVED:
            return f"It is RESOLVED since {_moment(incident.resolved_at)}{because}."


def _covered(incident: LiveIncident, silenced_by: Sequence[int]) -> str:
    """Say which silences cover its alerts now, and how many of those that fire."""
    if not silenced_by or not incident.silenced_firing:
        return ""
    some = incident.silenced_firing < incident.firing
    what = (
        f"{incident.silenced_firing} of its {incident.firing} alerts that fire"
        if some
        else "all of its alerts"
    )
    verb = "silence {} covers" if len(silenced_by) == 1 else "silences {} cover"
    return f"; {verb.format(_listed(f'S{number}' for number in silenced_by))} {what}"


def _listed(names: Iterable[str]) -> str:
    names = list(dict.fromkeys(names))
    if len(names) > NAMED:
        names = [*names[:NAMED], f"{len(names) - NAMED} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _repeated(text: str) -> str:
    """Repeat what somebody else said: on one line, and not at length."""
    return clip(" ".join(text.split()), WORDS_MAX)


def _moment(at: int) -> str:
    """Show an instant to the second, as people say it."""
    return f"{EPOCH + timedelta(microseconds=at):%Y-%m-%d %H:%M:%S} UTC"
