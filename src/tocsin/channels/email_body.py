"""What an e-mail says: one message for one recipient, as the bytes that go over the wire.

Every text in a message is hostile: it reaches a header only through `_line`, and HTML only through `_html`.
The bytes are pure ASCII in CRLF lines, and the same for the same arguments.
"""

import base64
import binascii
import hashlib
import html
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urlsplit

from tocsin.core.model.alert import CANONICAL, Link, Severity, Status
from tocsin.core.model.errors import Invalid
from tocsin.core.model.incident import IncidentView
from tocsin.core.model.notification import AlertLine, Message, NotificationKind, Target

CHARACTERS_SHOWN = 2_000
"""Of one text. Longer ones say how much is left out; the incident's page has the whole."""

PAIRS_SHOWN = 20
"""Labels, annotations or links of one alert."""

LIST_SHOWN_MAX = 10
"""Of evidence; longer lists are only counted."""

SUBJECT_CHARACTERS = 180

RESOLVED_COLOUR = "#067647"
COLOURS = {
    Severity.INFO: "#175cd3",
    Severity.WARNING: "#8a5a00",
    Severity.ERROR: "#c4320a",
    Severity.CRITICAL: "#b42318",
}
"""Dark enough for white letters on them (contrast of at least 4.5 to 1, WCAG 2.2 AA)."""

SAYINGS = {
    NotificationKind.OPENED: "Opened",
    NotificationKind.UPDATED: "Updated",
    NotificationKind.REMINDER: "Reminder",
    NotificationKind.ESCALATED: "Escalated",
    NotificationKind.RESOLVED: "Resolved",
    NotificationKind.DIGEST: "Digest",
    NotificationKind.MANUAL: "Message",
    NotificationKind.META: "About Tocsin itself",
    NotificationKind.TEST: "Test",
}

# Control characters, line and paragraph separators, lone surrogates; and the bidirectional overrides and
# isolates, with which a title can make the rest of its line read backwards. Plain marks (U+200E, U+200F)
# stay: Hebrew and Arabic need them.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNFIT_BUT_LAYOUT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_NOT_DOT_ATOM = re.compile(r"[^A-Za-z0-9-]+")

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*"
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS = re.compile(rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_HOST}\Z")
_HOST_NAME = re.compile(rf"{_HOST}\Z")
_NAMED = re.compile(r'\s*"?(?P<name>[^"<>\\]*?)"?\s*<(?P<address>[^<>]*)>\Z')


def payload(message: Message, target: Target, key: str, sender: str, at: int) -> bytes:
    """Write the e-mail (RFC 5322): a text and an HTML part that say the same.

    The Message-ID is made of the key, so a repeated attempt is the same mail and a reader can drop it. All
    mails of one incident's generation share a subject and a root that was never sent, so that mail readers
    show them as one thread; what happened stands in the body and its first line.

    Args:
        key: the delivery's idempotency key, the same over all attempts.
        sender: `address` or `Name <address>`.
        at: the moment of this attempt, for Date.
    Raises: Invalid if an address is not one that is safe to write down.
    """
    name, sender_address = check_sender(sender)
    recipient = check_address(target.address, field="address")
    origin = _dot_atom(message.origin) or "tocsin"
    incident = message.incident

    headers = [
        f"Date: {format_datetime(_moment(at))}",
        f"From: {_display_name(name)}<{sender_address}>",
        f"To: <{recipient}>",
        f"Subject: {_encoded(subject(message))}",
        f"Message-ID: <{_dot_atom(key)}@{origin}>",
    ]
    if incident is not None:
        root = f"<inc-{_dot_atom(incident.id)}.g{incident.generation}@{origin}>"
        headers += [
            f"In-Reply-To: {root}",
            f"References: {root}",
            f"X-Tocsin-Incident: {_dot_atom(incident.id)}",
        ]
    headers += [
        f"X-Tocsin-Severity: {message.severity.value}",
        f"X-Tocsin-Delivery: {_dot_atom(key)}",
        f"List-Id: <{_dot_atom(target.channel) or 'email'}.{origin}>",
        "Auto-Submitted: auto-generated",  # RFC 3834: no auto-reply, please
        "X-Auto-Response-Suppress: All",  # the same for Exchange
    ]
    if message.severity is Severity.CRITICAL and message.kind is not NotificationKind.RESOLVED:
        headers.append("Importance: high")

    # "=_" cannot occur in quoted-printable text, so no body can ever close the part that it is in.
    boundary = f"=_{hashlib.sha256(key.encode(errors='replace')).hexdigest()[:32]}"
    headers += ["MIME-Version: 1.0", f'Content-Type: multipart/alternative; boundary="{boundary}"']
    parts = (("plain", text_body(message)), ("html", html_body(message)))
    lines = [
        *headers,
        *(
            f"\r\n--{boundary}\r\n"
            f"Content-Type: text/{kind}; charset=utf-8\r\n"
            f"Content-Transfer-Encoding: quoted-printable\r\n\r\n{_quoted_printable(body)}"
            for kind, body in parts
        ),
        f"--{boundary}--\r\n",
    ]
    return "\r\n".join(lines).encode("ascii")


