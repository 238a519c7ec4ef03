"""Webhook: decides what a generic HTTP receiver is sent, and how it can tell that we sent it.

Every attempt of a delivery carries the same `webhook-id`, so a receiver can drop what it already has.

The body is one JSON object, whose fields are only ever added to:

    {"type": "notification.opened", "timestamp": "2026-11-24T09:00:00.000000Z", "data": {
        "notification_id", "key", "origin", "record", "kind", "severity", "title", "text", "because", "more",
        "incident": null or {"id", "number", "generation", "state", "severity", "title", "rule_id", "route",
            "labels", "opened_at", "updated_at", "resolved_at", "acked_by", "acked_by_name", "firing", "cleared",
            "url"},
        "alerts": [{"status", "severity", "rule_id", "message", "scope", "window_start", "window_end",
            "annotations", "links": [{"href", "text"}], "evidence"}]}}

`record` is size and root (8 hex digits) of the ledger `origin` just before this was decided, such as `1311:5bf7e44f`:
whoever keeps it can tell later whether what came before was changed. The header `tocsin-record` has both.
Instants are ISO 8601 in UTC with microseconds. All text in it came from the outside and is to be distrusted.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tocsin.core.model.errors import Invalid, check_all
from tocsin.core.model.incident import IncidentView
from tocsin.core.model.notification import AlertLine, DryRun, Message, Outcome, Target
from tocsin.outbound import Outbound, outcome_of
from tocsin.ports import Rendered

PREVIEW_CHARACTERS = 2_000
KEY_BYTES = range(24, 65)  # Standard Webhooks 1.0.0: 24 to 64 random bytes.

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_OURS = frozenset(
    ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "content-length", "host",
     "connection", "transfer-encoding", "expect", "upgrade", "tocsin-record")
)  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_JSON = msgspec.json.Encoder()


class WebhookConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver.

    secrets: what attempts are signed with, newest first; none = unsigned. `whsec_` + base64 of 24 to 64
        bytes (Standard Webhooks), or plain text whose UTF-8 bytes are the key. Two during a rotation.
    signature_header: carries the plain HMAC-SHA256 of the body, by the first secret; "" to leave it out.
    extra_headers: sent as they are, for example Authorization; their values are secrets too.
    thin: send ids and states only, no text, labels or evidence.
    """

    name: str
    url: str
    secrets: tuple[str, ...] = ()
    signature_header: str = "X-QNWIS-Signature"
    extra_headers: Mapping[str, str] = {}
    thin: bool = False
    timeout_s: float = 15.0

    def __repr__(self) -> str:
        # The path may be a secret, as with Slack and many others.
        return f"WebhookConfig(name={self.name!r}, host={_host(self.url)!r}, secrets={len(self.secrets)})"


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def key_of(secret: str) -> bytes:
    """The key bytes of a secret. Raises: Invalid, without quoting it."""
    if not secret.startswith("whsec_"):
        if not secret:
            raise Invalid("The webhook secret is empty. Leave it out, or give one.", field="secrets")
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("The webhook secret begins with whsec_ but is not base64.", field="secrets") from None
    if len(key) not in KEY_BYTES:
        raise Invalid(
            f"The webhook secret holds {len(key)} bytes; Standard Webhooks asks for 24 to 64.",
            field="secrets",
        )
    return key


def instant(at: int) -> str:
    """Microseconds UTC as ISO 8601 with six decimals; beyond the years 1 to 9999, the nearest of them."""
    try:
        moment = _EPOCH + timedelta(microseconds=at)
    except OverflowError:
        moment = _LAST if at > 0 else _FIRST
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"


def _incident(incident: IncidentView, *, thin: bool) -> dict[str, Any]:
    ids = {
        "id": incident.id,
        "number": incident.number,
        "generation": incident.generation,
        "state": incident.state,
        "severity": incident.severity,
        "opened_at": instant(incident.opened_at),
        "updated_at": instant(incident.updated_at),
        "resolved_at": None if incident.resolved_at is None else instant(incident.resolved_at),
        "firing": incident.firing,
        "cleared": incident.cleared,
        "url": incident.url,
    }
    if thin:
        return ids
    return ids | {
        "title": incident.title,
        "rule_id": incident.rule_id,
        "route": incident.route,
        "labels": incident.labels,
        "acked_by": incident.acked_by,
        "acked_by_name": incident.acked_by_name,
    }


def _alert(alert: AlertLine) -> dict[str, Any]:
    return {
        "status": alert.status,
        "severity": alert.severity,
        "rule_id": alert.rule_id,
        "message": alert.message,
        "scope": alert.scope,
        "window_start": instant(alert.window_start),
        "window_end": instant(alert.window_end),
        "annotations": alert.annotations,
        "links": alert.links,
        "evidence": alert.evidence,
    }


def payload(message: Message, key: str, *, thin: bool = False) -> bytes:
    """The body: UTF-8 JSON as the head of this file describes it; the same bytes for the same message and key."""
    data: dict[str, Any] = {
        "notification_id": message.notification_id,
        "key": key,
        "origin": message.origin,
        "record": message.record,
        "kind": message.kind,
        "severity": message.severity,
        "incident": None if message.incident is None else _incident(message.incident, thin=thin),
    }
    if not thin:
        data |= {
            "title": message.title,
            "text": message.text,
            "because": message.because,
            "alerts": [_alert(alert) for alert in message.alerts],
            "more": message.more,
        }
    whole = {"type": f"notification.{message.kind}", "timestamp": instant(message.at), "data": data}
    try:
        return _JSON.encode(whole)
    except ValueError:
        # Rendering must not lose a notification, so what has no UTF-8 or too many digits is sent in another form.
        return _JSON.encode(_encodable(whole))


