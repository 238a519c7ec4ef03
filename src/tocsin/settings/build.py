"""Build: from forms that are right to the frozen settings."""

from typing import Any, assert_never

import msgspec

from tocsin.core.model.policy import ALL_LABELS, SECOND, RateLimit, Retries, Route
from tocsin.core.model.silence import parse_matcher
from tocsin.settings.forms import (
    DefaultsForm,
    EmailForm,
    FileForm,
    RootForm,
    RouteForm,
    TeamsForm,
    WebhookForm,
)
from tocsin.settings.model import (
    ChannelSettings,
    EmailSettings,
    HeartbeatSettings,
    IssuerSettings,
    Settings,
    TeamsSettings,
    WebhookSettings,
)
from tocsin.settings.rules import source_of

INHERITED = tuple(DefaultsForm.model_fields)


def settings_of(form: FileForm, base: Settings) -> Settings:
    """Give the settings of a file. base: those of the environment, which hold where the file says nothing."""
    limit = form.rate_limit
    return msgspec.structs.replace(
        base,
        channels=base.channels if form.channels is None else tuple(map(channel_of, form.channels)),
        channels_in_file=form.channels is not None,
        routes=_tree(form),
        rate_limit=None if limit is None else RateLimit(**dict(limit)),
        retries=Retries(steps=tuple(form.retries.steps), give_up=form.retries.give_up),
        sources=tuple(map(source_of, form.sources)),
        issuer=_issuer(form),
        heartbeat=_heartbeat(form),
        keep=form.retention.keep,
        ledger_key=form.ledger.key,
        highwater=form.ledger.highwater or "",
        envelope_secrets=tuple(form.ledger.envelope_secrets),
        allow_private=tuple(dict.fromkeys((*form.outgoing.allow_private, *base.allow_private))),
        dry_run=form.dry_run or base.dry_run,
        url=form.url or "",
    )


def channel_of(form: EmailForm | TeamsForm | WebhookForm) -> ChannelSettings:
    """Give the settings of one channel."""
    timeout_s = form.timeout / SECOND
    match form:
        case EmailForm():
            return EmailSettings(
                name=form.name,
                host=form.host,
                port=form.port,
                tls=form.tls,
                user=form.user or "",
                password=form.password,
                sender=form.sender,
                recipients=tuple(form.recipients),
                ca_file=form.ca_file or "",
                ehlo_name=form.ehlo_name or "",
                timeout_s=timeout_s,
                dry_run=form.dry_run,
            )
        case TeamsForm():
            return TeamsSettings(name=form.name, url=form.url, timeout_s=timeout_s, dry_run=form.dry_run)
        case WebhookForm():
            return WebhookSettings(
                name=form.name,
                url=form.url,
                secrets=tuple(form.secrets),
                signature_header=form.signature_header,
                extra_headers=tuple(form.extra_headers.items()),
                thin=form.thin,
                timeout_s=timeout_s,
                dry_run=form.dry_run,
            )
        case _:
            assert_never(form)


def _tree(form: FileForm) -> Route | None:
    """Give the routes, None if the file has neither routes nor anything that they would inherit."""
    defaults = _own(form.defaults)
    if form.routes is None and not defaults:
        return None
    root = _route(form.routes or RootForm())
    from_defaults = {name: value for name, value in defaults.items() if getattr(root, name) is None}
    root = msgspec.structs.replace(root, **from_defaults)
    return root if root.group_by is not None else msgspec.structs.replace(root, group_by=(ALL_LABELS,))


def _route(form: RouteForm | RootForm) -> Route:
    branch: dict[str, Any] = {}
    if isinstance(form, RouteForm):
        branch = {"matchers": tuple(map(parse_matcher, form.matchers)), "continue_": form.continue_}
    return Route(name=form.name, routes=tuple(map(_route, form.routes)), **branch, **_own(form))


def _own(form: DefaultsForm) -> dict[str, Any]:
    """Give what a route says itself."""
    values = {name: getattr(form, name) for name in INHERITED}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if value is not None
    }


def _issuer(form: FileForm) -> IssuerSettings | None:
    issuer = form.auth.issuer
    if issuer is None:
        return None
    return IssuerSettings(
        issuer=issuer.issuer,
        audience=issuer.audience,
        jwks_url=issuer.jwks.url or "",
        jwks_file=issuer.jwks.file or "",
        algorithms=tuple(issuer.algorithms),
        leeway_s=issuer.leeway / SECOND,
        role_claim=issuer.role_claim,
        roles=tuple(issuer.roles.items()),
    )


def _heartbeat(form: FileForm) -> HeartbeatSettings | None:
    heartbeat = form.heartbeat
    return (
        None if heartbeat is None else HeartbeatSettings(url=heartbeat.url, every_s=heartbeat.every / SECOND)
    )
