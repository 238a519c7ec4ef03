"""Texts: what state does not hold, kept at hand for the next message about it."""

from tocsin.core.engine.state import LiveAlert
from tocsin.core.ledger import encoding
from tocsin.core.model.alert import Alert
from tocsin.ports import Store

TEXTS_KEPT = 2_000


class Texts:
    """The texts that state does not hold, kept at hand for the next message about them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._alerts: dict[int, Alert] = {}
        self._titles: dict[int, tuple[str, dict[str, str]]] = {}

    def forget(self) -> None:
        """Begin anew: numbers that a failed turn gave are given again, so what was kept under them may be wrong."""
        self._alerts.clear()
        self._titles.clear()

    def keep_alert(self, number: int, alert: Alert) -> None:
        """Keep an alert as it was last told."""
        if len(self._alerts) >= TEXTS_KEPT:
            self._alerts.clear()
        self._alerts[number] = alert

    def drop_alert(self, number: int) -> None:
        """Keep an alert's text no longer: the one that was told last is gone."""
        self._alerts.pop(number, None)

    def has_alert(self, number: int) -> bool:
        """Say whether an alert's text is at hand."""
        return number in self._alerts

    def alert(self, live: LiveAlert) -> Alert | None:
        """Give an alert as it was last told; None if its text was erased. Its entry is committed, or it is at hand."""
        alert = self._alerts.get(live.number)
        if alert is None:
            entry = self._store.entry(live.text_seq)
            alert = encoding.read_private(entry[2]).alert if entry is not None and entry[2] else None
        return alert

    def keep_title(self, number: int, text: tuple[str, dict[str, str]]) -> None:
        """Keep an incident's title and labels."""
        if len(self._titles) >= TEXTS_KEPT:
            self._titles.clear()
        self._titles[number] = text

    def title(self, number: int) -> tuple[str, dict[str, str]]:
        """Give an incident's title and labels."""
        return self._titles.get(number) or self._store.incident_text(number) or ("", {})
