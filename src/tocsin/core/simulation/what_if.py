"""What-if: decide all recorded inputs of a period again, by the recorded policy and by another, side by side.

One pass looks ahead, one decides. Whatever is over is dropped, so memory does not grow with the period but for a few
bytes an input. The same ledger and policy give the same report, byte for byte.
"""

from collections.abc import Callable, Iterable

from tocsin.core.engine.route import compile_policy
from tocsin.core.ledger.encoding import read_entry
from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import Policy
from tocsin.core.simulation.branch import BRANCH_KEY
from tocsin.core.simulation.hours import Hours
from tocsin.core.simulation.lookahead import Parts, look_ahead
from tocsin.core.simulation.period import Period
from tocsin.core.simulation.prelude import Prelude
from tocsin.core.simulation.report import Report
from tocsin.core.simulation.summary import summarise
from tocsin.core.simulation.targets import align

PROGRESS_EVERY = 5_000

Progress = Callable[[str, int], None]
"""Called now and then with what is being done (`reading`, `deciding`) and how many entries that has come by."""


def what_if(
    read: Callable[[], Iterable[Parts]],
    policy: Policy,
    *,
    since: int = 0,
    until: int | None = None,
    zone: str = "UTC",
    keeps_targets: bool = False,
    on_progress: Progress = lambda doing, entries: None,
) -> Report:
    """Decide the inputs with since <= at < until again, and say what would have been different.

    read: gives the entries of the ledger from its first one, each time that it is called.
    policy: the candidate, in force from `since` on whatever the record's policy becomes.
    until: None for the end of the ledger. What would have come due by then is decided too, also after the last entry.
    zone: where the night is (an IANA name).
    keeps_targets: the candidate tells the targets that the record has, and its own are ignored.
    Raises: Invalid if the policy, the zone or the period is none; msgspec's errors if an entry cannot be read.
    """
    if until is not None and until <= since:
        raise Invalid("The period ends before it begins. Swap the two.", field="until")
    hours = Hours(zone)
    ahead = look_ahead(read(), lambda entries: on_progress("reading", entries))
    candidate = align(policy, ahead, keeps_targets=keeps_targets, key=BRANCH_KEY)
    compile_policy(candidate, 1)  # What is wrong with it is told before the long work.
    end = ahead.last_at + 1 if until is None else until
    prelude = Prelude(ahead)
    period: Period | None = None
    for entries, (header, decision, private) in enumerate(read()):
        if not entries % PROGRESS_EVERY:
            on_progress("deciding", entries)
        if period is None:
            entry = read_entry(header, decision, private)
            if entry.header.at < since:
                prelude.take(entry)
                continue
            period = Period(
                prelude, ahead, candidate, hours, max(since, prelude.at) if since else entry.header.at
            )
        if not period.take(header, decision, private, end):
            break
    if period is None:
        period = Period(prelude, ahead, candidate, hours, max(since, prelude.at))
    period.end(max(end, period.at))
    return summarise(period, since=period.since, until=end, zone=zone)
