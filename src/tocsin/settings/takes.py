"""Takes: what each kind of value takes, and how it is said that something is none.

Every check raises ValueError with a whole sentence. No sentence quotes what may be a secret.
"""

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import msgspec
from pydantic import ValidationInfo

from tocsin.core.engine.maintenance import get_zone
from tocsin.core.engine.route import matcher_test
from tocsin.core.ledger.envelope import key_id
from tocsin.core.model.access import Role
from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import SECOND
from tocsin.core.model.rule import Cron, Interval
from tocsin.core.model.silence import parse_matcher
from tocsin.core.rules.schedule import check_cron
from tocsin.runtime.kek import read_key_text
from tocsin.settings.model import Secret
from tocsin.settings.words import parse_duration

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
TLS = ("starttls", "implicit", "none")
NAME_CHARACTERS_MAX = 64
SECRET_BYTES_MAX = 64 * 1024
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
KNOWN_MAX = 100
PRETENDED = "https://pretended.invalid/"
"""Stands for a secret that is not fetched; it would do as a URL too."""

LOOKS_MAX = 60
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""What other schedulers call some cron expressions (crontab(5))."""

_RULE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_LOOKS = re.compile(r"([0-9]{1,3})(?: of ([0-9]{1,3}))?")
_DATABASE_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9]*(?:\+[a-z0-9_]+)?):(?://(?:(?P<user>[^@/]*)@)?(?P<host>[^/]*)(?:/(?P<file>.*))?)",
    re.DOTALL,
)

HOW_TO_REFER = "Write {env: NAME} or {file: path}, and put the value there."


class Surroundings(msgspec.Struct, frozen=True):
    """What a file may refer to. folder: in which relative paths begin.

    running: a server reads its file anew, and its environment will not change any more.
    pretends: the policy alone is asked for, so no secret is fetched and no file that it refers to is opened.
    """

    environment: Mapping[str, str]
    folder: Path
    running: bool = False
    pretends: bool = False


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Give " Did you mean ...?" for a word that is nearly one of these, else "". Among very many nobody looks."""
    if len(known) > KNOWN_MAX:
        return ""
    near = difflib.get_close_matches(word[:100].lower(), known, n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""


def one_of(text: str, known: tuple[str, ...]) -> str:
    """Take one of these words."""
    if text not in known:
        raise ValueError(f"{text[:40]!r} is none of {', '.join(known)}.{did_you_mean(text, known)}")
    return text


def role(text: str) -> str:
    """Take a role's name."""
    return one_of(text, tuple(Role))


def algorithm(text: str) -> str:
    """Take the name of a signature that a public key proves."""
    return one_of(text, ALGORITHMS)


def one_of_these(*known: str) -> Callable[[str], str]:
    """Make what takes one of these words."""
    return lambda text: one_of(text, known)


def tls(text: str) -> str:
    """Take a kind of TLS."""
    return one_of(text, TLS)


def name(text: str) -> str:
    """Take a name that fits into a line and a table."""
    if not text.strip() or text != text.strip() or len(text) > NAME_CHARACTERS_MAX or not text.isprintable():
        raise ValueError(
            f"A name has 1 to {NAME_CHARACTERS_MAX} visible characters, and no space at its ends."
        )
    return text


def rule_name(text: str) -> str:
    """Take a name of a rule, a source or a label: a word without spaces."""
    if not _RULE_NAME.fullmatch(text):
        raise ValueError(
            f"{text[:40]!r} is no such name. Write 1 to 128 letters, digits, `_`, `-` or `.`; a letter or `_` "
            "comes first."
        )
    return text


def every(value: Any) -> Interval | Cron:
    """Take how often a rule looks: a length of time of 1 s or more, or a cron expression."""
    if isinstance(value, str) and len(value.split()) > 1:
        try:
            check_cron(value, "UTC")
        except Invalid as error:
            raise ValueError(str(error)) from None
        return Cron(value)
    if isinstance(value, str) and value.startswith("@"):
        meant = _NICKNAMES.get(value.lower(), "0 0 * * *")
        raise ValueError(
            f"{value[:40]!r} is not read. Write a length of time, such as 5m, or a cron expression of five fields: "
            f"{meant}"
        )
    return Interval(pulse(value))


def looks(value: Any) -> tuple[int, int]:
    """Take how many of how many looks: 3, or `3 of 5`."""
    found = (
        _LOOKS.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    )
    if found is None:
        raise ValueError("This takes how many looks must be wrong, such as 3, or `3 of 5`.")
    wanted, of = int(found[1]), int(found[2] or found[1])
    if not 1 <= wanted <= of <= LOOKS_MAX:
        raise ValueError(f"This takes n of m looks with 1 <= n <= m <= {LOOKS_MAX}.")
    return wanted, of


def zone(text: str) -> str:
    """Take a time zone."""
    try:
        get_zone(text)
    except Invalid as error:
        raise ValueError(str(error)) from None
    return text


def link(text: str) -> str:
    """Take a URL that people may follow."""
    if not _is_url(text):
        raise ValueError("This is no link. Write it like https://wiki.example.org/runbooks/orders.")
    return text


def database_url(value: Any, info: ValidationInfo) -> Secret:
    """Take SQLAlchemy's URL of a database. One with a password in it must be a secret."""
    secret = reference(value, info) if not isinstance(value, str) else Secret(value, "", value)
    if surroundings(info).pretends:
        return secret
    where = secret.source or "this"
    found = _DATABASE_URL.fullmatch(secret.value)
    if found is None:
        raise ValueError(
            f"What stands in {where} is no URL of a database. Write it like sqlite:///shop.db, or "
            "postgresql+psycopg://user@host/name."
        )
    if isinstance(value, str) and (":" in (found["user"] or "") or "password" in value.lower()):
        raise ValueError(f"A password does not stand in this file. {HOW_TO_REFER}")
    path = found["file"] if found["scheme"].partition("+")[0] in ("sqlite", "duckdb") else ""
    if path and path != ":memory:" and not path.startswith("/"):
        whole = f"{found['scheme']}:///{surroundings(info).folder.absolute() / path}"
        return Secret(whole, secret.source, secret.shown)
    return secret


def duration(value: Any) -> int:
    """Take a length of time; microseconds."""
    try:
        return parse_duration(value)
    except Invalid as error:
        raise ValueError(str(error)) from None


def span(value: Any) -> int:
    """Take a length of time that is more than nothing; microseconds."""
    if not (length := duration(value)):
        raise ValueError("This must be more than 0s.")
    return length


def pulse(value: Any) -> int:
    """Take a length of time that keeps nobody busy; microseconds."""
    if (length := duration(value)) < SECOND:
        raise ValueError("This must be 1s or more.")
    return length


def matcher(text: str) -> str:
    """Take a matcher whose pattern RE2 knows."""
    try:
        matcher_test(parse_matcher(text))
    except Invalid as error:
        raise ValueError(str(error)) from None
    return text


def cidr(text: str) -> str:
    """Take a network."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"This is not a network: {error}. Write it like 10.0.0.0/8.") from None


def public_url(text: str) -> str:
    """Take the address of a web server, maybe with a path; without a slash at its end."""
    if not _is_url(text) or urlsplit(text).query or urlsplit(text).fragment:
        raise ValueError("This is no address of a server. Write it like https://tocsin.example.org.")
    return text.rstrip("/")


def keys_url(text: str) -> str:
    """Take a URL by which public keys come unharmed: https, or http on this machine."""
    if not _is_url(text):
        raise ValueError("This is no URL of keys. Write it like https://issuer.example.org/jwks.json.")
    parts = urlsplit(text)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("Keys that come over http could be anybody's. Use https.")
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_sound and "@" not in parts.netloc and text.isprintable() and " " not in text


def file_path(text: str, info: ValidationInfo) -> str:
    """Take the path of a file that can be read; relative to the folder of the configuration."""
    around = surroundings(info)
    path = around.folder / text
    if around.pretends:
        return str(path)
    try:
        with _opened(path):
            return str(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {_why(error)}.") from None


def folder_path(text: str, info: ValidationInfo) -> str:
    """Take the path of a folder that can be read; relative to the folder of the configuration."""
    around = surroundings(info)
    path = around.folder / text
    if around.pretends:
        return str(path)
    try:
        with os.scandir(path):
            return str(path)
    except NotADirectoryError:
        raise ValueError(f"{path} is no folder. Name the one that the files lie in.") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {_why(error)}.") from None


def reference(value: Any, info: ValidationInfo) -> Secret:
    """Take a reference to a secret, and fetch it."""
    if not isinstance(value, dict):
        raise ValueError(f"A secret does not stand in this file. {HOW_TO_REFER}")
    if len(value) != 1 or not value.keys() <= {"env", "file"}:
        raise ValueError(f"This is no reference to a secret. {HOW_TO_REFER}")
    ((way, where),) = value.items()
    if not isinstance(where, str) or not where:
        raise ValueError(f"This is no reference to a secret. {HOW_TO_REFER}")
    around = surroundings(info)
    if around.pretends:
        return Secret(PRETENDED, f"{way} {where}")
    return _from_environment(where, around) if way == "env" else _from_file(around.folder / where)


def reference_or_url(value: Any, info: ValidationInfo) -> Secret:
    """Take a reference to a secret URL, or a URL that is none."""
    if not isinstance(value, str):
        secret = reference(value, info)
        if not _is_url(secret.value):
            raise ValueError(
                f"What is in {secret.source} is no URL. It begins with https:// or http://, like https://host/path."
            )
        return secret
    if not value.lower().startswith(("https://", "http://")):
        raise ValueError(
            "This must begin with https:// or http://, and this one does not. Write it like https://host/path, or as a "
            "secret: {env: NAME}."
        )
    if not _is_url(value):
        raise ValueError(
            "This is no URL without a user in it. Write it like https://host/path, or as a secret: {env: NAME}."
        )
    parts = urlsplit(value)
    return Secret(value, "", f"{parts.scheme}://{parts.netloc}/...")


def ledger_key(secret: Secret) -> Secret:
    """Take a key that others are wrapped with."""
    try:
        read_key_text(secret.value)
    except Invalid as error:
        raise ValueError(f"What is in {secret.source} is no key. {error}") from None
    return secret


def envelope_secret(secret: Secret) -> Secret:
    """Take a secret that nobody guesses."""
    try:
        key_id(secret.value)
    except Invalid as error:
        raise ValueError(f"What is in {secret.source} is too short. {error}") from None
    return secret


def surroundings(info: ValidationInfo) -> Surroundings:
    """Give what the file may refer to."""
    assert isinstance(info.context, Surroundings)
    return info.context


def _from_environment(variable: str, around: Surroundings) -> Secret:
    if not _VARIABLE.fullmatch(variable):
        raise ValueError("What stands after env is no name of a variable. Write {env: NAME}.")
    value = around.environment.get(variable, "")
    if not value and around.running:
        raise ValueError(
            f"The server that runs has no variable {variable}, or it is empty. Set it and start the server again: a "
            "reload does not bring it."
        )
    if not value:
        raise ValueError(f"The environment has no variable {variable}, or it is empty. Set it.")
    return Secret(value, f"env {variable}")


def _from_file(path: Path) -> Secret:
    try:
        with _opened(path) as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        value = content.decode()
    except (OSError, ValueError) as error:
        raise ValueError(f"The secret's file {path} cannot be read: {_why(error)}.") from None
    if len(content) > SECRET_BYTES_MAX:
        raise ValueError(
            f"The secret's file {path} has more than {SECRET_BYTES_MAX:,} bytes; no secret is so long."
        )
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise ValueError(f"The secret's file {path} is empty. Put the value there.")
    return Secret(value, f"file {path}")


def _opened(path: Path) -> BinaryIO:
    if path.exists() and not path.is_file():
        raise IsADirectoryError(None, "it is not a file")  # A pipe would keep us waiting for its other end.
    return path.open("rb")


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "it has no sound name"
