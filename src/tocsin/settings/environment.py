"""Environment: what its TOCSIN_ variables say. The one file that reads it."""

import os
from collections.abc import Mapping

from tocsin.core.model.errors import Invalid
from tocsin.settings.model import (
    ChannelSettings,
    EmailSettings,
    Secret,
    Settings,
    TeamsSettings,
    WebhookSettings,
)

FAILPOINTS = (
    "during-migration", "after-migration", "before-policy", "after-policy", "after-key", "after-restore", "after-token",
    "before-commit", "after-commit", "before-scrub", "before-answer", "before-announce",
    "before-send", "after-send", "after-outcome", "before-mark", "after-mark",
)  # fmt: skip
"""Where a test may have the server die: while it starts; in a turn; behind one, and in what works behind them all."""

CHANNEL_VARIABLES = tuple(
    f"TOCSIN_{name}"
    for name in (
        "SMTP_HOST", "SMTP_PORT", "SMTP_USER", "SMTP_PASSWORD", "SMTP_FROM", "SMTP_TO", "SMTP_TLS",
        "TEAMS_WEBHOOK_URL", "WEBHOOK_URL", "WEBHOOK_SECRET",
    )
)  # fmt: skip
"""They configure channels, and have no place beside a file that does so."""


def machine_environment() -> Mapping[str, str]:
    """Give the environment of this process."""
    return os.environ


def child_environment(values: Mapping[str, str]) -> dict[str, str]:
    """Give the environment for a child process: ours without any of Tocsin's settings, and these values."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | dict(
        values
    )


def environment_settings(env: Mapping[str, str]) -> Settings:
    """Read the settings that the environment holds.

    Raises: Invalid naming the variable that is wrong.
    """
    return Settings(
        channels=tuple(_channels(env)),
        allow_private=_words(env.get("TOCSIN_ALLOW_PRIVATE", "")),
        dry_run=_flag(env, "TOCSIN_DRY_RUN"),
        failpoint=_failpoint(env.get("TOCSIN_FAILPOINT", "")),
    )


def _channels(env: Mapping[str, str]) -> list[ChannelSettings]:
    channels: list[ChannelSettings] = []
    if env.get("TOCSIN_SMTP_HOST"):
        channels.append(_smtp(env))
    if (url := _secret(env, "TOCSIN_TEAMS_WEBHOOK_URL")) is not None:
        channels.append(TeamsSettings(name="teams", url=url))
    if (url := _secret(env, "TOCSIN_WEBHOOK_URL")) is not None:
        secret = _secret(env, "TOCSIN_WEBHOOK_SECRET")
        channels.append(WebhookSettings(name="webhook", url=url, secrets=() if secret is None else (secret,)))
    return channels


def _secret(env: Mapping[str, str], name: str) -> Secret | None:
    value = env.get(name, "")
    return Secret(value, f"env {name}") if value else None


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


def _smtp(env: Mapping[str, str]) -> EmailSettings:
    tls = env.get("TOCSIN_SMTP_TLS", "starttls")
    if tls not in ("starttls", "implicit", "none"):
        raise Invalid(
            f"TOCSIN_SMTP_TLS is {tls!r}; it takes starttls, implicit or none.", field="TOCSIN_SMTP_TLS"
        )
    port = env.get("TOCSIN_SMTP_PORT", {"starttls": "587", "implicit": "465", "none": "25"}[tls])
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        raise Invalid(f"TOCSIN_SMTP_PORT is {port!r}; it takes a port number.", field="TOCSIN_SMTP_PORT")
    missing = [name for name in ("TOCSIN_SMTP_FROM", "TOCSIN_SMTP_TO") if not env.get(name)]
    if missing:
        raise Invalid(
            f"TOCSIN_SMTP_HOST is set, but {' and '.join(missing)} is not. Set it too.", field=missing[0]
        )
    return EmailSettings(
        name="email",
        host=env["TOCSIN_SMTP_HOST"],
        port=int(port),
        user=env.get("TOCSIN_SMTP_USER", ""),
        password=_secret(env, "TOCSIN_SMTP_PASSWORD"),
        sender=env["TOCSIN_SMTP_FROM"],
        recipients=_words(env["TOCSIN_SMTP_TO"]),
        tls=tls,
    )