def preview(message: Message, target: Target) -> str:
    """The mail as a person would read it, for a dry run; at most 4,000 characters."""
    return _clipped(f"To: {target.address}\nSubject: {subject(message)}\n\n{text_body(message)}", 4_000)


def subject(message: Message) -> str:
    """The same line over the life of an incident, so that readers which thread by subject keep one thread."""
    if message.incident is None:
        return _clipped_line(_line(message.title) or "Tocsin")
    return _clipped_line(_line(f"[#{message.incident.number}] {message.incident.title}"))


def check_address(address: str, *, field: str) -> str:
    """Return the address if it is a plain one (RFC 5321 dot-string @ domain, ASCII, at most 254 characters).

    Quoted local parts, comments and address literals are refused: nobody is reached by them on purpose.
    Raises: Invalid.
    """
    if not _ADDRESS.match(address):
        raise Invalid(
            f"{_line(address)[:80]!r} is no e-mail address that Tocsin can write to. "
            "Give it as name@example.org, in ASCII (an international domain in its xn-- form).",
            field=field,
        )
    return address


def check_sender(sender: str, *, field: str = "sender") -> tuple[str, str]:
    """Take `address` or `Name <address>` apart into (name, address); the name is "" if there is none.

    Raises: Invalid.
    """
    if "<" not in sender:
        return "", check_address(sender, field=field)
    named = _NAMED.match(sender)
    if named is None or _UNFIT.search(sender):
        raise Invalid("The sender is neither name@example.org nor Name <name@example.org>.", field=field)
    return named["name"].strip(), check_address(named["address"], field=field)


def is_host_name(host: str) -> bool:
    """Whether it is a name that DNS can hold (RFC 1123 letters, digits and hyphens)."""
    return _HOST_NAME.match(host) is not None


