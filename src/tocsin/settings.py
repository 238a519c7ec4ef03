"""Settings: what the environment says, read once and frozen. The one file that reads the environment."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import SECOND, RateLimit, Route
from tocsin.core.model.silence import Matcher, MatchOp

FAILPOINTS = ("before-commit", "after-commit", "before-answer", "after-send")
"""Where a test may have the server die."""


class SmtpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """TOCSIN_SMTP_*: how e-mail leaves. tls: `starttls`, `implicit` or `none`."""

    host: str
    port: int
    user: str
    password: str
    sender: str
    recipients: tuple[str, ...]
    tls: str

    def __repr__(self) -> str:
        return f"SmtpSettings(host={self.host!r}, port={self.port}, password=***)"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that the environment settles. Secrets are kept here and in the channels, nowhere else."""

    smtp: SmtpSettings | None = None
    teams_url: str = ""
    webhook_url: str = ""
    webhook_secret: str = ""
    allow_private: tuple[str, ...] = ()
    routes: Route | None = None
    rate_limit: RateLimit | None = RateLimit()
    dry_run: bool = False
    failpoint: tuple[str, int] | None = None
    url: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return "Settings(***)"


class _RouteForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: str
    matchers: list[str] = []
    continue_: bool = msgspec.field(default=False, name="continue")
    channels: list[str] | None = None
    group_by: list[str] | None = None
    group_wait_s: float | None = None
    group_interval_s: float | None = None
    repeat_interval_s: float | None = None
    send_resolved: bool | None = None
    reopen_within_s: float | None = None
    resolve_timeout_s: float | None = None
    greens: int | None = None
    ack_timeout_s: float | None = None
    routes: list["_RouteForm"] = []


class _RateForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    limit: int = 10
    window_s: float = 3600
    digest_after_s: float = 300
    digest_interval_s: float = 1800


class _PolicyForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    routes: _RouteForm
    rate_limit: _RateForm | None = _RateForm()


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment.

    Raises: Invalid naming the variable that is wrong.
    """
    env = os.environ if environment is None else environment
    routes, rate_limit = _policy(env.get("TOCSIN_POLICY_FILE", ""))
    return Settings(
        smtp=_smtp(env),
        teams_url=env.get("TOCSIN_TEAMS_WEBHOOK_URL", ""),
        webhook_url=env.get("TOCSIN_WEBHOOK_URL", ""),
        webhook_secret=env.get("TOCSIN_WEBHOOK_SECRET", ""),
        allow_private=_words(env.get("TOCSIN_ALLOW_PRIVATE", "")),
        routes=routes,
        rate_limit=rate_limit,
        dry_run=_flag(env, "TOCSIN_DRY_RUN"),
        failpoint=_failpoint(env.get("TOCSIN_FAILPOINT", "")),
        url=env.get("TOCSIN_URL", ""),
        token=env.get("TOCSIN_TOKEN", ""),
    )


def child_environment(values: Mapping[str, str]) -> dict[str, str]:
    """Give the environment for a child process: ours without any of Tocsin's settings, and these values."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | dict(
        values
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _flag(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "").lower()
    if text in ("", "0", "false", "no"):
        return False
    if text in ("1", "true", "yes"):
        return True
    raise Invalid(f"{name} is {text!r}; it takes 1 or 0.", field=name)


def _failpoint(text: str) -> tuple[str, int] | None:
    """Read TOCSIN_FAILPOINT, which is for tests only: `after-commit:3` kills the server when it is there again."""
    if not text:
        return None
    name, _, hit = text.partition(":")
    if name not in FAILPOINTS or not hit.isdecimal() or not int(hit):
        raise Invalid(
            f"TOCSIN_FAILPOINT is {text!r}; it takes one of {', '.join(FAILPOINTS)}, a colon and a count. "
            "It kills the server, for its tests. Unset it.",
            field="TOCSIN_FAILPOINT",
        )
    return name, int(hit)


