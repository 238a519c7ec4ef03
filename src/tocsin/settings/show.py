"""Show: the settings in force, written as the file is written. Of a secret, only where it came from."""

from typing import Any, assert_never

import yaml

from tocsin.core.model.policy import ALL_LABELS, SECOND, Route
from tocsin.core.model.silence import show_matcher
from tocsin.settings.model import (
    ChannelSettings,
    EmailSettings,
    Settings,
    TeamsSettings,
    WebhookSettings,
)
from tocsin.settings.show_rules import shown_rules, shown_secret, shown_slos, shown_sources
from tocsin.settings.words import write_duration

LENGTHS = (
    "group_wait",
    "group_interval",
    "repeat_interval",
    "reopen_within",
    "resolve_timeout",
    "ack_timeout",
)


def shown_settings(settings: Settings) -> dict[str, Any]:
    """Give the settings as data, in the order and with the keys of the file."""
    limit, issuer, heartbeat = settings.rate_limit, settings.issuer, settings.heartbeat
    return {
        "channels": [_channel(channel) for channel in settings.channels],
        "routes": _route(settings.routes or Route(name="default", group_by=(ALL_LABELS,))),
        "rate_limit": None
        if limit is None
        else {
            "limit": limit.limit,
            "window": write_duration(limit.window),
            "digest_after": write_duration(limit.digest_after),
            "digest_interval": write_duration(limit.digest_interval),
        },
        "retries": {
            "steps": [write_duration(step) for step in settings.retries.steps],
            "give_up": write_duration(settings.retries.give_up),
        },
        "sources": shown_sources(settings),
        "rules": shown_rules(settings),
        "slos": shown_slos(settings),
        "auth": {
            "issuer": None
            if issuer is None
            else {
                "issuer": issuer.issuer,
                "audience": issuer.audience,
                "jwks": {"url": issuer.jwks_url} if issuer.jwks_url else {"file": issuer.jwks_file},
                "algorithms": list(issuer.algorithms),
                "leeway": _seconds(issuer.leeway_s),
                "role_claim": issuer.role_claim,
                "roles": dict(issuer.roles),
            }
        },
        "retention": {"keep": write_duration(settings.keep)},
        "ledger": {
            "key": None if settings.ledger_key is None else shown_secret(settings.ledger_key),
            "highwater": settings.highwater or None,
            "envelope_secrets": [shown_secret(secret) for secret in settings.envelope_secrets],
        },
        "heartbeat": None
        if heartbeat is None
        else {"url": shown_secret(heartbeat.url), "every": _seconds(heartbeat.every_s)},
        "outgoing": {"allow_private": list(settings.allow_private)},
        "dry_run": settings.dry_run,
        "url": settings.url or None,
    }


def shown_yaml(settings: Settings) -> str:
    """Give the settings as YAML in ASCII."""
    return yaml.dump(
        shown_settings(settings), Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=100
    )


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines, such as queries, line by line where YAML can."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _seconds(length_s: float) -> str:
    return write_duration(round(length_s * SECOND))


def _channel(channel: ChannelSettings) -> dict[str, Any]:
    match channel:
        case EmailSettings():
            own: dict[str, Any] = {
                "kind": "email",
                "host": channel.host,
                "port": channel.port,
                "tls": channel.tls,
                "user": channel.user or None,
                "password": None if channel.password is None else shown_secret(channel.password),
                "sender": channel.sender,
                "recipients": list(channel.recipients),
                "ca_file": channel.ca_file or None,
                "ehlo_name": channel.ehlo_name or None,
            }
        case TeamsSettings():
            own = {"kind": "teams", "url": shown_secret(channel.url)}
        case WebhookSettings():
            own = {
                "kind": "webhook",
                "url": shown_secret(channel.url),
                "secrets": [shown_secret(secret) for secret in channel.secrets],
                "signature_header": channel.signature_header,
                "extra_headers": {name: shown_secret(value) for name, value in channel.extra_headers},
                "thin": channel.thin,
            }
        case _:
            assert_never(channel)
    both = {"timeout": _seconds(channel.timeout_s), "dry_run": channel.dry_run}
    return {"name": channel.name, **own, **both}


def _route(route: Route) -> dict[str, Any]:
    """Give what a route says itself; what it inherits is left out."""
    shown: dict[str, Any] = {"name": route.name}
    if route.matchers:
        shown["matchers"] = [show_matcher(matcher) for matcher in route.matchers]
    if route.continue_:
        shown["continue"] = True
    for name in ("channels", "group_by", *LENGTHS, "send_resolved", "greens"):
        value = getattr(route, name)
        if value is not None:
            shown[name] = (
                list(value)
                if isinstance(value, tuple)
                else write_duration(value)
                if name in LENGTHS
                else value
            )
    if route.routes:
        shown["routes"] = [_route(child) for child in route.routes]
    return shown
