"""Microsoft Teams: decides how a message looks as an Adaptive Card, and what a Workflows URL's answer means.

The URL is a bearer secret (its `sig` lets anybody post), so it appears in no message, preview or repr. An HTTP 202
means that a flow was started, not that anybody can see a card: that is `Accepted`. A flow that ends in a Response
action with {"ok": true, "messageId": "..."} after its post makes it `Delivered`.

Facts: cards declare 1.2, for Workflows has refused newer ones; Teams shows TextBlock, FactSet, ColumnSet,
Container and Action.OpenUrl of that version, with bold, italic, lists and links as its only markdown. Messages end
at 28 KB after Microsoft has transformed them (measured x 1.18), so ours end at 18 KiB.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tocsin.core.model.alert import Severity, Status
from tocsin.core.model.errors import Invalid
from tocsin.core.model.incident import IncidentView
from tocsin.core.model.notification import (
    AlertLine,
    Delivered,
    DryRun,
    Message,
    NotificationKind,
    Outcome,
    Refused,
    Retry,
    Target,
)
from tocsin.outbound import Answer, Failure, Outbound, outcome_of, retry_after_s
from tocsin.ports import Rendered

BUDGET_BYTES = 18 * 1024
URL_CHARACTERS_MAX = 2_000
BUTTONS_MAX = 4  # Teams shows 6 at most; more become a menu that nobody opens.

_MIGRATION = (
    "Office 365 connectors have been retired by Microsoft, so this URL cannot work. In Teams, open the channel's"
    " Workflows, add 'Send webhook alerts to a channel', and configure the URL that it shows."
)
_JSON = msgspec.json.Encoder()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TeamsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One Teams channel or chat. url: of a Workflows trigger; a secret."""

    name: str
    url: str
    timeout_s: float = 10.0

    def __repr__(self) -> str:
        return f"TeamsConfig(name={self.name!r})"


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a message is shown; lengths in characters before escaping.

    alerts: how many; facts: whether alerts show their scope; labels: whether the incident shows its labels.
    """

    title: int = 200
    text: int = 4_000
    alerts: int = 20
    line: int = 1_000
    facts: bool = True
    labels: bool = True
    links: bool = True


FITS = (
    Fit(),
    Fit(facts=False),
    Fit(facts=False, labels=False),
    Fit(facts=False, labels=False, text=2_000, line=300),
    Fit(facts=False, labels=False, text=1_500, alerts=10, line=200),
    Fit(facts=False, labels=False, text=1_000, alerts=3, line=100, links=False),
    Fit(facts=False, labels=False, text=300, alerts=0, line=0, links=False),
)
"""Tried in order until the card fits: facts go first, then text is cut. The last fits always; its title, severity
and link are those of the first."""


# Text -----------------------------------------------------------------------------------------------


# Controls but the line feed, and the marks that turn the direction of writing, which can make a text lie.
_UNSHOWN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_INLINE = re.compile(r"[\\`*_\[\]~]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|\{(?=\{)|(?<=\{)\{")
_AT_LINE_START = re.compile(
    r"^(?:(>|#(?=#{0,5}(?:\s|$))|[-+](?=[-+\s]|$))|(\d{1,9})([.)])(?=\s|$))", re.MULTILINE
)
_LEADING_SPACES = re.compile(r"^ +", re.MULTILINE)


def shown(text: str, length: int) -> str:
    """Untrusted text, one line or more, without what cannot be seen; cut to `length` with the number left out."""
    text = _UNSHOWN.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if len(text) <= length:
        return text
    return f"{text[:length].rstrip()}… ({len(text) - length:,} more characters)"


def escape(text: str) -> str:
    """Text that Teams' markdown shows as it is: no emphasis, lists, links, entities or {{DATE()}} arise from it.

    https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format
    """
    text = _INLINE.sub(r"\\\g<0>", text)
    text = _LEADING_SPACES.sub(lambda spaces: "\u00a0" * len(spaces[0]), text)
    text = _AT_LINE_START.sub(lambda mark: f"\\{mark[1]}" if mark[1] else f"{mark[2]}\\{mark[3]}", text)
    return text.replace("\n", "\n\n")  # A single line feed is a space to Teams.


def one_line(text: str, length: int) -> str:
    """`shown` on a single line."""
    return shown(" ".join(text.split()), length)


def safe_href(href: str) -> str | None:
    """A link fit to be clicked, or None: http or https, an ASCII host, no user name, nothing hidden in it."""
    href = href.strip()
    if len(href) > URL_CHARACTERS_MAX or not href.isascii() or not href.isprintable():
        return None
    if any(character in href for character in ' "<>\\^`{|}'):
        return None
    try:
        parts = urlsplit(href)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return None
    return href if usable else None


# The card -------------------------------------------------------------------------------------------


_LOOKS = {
    # severity -> (style of the band, colour of the word)
    Severity.CRITICAL: ("attention", "Attention"),
    Severity.ERROR: ("warning", "Attention"),
    Severity.WARNING: ("warning", "Warning"),
    Severity.INFO: ("accent", "Accent"),
}


def _block(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "text": escape(text), "wrap": True, **more}


def _facts(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    facts = [
        {"title": escape(one_line(name, 60)), "value": escape(one_line(value, 500))} for name, value in pairs
    ]
    return {"type": "FactSet", "facts": facts}


def _moment(at: int) -> str:
    try:
        return f"{_EPOCH + timedelta(microseconds=at):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:
        return "unknown"


def _head(message: Message, fit: Fit) -> dict[str, Any]:
    """The coloured band: the title, and beside it how bad it is."""
    is_over = message.kind is NotificationKind.RESOLVED
    style, colour = ("good", "Good") if is_over else _LOOKS[message.severity]
    word = "RESOLVED" if is_over else message.severity.upper()
    title = _block(one_line(message.title, fit.title) or "(no title)", size="Large", weight="Bolder")
    columns = [
        {"type": "Column", "width": "stretch", "items": [title]},
        {"type": "Column", "width": "auto", "items": [_block(word, weight="Bolder", color=colour)]},
    ]
    if is_over:  # How bad it was still matters to whoever reads it later.
        columns[1]["items"] = [
            *columns[1]["items"],
            _block(message.severity.upper(), isSubtle=True, size="Small"),
        ]
    return {
        "type": "Container",
        "style": style,
        "bleed": True,
        "items": [{"type": "ColumnSet", "columns": columns}],
    }


def _incident_facts(incident: IncidentView, fit: Fit) -> dict[str, Any]:
    pairs = [
        ("Incident", f"#{incident.number}"),
        ("State", incident.state),
        ("Alerts", f"{incident.firing} firing, {incident.cleared} cleared"),
        ("Opened", _moment(incident.opened_at)),
    ]
    if incident.rule_id:
        pairs.insert(2, ("Rule", incident.rule_id))
    if incident.acked_by:
        pairs.append(("Acknowledged by", incident.acked_by_name or incident.acked_by))
    if incident.resolved_at is not None:
        pairs.append(("Resolved", _moment(incident.resolved_at)))
    if fit.labels:
        pairs.extend(sorted(incident.labels.items()))
    return _facts(pairs)


def _alert(alert: AlertLine, fit: Fit) -> dict[str, Any]:
    state = alert.severity.upper() if alert.status is Status.FIRING else alert.status.upper()
    line = one_line(f"{state}: {alert.message or alert.rule_id}", fit.line)
    items = [_block(line)]
    if fit.facts and alert.scope:
        items.append(_facts(sorted(alert.scope.items())))
    return {"type": "Container", "separator": True, "spacing": "Small", "items": items}


def _buttons(message: Message, fit: Fit) -> list[dict[str, Any]]:
    incident = message.incident
    wanted = [("Open incident", incident.url)] if incident is not None else []
    if fit.links:
        wanted += [(link.text or link.href, link.href) for alert in message.alerts for link in alert.links]
    buttons: dict[str, dict[str, Any]] = {}
    for title, href in wanted:
        url = safe_href(href)
        if url is not None and url not in buttons and len(buttons) < BUTTONS_MAX:
            buttons[url] = {"type": "Action.OpenUrl", "title": one_line(title, 60) or "Open", "url": url}
    return list(buttons.values())


def card(message: Message, fit: Fit = FITS[0]) -> dict[str, Any]:
    """The Adaptive Card 1.2 of a message, showing as much as `fit` says."""
    body = [_head(message, fit)]
    if text := shown(message.text, fit.text).strip():  # Of control characters nothing remains.
        body.append(_block(text))
    if message.incident is not None:
        body.append(_incident_facts(message.incident, fit))
    body += [_alert(alert, fit) for alert in message.alerts[: fit.alerts]]
    left_out = message.more + max(0, len(message.alerts) - fit.alerts)
    if left_out:
        body.append(_block(f"{left_out:,} more alerts are not shown here.", isSubtle=True))
    footer = f"Sent because: {one_line(message.because, 300)}" if message.because.strip() else ""
    if message.record:
        footer = f"{footer}\nRecord: {one_line(f'{message.origin} {message.record}', 100)}".strip()
    if fit is not FITS[0]:
        footer = f"{footer}\nShortened to fit Teams; the incident's page has the whole.".strip()
    if footer:
        body.append(_block(footer, isSubtle=True, size="Small", separator=True))
    whole: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "msteams": {"width": "full"},
        "fallbackText": escape(one_line(f"{message.severity.upper()}: {message.title}", fit.title)),
        "body": body,
    }
    buttons = _buttons(message, fit)
    if buttons:
        whole["actions"] = buttons
    return whole


def payload(message: Message) -> bytes:
    """The body for a Workflows URL: UTF-8 JSON of at most 18 KiB, the same bytes for the same message."""
    for fit in FITS:
        attachment = {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": None,
            "content": card(message, fit),
        }
        body = _JSON.encode({"type": "message", "attachments": [attachment]})
        if len(body) <= BUDGET_BYTES:
            return body
    raise AssertionError("the last fit must fit every message")


# The answer -----------------------------------------------------------------------------------------


class _FlowAnswer(msgspec.Struct):
    """What our flow template answers once it has posted."""

    ok: bool
    messageId: str = ""


_FLOW_ANSWER = msgspec.json.Decoder(_FlowAnswer)
_ERROR_IN_BODY = re.compile(rb"returned HTTP error (\d{3})", re.IGNORECASE)
_MESSAGE_ID = re.compile(r"[\w:.=@-]{1,200}", re.ASCII)


def outcome_of_teams(answer: Answer | Failure, *, at: int) -> Outcome:
    """What Teams' answer means.

    - A 2xx whose body says "returned HTTP error 4xx" is that error: connectors answered so by design, and proxies
      that imitate them still do.
    - {"ok": true} from our flow template is `Delivered`, {"ok": false} a Retry; any other 2xx is `Accepted`.
    - 412 is a Retry: Microsoft advises to retry 412, 429, 502 and 504.
    - 401 and 404 are Retry too: the flow may be switched on again, or its owner return, within the 72 h.
    - Everything else as in `outcome_of`.
    """
    if isinstance(answer, Failure):
        return outcome_of(answer, at=at)
    if answer.status == 412:
        after_s = retry_after_s(answer.retry_after, at=at) if answer.retry_after else None
        return Retry(why="HTTP 412 Precondition Failed", after_s=after_s)
    if not 200 <= answer.status < 300:
        return outcome_of(answer, at=at)
    hidden = _ERROR_IN_BODY.search(answer.body)
    if hidden is not None:
        status = int(hidden[1])
        outcome = outcome_of_teams(Answer(status=status, retry_after=answer.retry_after), at=at)
        match outcome:
            case Retry(why=why, after_s=after_s):
                return Retry(why=f"{why}, inside an HTTP {answer.status}", after_s=after_s)
            case Refused(why=why):
                return Refused(why=f"{why}, inside an HTTP {answer.status}")
            case _:
                return Retry(why=f"An error inside an HTTP {answer.status}")
    try:
        flow = _FLOW_ANSWER.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return outcome_of(answer, at=at, accepted=True)
    if not flow.ok:
        return Retry(why="The flow ran, but says that its post failed. Look at its run history.")
    is_id = _MESSAGE_ID.fullmatch(flow.messageId) is not None
    return Delivered(detail=f"message {flow.messageId}" if is_id else "The flow says that it has posted.")


# The channel ----------------------------------------------------------------------------------------


class Teams:
    """A Teams channel or chat, reached through a Workflows URL.

    Raises: Invalid when the configuration cannot work; its message does not hold the URL.
    """

    kind = "teams"

    def __init__(self, config: TeamsConfig, outbound: Outbound) -> None:
        _check(config)
        self.name = config.name
        self.addresses: tuple[str, ...] = (config.name,)
        self.host = _host_and_scheme(config.url)[0]
        self.doubts = doubts(config)
        self._config = config
        self._outbound = outbound

    def __repr__(self) -> str:
        return f"Teams({self._config!r})"

    async def send(self, message: Message, target: Target, *, key: str, at: int, dry_run: bool) -> Outcome:
        """Make one attempt. Teams knows no idempotency key; it goes along as `webhook-id` for the flow to use."""
        body = payload(message)
        if dry_run:
            return DryRun(preview=f"Adaptive Card for Teams, {len(body):,} bytes: {body.decode()[:2_000]}")
        answer = await self._outbound.post(
            self._config.url,
            body=body,
            headers={"Content-Type": "application/json", "webhook-id": key},
            timeout_s=self._config.timeout_s,
        )
        return outcome_of_teams(answer, at=at)

    def render(self, message: Message, target: Target, *, key: str) -> Rendered:
        """Show the card, as Workflows takes it."""
        return Rendered(content_type="application/json", body=payload(message).decode())

    async def probe(self) -> str:
        """See `tocsin.ports.Reachable`: a connection, with TLS for https; no request is made."""
        failure = await self._outbound.probe(self._config.url, timeout_s=self._config.timeout_s)
        return "" if failure is None else failure.why

    async def close(self) -> None:
        """Nothing to do: the connections belong to the Outbound, which others use too."""


def doubts(config: TeamsConfig) -> tuple[str, ...]:
    """What looks wrong with the URL but may be right, for `config check` and `doctor`; Microsoft moves its hosts."""
    host, scheme = _host_and_scheme(config.url)
    found = []
    if scheme == "http":
        found.append(f"The URL of {config.name!r} is not https, so its secret travels in the clear.")
    if host.endswith(".logic.azure.com"):
        found.append(
            f"The URL of {config.name!r} is of the old logic.azure.com kind, which stopped on 30 November 2025."
            " Open the flow and copy the URL that its trigger shows now."
        )
    return tuple(found)


def _host_and_scheme(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        return (parts.hostname or "").rstrip("."), parts.scheme
    except ValueError:
        return "", ""


def _check(config: TeamsConfig) -> None:
    if not config.name:
        raise Invalid("A Teams channel needs a name.", field="name")
    host, scheme = _host_and_scheme(config.url)
    if scheme not in ("http", "https") or not host:
        raise Invalid(
            f"The URL of Teams channel {config.name!r} is none: it begins with https://. Copy it from the flow.",
            field="url",
        )
    if host == "webhook.office.com" or host.endswith(".webhook.office.com"):
        raise Invalid(f"Teams channel {config.name!r}: {_MIGRATION}", field="url")
    if host in ("outlook.office.com", "outlook.office365.com"):  # Connectors before 2021.
        raise Invalid(f"Teams channel {config.name!r}: {_MIGRATION}", field="url")
    if config.timeout_s <= 0:
        raise Invalid(f"The timeout of {config.name!r} must be more than 0 seconds.", field="timeout_s")
