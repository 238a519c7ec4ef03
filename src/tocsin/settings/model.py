"""What is settled: frozen values, whether they came from the file or from the environment.

Durations are integer microseconds, unless a name ends in `_s`. Secrets are `Secret`, which shows itself to nobody.
"""

from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from tocsin.core.model.policy import Policy, RateLimit, Retries, Route
from tocsin.core.model.rule import Rule, Slo


class Secret(msgspec.Struct, frozen=True):
    """A value that is shown to nobody.

    source: where it came from, such as `env SMTP_PASSWORD` or `file /etc/tocsin/key`.
    shown: what may be shown of it, "" for nothing.
    """

    value: str
    source: str = ""
    shown: str = ""

    def __repr__(self) -> str:
        return f"Secret({self.source or self.shown or '***'})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec gives every struct one with all its fields, and rich would print the value.
        return [("source", self.source)]


class EmailSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A relay and who is written to. Fields as in the e-mail channel's own configuration.

    port: 0 for the standard one of its kind of TLS.
    """

    name: str
    host: str
    sender: str
    recipients: tuple[str, ...]
    port: int = 0
    user: str = ""
    password: Secret | None = None
    tls: str = "starttls"
    ca_file: str = ""
    timeout_s: float = 30.0
    ehlo_name: str = ""
    dry_run: bool = False


class TeamsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A Teams channel or chat, by the URL of its Workflows trigger."""

    name: str
    url: Secret
    timeout_s: float = 10.0
    dry_run: bool = False


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver of webhooks. Fields as in the webhook channel's own configuration."""

    name: str
    url: Secret
    secrets: tuple[Secret, ...] = ()
    signature_header: str = "X-QNWIS-Signature"
    extra_headers: tuple[tuple[str, Secret], ...] = ()
    thin: bool = False
    timeout_s: float = 15.0
    dry_run: bool = False


ChannelSettings: TypeAlias = EmailSettings | TeamsSettings | WebhookSettings


class SqlSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A database that rules ask. files: a folder of Parquet and CSV files, "" for none.

    trust_readonly: its account can only read, as the operator says; the database itself does not see to it.
    """

    name: str
    url: Secret
    timeout_s: float = 10.0
    rows_max: int = 10_000
    connections: int = 2
    files: str = ""
    trust_readonly: bool = False


class PrometheusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A Prometheus, or what speaks as one."""

    name: str
    url: Secret
    headers: tuple[tuple[str, Secret], ...] = ()
    timeout_s: float = 10.0


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A URL that answers with JSON."""

    name: str
    url: Secret
    headers: tuple[tuple[str, Secret], ...] = ()
    timeout_s: float = 10.0


SourceSettings: TypeAlias = SqlSettings | PrometheusSettings | HttpSettings


class IssuerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whose JWTs are believed. One of jwks_url and jwks_file is set.

    role_claim: the claim that says who somebody is; roles: (its value, our role) pairs.
    """

    issuer: str
    audience: str
    jwks_url: str = ""
    jwks_file: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    leeway_s: float = 30.0
    role_claim: str
    roles: tuple[tuple[str, str], ...]


class HeartbeatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked, and how often, so that somebody notices when Tocsin itself is dead."""

    url: Secret
    every_s: float


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that is settled. Secrets are kept here and in the channels, nowhere else.

    channels_in_file: they stand in the file, and not in the environment.
    keep: how long what is over is kept, 0 for ever.
    ledger_key: what the ledger's own keys are wrapped with, None for the file in the data directory; highwater: file
    of the high-water mark, "" for the one there; envelope_secrets: the first signs, all verify.
    sources, rules, slos: of the Alert Center; objectives are among the rules, too.
    url: under which people reach this server, "" if nobody said.
    path: of the file, None if there is none; digest: SHA-256 (64 hex digits) of its bytes and those of the files of
    rules, "" without one.
    """

    channels: tuple[ChannelSettings, ...] = ()
    channels_in_file: bool = False
    routes: Route | None = None
    rate_limit: RateLimit | None = RateLimit()
    retries: Retries = Retries()
    issuer: IssuerSettings | None = None
    heartbeat: HeartbeatSettings | None = None
    keep: int = Policy().keep
    ledger_key: Secret | None = None
    highwater: str = ""
    envelope_secrets: tuple[Secret, ...] = ()
    sources: tuple[SourceSettings, ...] = ()
    rules: tuple[Rule, ...] = ()
    slos: tuple[Slo, ...] = ()
    allow_private: tuple[str, ...] = ()
    dry_run: bool = False
    failpoint: tuple[str, int] | None = None
    url: str = ""
    path: Path | None = None
    digest: str = ""