def _smtp(env: Mapping[str, str]) -> SmtpSettings | None:
    host = env.get("TOCSIN_SMTP_HOST", "")
    if not host:
        return None
    tls = env.get("TOCSIN_SMTP_TLS", "starttls")
    if tls not in ("starttls", "implicit", "none"):
        raise Invalid(
            f"TOCSIN_SMTP_TLS is {tls!r}; it takes starttls, implicit or none.", field="TOCSIN_SMTP_TLS"
        )
    port = env.get("TOCSIN_SMTP_PORT", {"starttls": "587", "implicit": "465", "none": "25"}[tls])
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise Invalid(f"TOCSIN_SMTP_PORT is {port!r}; it takes a port number.", field="TOCSIN_SMTP_PORT")
    missing = [name for name in ("TOCSIN_SMTP_FROM", "TOCSIN_SMTP_TO") if not env.get(name)]
    if missing:
        raise Invalid(
            f"TOCSIN_SMTP_HOST is set, but {' and '.join(missing)} is not. Set it too.", field=missing[0]
        )
    return SmtpSettings(
        host=host,
        port=int(port),
        user=env.get("TOCSIN_SMTP_USER", ""),
        password=env.get("TOCSIN_SMTP_PASSWORD", ""),
        sender=env["TOCSIN_SMTP_FROM"],
        recipients=_words(env["TOCSIN_SMTP_TO"]),
        tls=tls,
    )


def _policy(path: str) -> tuple[Route | None, RateLimit | None]:
    if not path:
        return None, RateLimit()
    try:
        form = msgspec.json.decode(Path(path).read_bytes(), type=_PolicyForm)
    except OSError as error:
        raise Invalid(
            f"TOCSIN_POLICY_FILE {path} cannot be read: {error.strerror}.", field="TOCSIN_POLICY_FILE"
        ) from error
    except (msgspec.DecodeError, json.JSONDecodeError) as error:
        raise Invalid(f"TOCSIN_POLICY_FILE {path} is wrong: {error}.", field="TOCSIN_POLICY_FILE") from error
    limit = form.rate_limit
    if limit is None:
        return _route(form.routes), None
    return _route(form.routes), RateLimit(
        limit=limit.limit,
        window=_us(limit.window_s),
        digest_after=_us(limit.digest_after_s),
        digest_interval=_us(limit.digest_interval_s),
    )


def _us(seconds: float) -> int:
    return int(seconds * SECOND)


def _route(form: _RouteForm) -> Route:
    def us(seconds: float | None) -> int | None:
        return None if seconds is None else _us(seconds)

    return Route(
        name=form.name,
        matchers=tuple(parse_matcher(text) for text in form.matchers),
        continue_=form.continue_,
        channels=None if form.channels is None else tuple(form.channels),
        group_by=None if form.group_by is None else tuple(form.group_by),
        group_wait=us(form.group_wait_s),
        group_interval=us(form.group_interval_s),
        repeat_interval=us(form.repeat_interval_s),
        send_resolved=form.send_resolved,
        reopen_within=us(form.reopen_within_s),
        resolve_timeout=us(form.resolve_timeout_s),
        greens=form.greens,
        ack_timeout=us(form.ack_timeout_s),
        routes=tuple(_route(child) for child in form.routes),
    )


def parse_matcher(text: str) -> Matcher:
    """Read `name=value`, `name!=value`, `name=~pattern` or `name!~pattern`; the value may stand in double quotes.

    Raises: Invalid.
    """
    for position, character in enumerate(text):
        if character in "=!":
            op = text[position : position + 2]
            if op not in ("=~", "!=", "!~"):
                op = "="
            if character == "!" and op == "=":
                break
            name, value = text[:position].strip(), text[position + len(op) :].strip()
            if len(value) >= 2 and value[0] == value[-1] == '"':
                value = value[1:-1]
            if not name:
                break
            return Matcher(name=name, op=MatchOp(op), value=value)
    raise Invalid(
        f"Matcher {text!r} is none. Write name=value, name!=value, name=~regex or name!~regex.", field=text
    )
