"""Preview: what a silence would cover now, and would have covered in the last days. It decides nothing."""

import heapq
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, Strict

from tocsin.core.engine import suppress
from tocsin.core.engine.route import matcher_test, matches_all
from tocsin.core.engine.state import SCOPE, LiveAlert
from tocsin.core.model.alert import Severity
from tocsin.core.model.policy import DAY
from tocsin.core.model.silence import Matcher, show_matcher
from tocsin.runtime.node import Node
from tocsin.web.bounded import Previews
from tocsin.web.forms import IncidentOut, Shown, incident_out, instant
from tocsin.web.guard import Reader, TheNode
from tocsin.web.incident_forms import Form
from tocsin.web.moments import AS_JSON
from tocsin.web.silence_forms import Matchers, read_matchers

router = APIRouter(prefix="/api/v1")

SHOWN = 20


class PreviewForm(Form):
    """Matchers as a silence would have them, and how far to look back."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"matchers": ["rule_id=disk", "host=~db-.*"]}]}
    )

    matchers: Annotated[Matchers, Field(min_length=1)]
    days: Annotated[int, Strict(), Field(ge=1, le=90), AS_JSON] = 7


class SampleOut(BaseModel):
    rule_id: str
    scope: dict[str, str]
    severity: Severity
    last_seen_at: Shown


class NowOut(BaseModel):
    """alerts: how many that fire; incidents: those that they fire in, the newest of `incidents_total`."""

    alerts: int
    incidents: list[IncidentOut]
    incidents_total: int


class DaysOut(BaseModel):
    """alerts: how many of the `alerts_total_seen` in these days; sample: those that were seen last."""

    days: int
    alerts: int
    sample: list[SampleOut]
    alerts_total_seen: int


class CoveredOut(BaseModel):
    """covers_everything: no alert there can be would escape it; matchers: as Tocsin understands them."""

    matches_now: NowOut
    last_days: DaysOut
    covers_everything: bool
    matchers: list[str]


class Tally:
    """What matchers cover. Counts all, and keeps no more than is shown, so that any number may be looked at."""

    def __init__(self, matchers: tuple[Matcher, ...], since: int) -> None:
        self._tests = tuple(matcher_test(matcher) for matcher in matchers)
        self._since = since
        self.firing = self.matched = self.seen = 0
        self.incidents: set[int] = set()
        self._newest: list[tuple[int, int, LiveAlert]] = []

    def count(self, alerts: Iterator[LiveAlert]) -> None:
        """Look at alerts, one after the other."""
        for alert in alerts:
            # One that fires is there now, whenever it was that we last had anything to note about it.
            if not alert.firing_in and alert.seen_at < self._since:
                continue
            self.seen += 1
            if not matches_all(self._tests, alert.labels()):
                continue
            self.matched += 1
            if alert.firing_in:
                self.firing += 1
                self.incidents.update(alert.firing_in)
            one = (alert.seen_at, alert.number, alert)
            if len(self._newest) < SHOWN:
                heapq.heappush(self._newest, one)
            elif one[:2] > self._newest[0][:2]:
                heapq.heapreplace(self._newest, one)

    def sample(self) -> list[LiveAlert]:
        """Give the matching alerts that were seen last, newest first."""
        return [alert for _, _, alert in sorted(self._newest, key=lambda one: one[:2], reverse=True)]


@router.post("/silences/preview")
async def preview(form: PreviewForm, node: TheNode, reader: Reader, previews: Previews) -> CoveredOut:
    """Say what these matchers cover. Runs beside the event loop and the pump, and holds neither."""
    return await previews.run(_covered, form, node)


def _covered(form: PreviewForm, node: Node) -> CoveredOut:
    matchers = read_matchers(form.matchers)
    since = node.clock.now() - form.days * DAY
    tally = Tally(matchers, since)
    tally.count(node.store.alerts_seen(since))
    return CoveredOut(
        matches_now=NowOut(
            alerts=tally.firing,
            incidents=_incidents(node, tally.incidents),
            incidents_total=len(tally.incidents),
        ),
        last_days=DaysOut(
            days=form.days,
            alerts=tally.matched,
            sample=[_sample_out(alert) for alert in tally.sample()],
            alerts_total_seen=tally.seen,
        ),
        covers_everything=suppress.covers_everything(matchers),
        matchers=[show_matcher(matcher) for matcher in matchers],
    )


def _incidents(node: Node, numbers: set[int]) -> list[IncidentOut]:
    views = (node.store.incident_view(number) for number in heapq.nlargest(SHOWN, numbers))
    return [IncidentOut(**incident_out(view, node.names)) for view in views if view is not None]


def _sample_out(alert: LiveAlert) -> SampleOut:
    return SampleOut(
        rule_id=alert.rule_id,
        scope=SCOPE.decode(alert.scope) if alert.scope else {},
        severity=alert.severity,
        last_seen_at=instant(alert.seen_at),
    )
