"""Logs: how a log line of the server looks: one readable line at a terminal, one JSON object a line elsewhere.

The modules log through the standard library. What they say may hold text from outside, so a line cannot be broken or
move a cursor; and should a secret get that far in spite of all, it stops here.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.types import EventDict, WrappedLogger

from tocsin.cli.plain import plain, plain_lines

FORMATS = ("auto", "json", "console")
NOISY = ("uvicorn", "uvicorn.error", "asyncio")
"""Heard only from warnings on: what they say besides, Tocsin says itself."""

HIDDEN = "***"
_SECRETS = (
    # A header, a form's field or a setting, with or without a scheme before the value.
    (
        re.compile(r"(?i)\b(authorization[\"']?\s{0,5}[:=]\s{0,5}[\"']?(?:\w{1,20} )?)[^\s\"',;]+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer )[^\s\"',;]+"), rf"\1{HIDDEN}"),
    (re.compile(r"\btoc_\w+"), f"toc_{HIDDEN}"),
    (re.compile(r"\bwh(sec|sk)_[\w+/=-]+"), rf"wh\1_{HIDDEN}"),
    # User and password in a URL; and its query, where webhooks keep their tokens.
    (re.compile(r"(?<![a-z0-9])([a-z][a-z0-9+.-]{0,15}://)[^\s/?#\"'<>]*@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?<![a-z0-9])([a-z][a-z0-9+.-]{0,15}://[^\s?#\"'<>]*\?)[^\s#\"'<>]+"), rf"\1{HIDDEN}"),
)
_SECRET_NAMES = re.compile(r"(?i)authorization|password|passwd|secret|token|api_?key|cookie")


def set_up(level: str, format_: str) -> None:
    """Let the standard library's loggers write to stderr.

    level: `debug`, `info`, ...; format_: one of FORMATS; `auto` is `console` if stderr is a terminal, else `json`.
    """
    wants_console = format_ == "console" or (format_ == "auto" and sys.stderr.isatty())
    shown = _on_line if wants_console else _as_json
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
            processors=[_named, structlog.processors.format_exc_info, redacted, shown],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


def _named(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put what every line has first: when, how bad, who, what."""
    record: logging.LogRecord = event.pop("_record")
    event.pop("_from_structlog")
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    ours = {"at": at, "level": record.levelname.lower(), "logger": record.name, "event": event["event"]}
    return ours | {name: value for name, value in event.items() if name not in ours}


def redacted(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hide what looks like a secret, by what it is called and by what it looks like."""
    return {
        name: HIDDEN if _SECRET_NAMES.search(name) else _without_secrets(value)
        for name, value in event.items()
    }


def _without_secrets(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return redacted(None, "", {str(name): inner for name, inner in value.items()})
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]
    text = str(value)
    for pattern, hidden in _SECRETS:
        text = pattern.sub(hidden, text)
    return text


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    """One line of ASCII, which is harmless to whatever shows it."""
    return json.dumps(event, ensure_ascii=True).replace("\x7f", "\\u007f")


def _on_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    """One line for people; what was raised follows, indented so that no text can pass for a line of ours."""
    at, level, logger, said = (event.pop(name) for name in ("at", "level", "logger", "event"))
    raised = event.pop("exception", "")
    extra = "".join(f" {plain(name)}={plain(value)}" for name, value in event.items())
    line = f"{at[:19]}Z {level:<8} {plain(logger)}: {plain(said)}{extra}"
    return "\n    ".join([line, *plain_lines(raised).split("\n")] if raised else [line])
