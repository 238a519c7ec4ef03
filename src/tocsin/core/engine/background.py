"""Background: what the entries of an incident refer to and do not hold, and how it is called.

Entries name targets by digests and silences by numbers, so that they hold nothing which may have to be erased.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice

import msgspec

from tocsin.core.engine.route import matcher_test, matches_all
from tocsin.core.engine.state import LiveAlert
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import Policy, Route
from tocsin.core.model.silence import show_matcher
from tocsin.core.model.trace import Acting, Matched, Sent

ALERTS_COMPARED = 500
"""So many alerts of an incident are compared with silences that began after them."""


class Background(msgspec.Struct, frozen=True, kw_only=True):
    """What the entries do not hold.

    route: the incident's; policies: by version; deliveries: by number; alerts: the incident's, by id (32 hex digits).
    """

    route: str = ""
    policies: Mapping[int, Policy] = {}
    silences: Sequence[Acting] = ()
    deliveries: Mapping[int, Sent] = {}
    alerts: Mapping[str, LiveAlert] = {}


class Names:
    """Finds what entries refer to."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._silences = {acting.silence.number: acting for acting in background.silences}

    def target(self, version: int, id_: str) -> Target | None:
        """Find a target in the policy of that version, or in any other that is at hand: ids never change hands."""
        policies = self._background.policies
        for policy in (policies.get(version), *policies.values()):
            for target in policy.targets if policy is not None else ():
                if target.id == id_:
                    return target
        return None

    def matchers_of(self, version: int, route: str) -> list[str]:
        """Give what a route and those above it ask for, as people write it; [] if it takes all, or is not known."""
        policy = self._background.policies.get(version)
        return (_path(policy.routes, route) or []) if policy is not None else []

    def silence(self, number: int) -> Matched:
        """Name a silence; by its number alone if it is not at hand."""
        acting = self._silences.get(number)
        if acting is None:
            return Matched(number=number, silence_id=None, comment="")
        return Matched(number=number, silence_id=acting.silence.id, comment=acting.silence.comment)

    def acting(self, at: int, named: Iterable[int]) -> list[int]:
        """Give the numbers of the silences that acted at a moment and cover an alert of the incident, oldest first.

        named: those that an entry says cover one.
        """
        numbers = {*self._covering, *(number for number in named if number in self._silences)}
        return sorted(
            n for n in numbers if self._silences[n].silence.starts_at <= at < self._silences[n].until
        )

    @cached_property
    def _covering(self) -> list[int]:
        """The silences that match one of the incident's alerts, whenever they act."""
        labels = [alert.labels() for alert in islice(self._background.alerts.values(), ALERTS_COMPARED)]
        found = []
        for acting in self._background.silences:
            tests = tuple(matcher_test(matcher) for matcher in acting.silence.matchers)
            if any(matches_all(tests, one) for one in labels):
                found.append(acting.silence.number)
        return found


def _path(route: Route, name: str) -> list[str] | None:
    asked = [show_matcher(matcher) for matcher in route.matchers]
    if route.name == name:
        return asked
    for child in route.routes:
        below = _path(child, name)
        if below is not None:
            return asked + below
    return None
