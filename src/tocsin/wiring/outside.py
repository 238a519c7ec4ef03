"""Outside: the channels and sources that are configured, and the settings read with each of them tried."""

from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from tocsin.channels.email import Email, EmailConfig
from tocsin.channels.teams import Teams, TeamsConfig
from tocsin.channels.webhook import Webhook, WebhookConfig
from tocsin.outbound import Outbound
from tocsin.ports import Channel, Source
from tocsin.runtime.rehearsal import Rehearsal
from tocsin.settings import (
    ChannelSettings,
    EmailSettings,
    HttpSettings,
    PrometheusSettings,
    Settings,
    SourceSettings,
    SqlSettings,
    TeamsSettings,
    WebhookSettings,
    read_rules,
    read_settings,
)


def build_outbound(settings: Settings) -> Outbound:
    """Make the HTTP client of all channels; whoever makes it closes it. Raises: Invalid."""
    # A lane never has more than its places on the wire, so no channel can use up the connections of another.
    return Outbound(allow_private=settings.allow_private, connections_per_host=0)


def build_sources(settings: Settings, outbound: Outbound) -> dict[str, Source]:
    """Make the sources of the settings, in their order. Nothing is connected to yet. Raises: Invalid."""
    return {source.name: build_source(source, outbound) for source in settings.sources}


def build_source(settings: SourceSettings, outbound: Outbound) -> Source:
    """Make one source. Raises: Invalid, whose field is a key of it."""
    match settings:
        case SqlSettings():
            from tocsin.sources.sql import Sql, SqlConfig  # It takes its time to load.

            return Sql(
                SqlConfig(
                    name=settings.name,
                    url=settings.url.value,
                    timeout_s=settings.timeout_s,
                    rows_max=settings.rows_max,
                    connections=settings.connections,
                    files=settings.files,
                    trust_readonly=settings.trust_readonly,
                )
            )
        case PrometheusSettings():
            from tocsin.sources.prometheus import Prometheus, PrometheusConfig

            return Prometheus(
                PrometheusConfig(
                    name=settings.name,
                    url=settings.url.value,
                    headers=tuple((name, secret.value) for name, secret in settings.headers),
                    timeout_s=settings.timeout_s,
                ),
                outbound,
            )
        case HttpSettings():
            from tocsin.sources.http import Http, HttpConfig

            return Http(
                HttpConfig(
                    name=settings.name,
                    url=settings.url.value,
                    headers=tuple((name, secret.value) for name, secret in settings.headers),
                    timeout_s=settings.timeout_s,
                ),
                outbound,
            )
        case _:
            assert_never(settings)


def try_source(settings: SourceSettings, outbound: Outbound) -> Callable[[str], None]:
    """Make one source, load its driver, and give what tries a query on it. Raises: Invalid, as `build_source` does."""
    source = build_source(settings, outbound)
    if isinstance(settings, SqlSettings):
        from tocsin.sources.sql import Sql

        assert isinstance(source, Sql)
        source.load_driver()
    return source.check


def build_channels(settings: Settings, outbound: Outbound | None = None) -> dict[str, Channel]:
    """Make the channels that are configured. Raises: Invalid."""
    outbound = outbound or build_outbound(settings)
    return {channel.name: build_channel(channel, outbound) for channel in settings.channels}


def build_channel(settings: ChannelSettings, outbound: Outbound) -> Channel:
    """Make one channel. Raises: Invalid, whose field is the name of the wrong setting."""
    made: Channel
    match settings:
        case EmailSettings():
            made = Email(
                EmailConfig(
                    name=settings.name,
                    host=settings.host,
                    port=settings.port,
                    user=settings.user,
                    password="" if settings.password is None else settings.password.value,
                    sender=settings.sender,
                    recipients=settings.recipients,
                    tls=settings.tls,  # type: ignore[arg-type]
                    ca_file=settings.ca_file,
                    timeout_s=settings.timeout_s,
                    ehlo_name=settings.ehlo_name,
                ),
                resolve=outbound.addresses,
            )
        case TeamsSettings():
            url, timeout_s = settings.url.value, settings.timeout_s
            made = Teams(TeamsConfig(name=settings.name, url=url, timeout_s=timeout_s), outbound)
        case WebhookSettings():
            made = Webhook(
                WebhookConfig(
                    name=settings.name,
                    url=settings.url.value,
                    secrets=tuple(secret.value for secret in settings.secrets),
                    signature_header=settings.signature_header,
                    extra_headers={name: secret.value for name, secret in settings.extra_headers},
                    thin=settings.thin,
                    timeout_s=settings.timeout_s,
                ),
                outbound,
            )
        case _:
            assert_never(settings)
    return Rehearsal(made) if settings.dry_run else made


def read_configuration(config: Path | None, data: Path | None, *, running: bool = False) -> Settings:
    """Read the settings of `config`, or those that are found by the data directory, with every channel tried.

    running: a server reads them anew.
    Raises: Invalid with all errors.
    """
    outbound = Outbound()
    return read_settings(
        config=config,
        data=data,
        try_channel=lambda channel: build_channel(channel, outbound),
        try_source=lambda source: try_source(source, outbound),
        running=running,
    )


def read_rules_of(path: Path, settings: Settings, *, any_source: bool = False) -> Settings:
    """Read one file of rules, with every query tried; see `tocsin.settings.read_rules`. Raises: Invalid."""
    outbound = build_outbound(settings)
    return read_rules(
        path,
        settings,
        try_source=lambda source: try_source(source, outbound),
        any_source=any_source,
    )