def plain_line(text: str, limit: int) -> str:
    """A stranger's text as one line of at most `limit` characters without anything that steers a display."""
    line = _line(text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


# --- text ------------------------------------------------------------------------------------------------


def text_body(message: Message) -> str:
    """The mail for readers without HTML; lines end in a line feed."""
    incident = message.incident
    lines = [_state_line(message), _line(message.title), ""]
    if message.text:
        lines += [_text(message.text), ""]
    if incident is not None:
        lines += [f"{name + ':':<14}{_line(value)}" for name, value in _facts(incident)]
        lines += [f"  {_line(name)} = {_line(value)}" for name, value in _pairs(incident.labels)]
        if incident.url:
            lines += ["", f"Incident: {_line(incident.url)}"]
        lines.append("")
    for alert in message.alerts:
        lines += [f"* {alert.status.value}, {alert.severity.value}: {_line(alert.rule_id)}"]
        lines += [f"  {line}" for line in _text(alert.message).split("\n")]
        lines += [f"  {_line(name)} = {_line(value)}" for name, value in _pairs(alert.scope)]
        lines += [f"  {_line(name)}: {_line(value)}" for name, value in _pairs(alert.annotations)]
        lines += [f"  {_line(link.text)} {_line(link.href)}".rstrip() for link in alert.links[:PAIRS_SHOWN]]
        if evidence := _evidence(alert):
            lines.append(f"  evidence: {_line(evidence)}")
        lines += [f"  seen {_span(alert)}", ""]
    if message.more:
        lines += [f"... and {message.more} more.", ""]
    lines.append(f"Why you get this: {_line(message.because)}")
    if message.record:
        lines.append(f"Record: {_line(message.origin)} {_line(message.record)}")
    return "\n".join([*lines, ""])


# --- HTML ------------------------------------------------------------------------------------------------

_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Tocsin</title>
<style>
@media (prefers-color-scheme: dark) {{
  .page {{ background: #0f1318 !important; }}
  .card {{ background: #1a2027 !important; }}
  .ink {{ color: #e6e9ee !important; }}
  .pale {{ color: #a3adba !important; }}
  .link {{ color: #84b5ff !important; }}
  .chip {{ background: #2a323c !important; color: #d5dae1 !important; }}
}}
</style></head>
<body class="page" style="margin:0;padding:0;background:#eef0f3;">
<div style="display:none;max-height:0;overflow:hidden;">{preheader}</div>
<table role="presentation" class="page" width="100%" cellpadding="0" cellspacing="0" \
style="background:#eef0f3;"><tr><td align="center" style="padding:12px 8px;">
<table role="presentation" class="card ink" width="100%" cellpadding="0" cellspacing="0" \
style="max-width:640px;background:#ffffff;border-radius:8px;border-top:6px solid {colour};color:#1d2530;\
font:15px/1.5 -apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;word-break:break-word;">
<tr><td style="padding:20px 20px 24px;">
{content}
<p class="pale" style="margin:24px 0 0;font-size:12px;color:#5b6675;">Why you get this: {because}{record}</p>
</td></tr></table>
</td></tr></table>
</body></html>
"""
_HEADING = (
    '<p style="margin:0;"><span style="display:inline-block;padding:2px 10px;border-radius:10px;'
    'background:{colour};color:#ffffff;font-size:12px;font-weight:700;letter-spacing:.04em;text-transform:uppercase;">{word}</span> '
    '<span class="pale" style="font-size:13px;color:#5b6675;">{state}</span></p>'
    '<h1 dir="auto" style="margin:10px 0 8px;font-size:21px;line-height:1.3;">{title}</h1>'
)
_CHIP = (
    '<span class="chip" dir="auto" style="display:inline-block;margin:2px 4px 2px 0;padding:1px 7px;'
    "border-radius:4px;background:#e8ebf0;color:#333e4c;"
    'font:12px/1.6 ui-monospace,Menlo,Consolas,monospace;">{name}={value}</span>'
)
_ALERT = (
    '<div style="margin:14px 0 0;padding:2px 0 2px 12px;border-left:4px solid {colour};">'
    '<p class="pale" style="margin:0;font-size:12px;color:#5b6675;">{status} · {severity} · {rule}</p>'
    '<p dir="auto" style="margin:2px 0 4px;">{message}</p>{details}'
    '<p class="pale" style="margin:4px 0 0;font-size:12px;color:#5b6675;">{span}</p></div>'
)


def html_body(message: Message) -> str:
    """The mail for readers with HTML: one fixed template, in which every text is escaped."""
    incident = message.incident
    colour = RESOLVED_COLOUR if message.kind is NotificationKind.RESOLVED else COLOURS[message.severity]
    content = [
        _HEADING.format(
            colour=COLOURS[message.severity],
            word=message.severity.value,
            state=_html(_state_words(message)),
            title=_html(message.title),
        )
    ]
    if message.text:
        content.append(f'<p dir="auto" style="margin:0 0 12px;">{_html_lines(message.text)}</p>')
    if incident is not None:
        content.append(_html_facts(incident))
        if is_safe_link(incident.url):
            content.append(
                f'<p style="margin:16px 0 4px;"><a href="{_html(incident.url)}" style="display:inline-block;'
                f"padding:9px 18px;border-radius:6px;background:{colour};color:#ffffff;font-weight:600;"
                f'text-decoration:none;">Open incident #{incident.number}</a></p>'
            )
    content += [_html_alert(alert) for alert in message.alerts]
    if message.more:
        content.append(f'<p style="margin:14px 0 0;">… and {message.more} more.</p>')
    return _PAGE.format(
        preheader=_html(f"{_state_line(message)}. {message.text[:200]}"),
        colour=colour,
        content="\n".join(content),
        because=_html(message.because),
        record=f"<br>Record: {_html(message.origin)} {_html(message.record)}" if message.record else "",
    )


def _html_facts(incident: IncidentView) -> str:
    rows = "".join(
        f'<tr><td class="pale" style="padding:1px 16px 1px 0;color:#5b6675;white-space:nowrap;'
        f'vertical-align:top;">{name}</td><td dir="auto">{_html(value)}</td></tr>'
        for name, value in _facts(incident)
    )
    table = (
        f'<table role="presentation" cellpadding="0" cellspacing="0" style="font-size:14px;">{rows}</table>'
    )
    return f'{table}<p style="margin:8px 0 0;">{_html_chips(incident.labels)}</p>'


def _html_alert(alert: AlertLine) -> str:
    details = [_html_chips(alert.scope)]
    details += [
        f'<p dir="auto" style="margin:4px 0;font-size:13px;"><b>{_html(name)}</b>: {_html(value)}</p>'
        for name, value in _pairs(alert.annotations)
    ]
    details += [_html_link(link) for link in alert.links[:PAIRS_SHOWN]]
    if evidence := _evidence(alert):
        details.append(
            '<p class="pale" dir="auto" style="margin:4px 0;color:#5b6675;font:12px/1.5 ui-monospace,Menlo,'
            f'Consolas,monospace;">{_html(evidence)}</p>'
        )
    return _ALERT.format(
        colour=COLOURS[alert.severity] if alert.status is Status.FIRING else RESOLVED_COLOUR,
        status=alert.status.value,
        severity=alert.severity.value,
        rule=_html(alert.rule_id),
        message=_html_lines(alert.message),
        details="".join(details),
        span=_span(alert),
    )


def _html_chips(pairs: Mapping[str, str]) -> str:
    return " ".join(_CHIP.format(name=_html(name), value=_html(value)) for name, value in _pairs(pairs))


def _html_link(link: Link) -> str:
    """A link that says where it leads, or only its text if it leads somewhere that a mail should not."""
    if not is_safe_link(link.href):
        return f'<p dir="auto" style="margin:4px 0;font-size:13px;">{_html(f"{link.text} {link.href}")}</p>'
    where = urlsplit(link.href).netloc
    beside = f" ({_html(where)})" if link.text and where else ""
    return (
        f'<p dir="auto" style="margin:4px 0;font-size:13px;">'
        f'<a class="link" href="{_html(link.href)}" style="color:#175cd3;">'
        f"{_html(link.text or link.href)}</a>{beside}</p>"
    )


def is_safe_link(href: str) -> bool:
    """Whether it may become a link: http, https or mailto, with nothing in it that a URL may not hold."""
    if len(href) > CHARACTERS_SHOWN or _UNFIT.search(href) or any(sign in href for sign in ' <>"`\\'):
        return False
    try:
        parts = urlsplit(href)
    except ValueError:
        return False
    if parts.scheme == "mailto":
        return bool(parts.path)
    return parts.scheme in ("http", "https") and bool(parts.netloc)


# --- shared by both --------------------------------------------------------------------------------------


def _state_words(message: Message) -> str:
    incident = message.incident
    saying = SAYINGS[message.kind]
    return saying if incident is None else f"{saying} · #{incident.number} · {incident.state.value}"


def _state_line(message: Message) -> str:
    return f"{message.severity.value.upper()} · {_state_words(message)}"


def _facts(incident: IncidentView) -> Iterable[tuple[str, str]]:
    """What is known of the incident, as (name, untrusted text)."""
    yield "Alerts", f"{incident.firing} firing, {incident.cleared} cleared"
    yield "Opened", _instant(incident.opened_at)
    if incident.acked_by:
        yield "Acknowledged by", incident.acked_by_name or incident.acked_by
    if incident.resolved_at is not None:
        yield "Resolved", _instant(incident.resolved_at)
    yield "Rule", incident.rule_id
    yield "Route", incident.route


def _pairs(pairs: Mapping[str, str]) -> list[tuple[str, str]]:
    """In the order of their names, so that the same labels always read the same; the surplus is counted."""
    ordered = sorted(pairs.items())
    surplus = len(ordered) - PAIRS_SHOWN
    return ordered if surplus <= 0 else [*ordered[:PAIRS_SHOWN], ("…", f"and {surplus} more")]


def _in_short(evidence: object) -> object:
    """Leave out of evidence what nobody reads in a mail: long lists, such as the points that a rule saw."""
    if not isinstance(evidence, dict):
        return evidence
    return {
        name: f"({len(value)} items)" if isinstance(value, list) and len(value) > LIST_SHOWN_MAX else value
        for name, value in evidence.items()
    }


def _evidence(alert: AlertLine) -> str:
    if alert.evidence is None:
        return ""
    try:
        return CANONICAL.encode(_in_short(alert.evidence)).decode()
    except (TypeError, ValueError, RecursionError):
        return "(cannot be shown)"  # a strange evidence must not cost the notification


def _span(alert: AlertLine) -> str:
    if alert.window_start == alert.window_end:
        return _instant(alert.window_start)
    return f"{_instant(alert.window_start)} to {_instant(alert.window_end)}"


def _moment(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)


def _instant(at: int) -> str:
    try:
        return f"{_moment(at):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError):
        return f"{at} us after 1970"


def _clipped(text: str, limit: int) -> str:
    surplus = len(text) - limit
    return text if surplus <= 0 else f"{text[:limit]}… ({surplus} characters left out)"


def _clipped_line(line: str) -> str:
    return line if len(line) <= SUBJECT_CHARACTERS else line[: SUBJECT_CHARACTERS - 1] + "…"


def _text(text: str) -> str:
    """Untrusted text with its line ends as line feeds and without anything that steers a display."""
    lines = _LINE_ENDS.sub("\n", _clipped(text, CHARACTERS_SHOWN))
    return _UNFIT_BUT_LAYOUT.sub("\ufffd", lines)


def _line(text: str) -> str:
    """Untrusted text on one line: whatever breaks lines or steers a display becomes a space."""
    return " ".join(_UNFIT.sub(" ", _clipped(text, CHARACTERS_SHOWN)).split())


def _html(text: str) -> str:
    """One line, fit for HTML between tags and inside a quoted attribute."""
    return html.escape(_line(text), quote=True)


def _html_lines(text: str) -> str:
    return html.escape(_text(text), quote=True).replace("\n", "<br>")


# --- wire ------------------------------------------------------------------------------------------------


def _dot_atom(word: str) -> str:
    """The word with all that is not a letter, digit or hyphen as a hyphen; dots only between such."""
    labels = (_NOT_DOT_ATOM.sub("-", label) for label in word[:200].split("."))
    return ".".join(label for label in labels if label)


def _display_name(name: str) -> str:
    if not name:
        return ""
    return f'"{name}" ' if name.isascii() and "=?" not in name and len(name) <= 60 else f"{_encoded(name)} "


def _encoded(line: str) -> str:
    """A header's text, as it is if it is short ASCII, else as RFC 2047 words folded at 76 characters.

    A title that itself looks like an encoded word is encoded, or readers would decode what was never checked.
    """
    if line.isascii() and "=?" not in line and len(line) <= 66:
        return line
    words, chunk = [], b""
    for letter in line:
        octets = letter.encode()
        if len(chunk) + len(octets) > 39:  # 52 characters of base64, so that "Subject: " fits on the line too
            words.append(chunk)
            chunk = b""
        chunk += octets
    words.append(chunk)
    return "\r\n ".join(f"=?utf-8?B?{base64.b64encode(word).decode()}?=" for word in words)


def _quoted_printable(body: str) -> str:
    """RFC 2045, in CRLF lines of at most 76 characters; a line of one dot comes out as `=2E`."""
    return binascii.b2a_qp(body.replace("\n", "\r\n").encode(), istext=True).decode("ascii")
