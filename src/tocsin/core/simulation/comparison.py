"""Comparison: two courses of events side by side, opening by opening, without remembering what is over.

Openings belong together if the same alert opened them at the same moment; numbers mean nothing across courses.
"""

import heapq

from tocsin.core.model.alert import severity_rank
from tocsin.core.simulation.course import Course, Decision, Opening

KEPT = 200
"""So many differing openings are kept to be shown: the most severe, and of those the earliest."""

COMPARED = Opening(0, 0, "")
"""Stands for a counterpart that is done with."""

Difference = tuple[Opening | None, Opening | None]


class Comparison:
    """What differs between a course and the next one.

    tolerance: by how many microseconds the same decision may come at another time and be no difference.
    same, differing, only_earlier, only_later, left_out: openings, counted.
    """

    def __init__(self, *, tolerance: int = 0) -> None:
        self._tolerance = tolerance
        self.same = self.differing = self.only_earlier = self.only_later = self.left_out = 0
        self._kept: list[tuple[int, int, int, Difference]] = []
        self._found = 0

    def begin(self, earlier: Course, later: Course) -> None:
        """Pair the openings that both courses begin with."""
        for number, opening in earlier.openings.items():
            _pair(opening, later.openings[number])

    def meet(self, earlier: list[Opening], later: list[Opening]) -> None:
        """Pair what began in both courses by the same alert at the same moment; of several the same route first."""
        there: dict[tuple[str, int], list[Opening]] = {}
        for opening in later:
            there.setdefault((opening.opener, opening.opened_at), []).append(opening)
        for opening in earlier:
            found = there.get((opening.opener, opening.opened_at))
            if found:
                match = next((one for one in found if one.route == opening.route), found[0])
                found.remove(match)
                _pair(opening, match)

    def over_earlier(self, opening: Opening) -> None:
        """An opening of the earlier course is over."""
        later = opening.later
        if later is None:
            self._differs(opening, None)
        elif later is not COMPARED and later.is_over:
            self._compare(opening, later)

    def over_later(self, opening: Opening) -> None:
        """An opening of the later course is over."""
        earlier = opening.earlier
        if earlier is None:
            self._differs(None, opening)
        elif earlier is not COMPARED and earlier.is_over:
            self._compare(earlier, opening)

    def _compare(self, earlier: Opening, later: Opening) -> None:
        earlier.later = later.earlier = COMPARED
        if earlier.left_out:
            self.left_out += 1
        elif earlier.alerts == later.alerts and self._agree(earlier.decisions, later.decisions):
            self.same += 1
        else:
            self._differs(earlier, later)

    def _agree(self, earlier: list[Decision], later: list[Decision]) -> bool:
        return earlier == later or (
            len(earlier) == len(later)
            and not any(is_other(*both, self._tolerance) for both in zip(earlier, later, strict=True))
        )

    def _differs(self, earlier: Opening | None, later: Opening | None) -> None:
        one = earlier or later
        assert one is not None
        if one.left_out:
            self.left_out += 1
            return
        if earlier is not None and later is not None:
            self.differing += 1
        elif earlier is not None:
            self.only_earlier += 1
        else:
            self.only_later += 1
        self._found += 1
        weight = severity_rank[one.severity], -one.opened_at, -self._found, (earlier, later)
        if len(self._kept) < KEPT:
            heapq.heappush(self._kept, weight)
        else:
            heapq.heappushpop(self._kept, weight)

    def kept(self) -> list[Difference]:
        """Give the differences that are shown, the most severe and of those the earliest first."""
        return [one[3] for one in sorted(self._kept, key=lambda one: one[:3], reverse=True)]


def is_other(earlier: Decision, later: Decision, tolerance: int = 0) -> bool:
    """Say whether something else was decided, or about somebody else, or at another time."""
    return earlier[1:3] != later[1:3] or abs(earlier[0] - later[0]) > tolerance


def _pair(earlier: Opening, later: Opening) -> None:
    earlier.later = later
    later.earlier = earlier
    later.recorded = earlier.recorded