def _encodable(value: Any) -> Any:
    """Half a surrogate pair becomes "?", a number of thousands of digits its hexadecimal text."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case bool():
            return value
        case int():
            # Python writes at most 4,300 digits (14,284 bits) in decimal, for that takes quadratic time.
            return value if value.bit_length() < 14_000 else hex(value)
        case msgspec.Struct():
            return _encodable(msgspec.structs.asdict(value))
        case dict():
            return {_encodable(name): _encodable(item) for name, item in value.items()}
        case list() | tuple():
            return [_encodable(item) for item in value]
        case _:
            return value


def headers(
    body: bytes, *, key: str, at: int, keys: tuple[bytes, ...], signature_header: str = "X-QNWIS-Signature"
) -> dict[str, str]:
    """The headers of one attempt, by Standard Webhooks 1.0.0.

    `webhook-id` is the delivery's key, `webhook-timestamp` the second of this attempt, `webhook-signature`
    one `v1,<base64>` for each of `keys`, each HMAC-SHA256 of `id.timestamp.body`. Beside them
    `signature_header` has the plain HMAC-SHA256 of the body in hex, by the first key, for receivers that know
    no standard.
    Without keys nothing is signed.

    key: free of ".", for it separates what is signed. at: the moment of this attempt.
    """
    assert "." not in key, "a dot would let two messages share one signature"
    stamp = str(at // 1_000_000)
    found = {"Content-Type": "application/json", "webhook-id": key, "webhook-timestamp": stamp}
    if keys:
        signed = f"{key}.{stamp}.".encode() + body
        found["webhook-signature"] = " ".join(
            "v1," + binascii.b2a_base64(hmac.digest(one, signed, hashlib.sha256), newline=False).decode()
            for one in keys
        )
        if signature_header:
            found[signature_header] = hmac.digest(keys[0], body, hashlib.sha256).hex()
    return found


class Webhook:
    """A receiver of webhooks as a channel.

    Raises: Invalid when the configuration cannot work; its message holds no secret.
    """

    kind = "webhook"

    def __init__(self, config: WebhookConfig, outbound: Outbound) -> None:
        check_all([*_faults(config)])
        self.name = config.name
        self.addresses: tuple[str, ...] = (config.name,)
        self.host = _host(config.url)
        self.doubts: tuple[str, ...] = ()
        self._config = config
        self._keys = tuple(key_of(secret) for secret in config.secrets)
        self._extra = dict(config.extra_headers)
        self._outbound = outbound

    def __repr__(self) -> str:
        return f"Webhook({self._config!r})"

    async def send(self, message: Message, target: Target, *, key: str, at: int, dry_run: bool) -> Outcome:
        """Make one attempt. A 2xx is `Delivered`: the receiver itself says that it has it."""
        body = payload(message, key, thin=self._config.thin)
        if dry_run:
            return DryRun(preview=_preview(self._config, body))
        signed = headers(
            body, key=key, at=at, keys=self._keys, signature_header=self._config.signature_header
        )
        if message.record:
            signed["tocsin-record"] = f"{message.origin} {message.record}"
        answer = await self._outbound.post(
            self._config.url, body=body, headers=self._extra | signed, timeout_s=self._config.timeout_s
        )
        return outcome_of(answer, at=at)

    def render(self, message: Message, target: Target, *, key: str) -> Rendered:
        """Show the body. Its headers are left out: signatures and tokens stand in them."""
        body = payload(message, key, thin=self._config.thin)
        return Rendered(content_type="application/json", body=body.decode())

    async def probe(self) -> str:
        """See `tocsin.ports.Reachable`: a connection, with TLS for https; no request is made."""
        failure = await self._outbound.probe(self._config.url, timeout_s=self._config.timeout_s)
        return "" if failure is None else failure.why

    async def close(self) -> None:
        """Nothing to do: the connections belong to the Outbound, which others use too."""


def _preview(config: WebhookConfig, body: bytes) -> str:
    text = body.decode()
    if len(text) > PREVIEW_CHARACTERS:
        text = f"{text[:PREVIEW_CHARACTERS]}… ({len(text):,} characters)"
    return f"POST to {_host(config.url)}, {'signed' if config.secrets else 'unsigned'}: {text}"


def _faults(config: WebhookConfig) -> Iterator[tuple[str, str]]:
    """Find all that is wrong, as (field, what)."""
    if not config.name:
        yield "name", "A webhook needs a name."
    try:
        parts = urlsplit(config.url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        yield (
            "url",
            f"The URL of webhook {config.name!r} is none. It begins with https:// or http://, like https://host/path.",
        )
    if config.timeout_s <= 0:
        yield "timeout_s", f"The timeout of webhook {config.name!r} must be more than 0 seconds."
    for position, secret in enumerate(config.secrets):
        try:
            key_of(secret)
        except Invalid as error:
            yield f"secrets[{position}]", str(error)
    name = config.signature_header
    if name and (not _TOKEN.fullmatch(name) or name.lower() in _OURS):
        yield (
            "signature_header",
            f"The signature header of webhook {config.name!r} cannot be named {name!r}. Use a name of its own,"
            " such as X-Signature.",
        )
    for name, value in config.extra_headers.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS | {config.signature_header.lower()}:
            yield "extra_headers", f"Webhook {config.name!r} may not set the header {name!r}."
        if not value.isprintable() or not value.isascii():
            yield (
                "extra_headers",
                f"The header {name!r} of webhook {config.name!r} holds more than printable ASCII.",
            )
