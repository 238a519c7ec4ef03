"""Forms: the shape of `tocsin.yaml`. The reference in docs/configuration.md is written from them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tocsin.core.model.policy import MINUTE, SECOND, Policy, RateLimit, Retries
from tocsin.settings.form import (
    Algorithm,
    Cidr,
    Duration,
    EnvelopeSecret,
    FilePath,
    Form,
    KeysUrl,
    LedgerKey,
    MatcherText,
    Name,
    PublicUrl,
    Pulse,
    Reference,
    ReferenceOrUrl,
    RoleName,
    Span,
    Text,
    Tls,
)
from tocsin.settings.rule_forms import RuleForm, SloForm, SourceForm

_LIMIT, _RETRIES = RateLimit(), Retries()


class EmailForm(Form):
    """A relay, and who is written to; each recipient gets a mail of its own."""

    kind: Literal["email"] = Field(description="this kind of channel")
    name: Name = Field(description="how routes and people call it")
    host: Text = Field(description="the relay")
    port: int = Field(
        default=0, ge=0, le=65_535, description="0 is 587 for `starttls`, 465 for `implicit`, 25 for `none`"
    )
    tls: Tls = Field(
        default="starttls", description="`starttls` and `implicit` never fall back to plain text"
    )
    user: Text | None = Field(default=None, description="to sign in with, after TLS")
    password: Reference | None = Field(default=None, description="of that user")
    sender: Text = Field(description="`address` or `Name <address>`")
    recipients: list[Text] = Field(min_length=1, description="addresses")
    ca_file: FilePath | None = Field(
        default=None, description="PEM file with the only authorities to trust, instead of the system's"
    )
    ehlo_name: Text | None = Field(
        default=None, description="how to introduce ourselves, instead of by address"
    )
    timeout: Span = Field(default=30 * SECOND, description="for a connection, and for each command on it")
    dry_run: bool = Field(default=False, description="everything but the network, and recorded as such")


class TeamsForm(Form):
    """A Microsoft Teams channel or chat."""

    kind: Literal["teams"] = Field(description="this kind of channel")
    name: Name = Field(description="how routes and people call it")
    url: Reference = Field(description="of the Workflows trigger; whoever has it can post")
    timeout: Span = Field(default=10 * SECOND, description="for one attempt")
    dry_run: bool = Field(default=False, description="everything but the network, and recorded as such")


class WebhookForm(Form):
    """A receiver of webhooks."""

    kind: Literal["webhook"] = Field(description="this kind of channel")
    name: Name = Field(description="how routes and people call it")
    url: ReferenceOrUrl = Field(description="a secret if its path is one")
    secrets: list[Reference] = Field(
        default=[],
        max_length=8,
        description="what signs, newest first: `whsec_` and base64 (Standard Webhooks), or any text",
    )
    signature_header: str = Field(
        default="X-QNWIS-Signature",
        max_length=200,
        description='carries the plain hexadecimal HMAC-SHA256 of the body, by the first secret; `""` for none',
    )
    extra_headers: dict[str, Reference] = Field(
        default={}, description="headers to send along, such as Authorization; values are secrets"
    )
    thin: bool = Field(default=False, description="send ids and states only: no text, labels or evidence")
    timeout: Span = Field(default=15 * SECOND, description="for one attempt")
    dry_run: bool = Field(default=False, description="everything but the network, and recorded as such")


ChannelForm = Annotated[EmailForm | TeamsForm | WebhookForm, Field(discriminator="kind")]
KINDS = ("email", "teams", "webhook")


class DefaultsForm(Form):
    """What every route inherits unless it, or one above it, says otherwise."""

    channels: list[Text] | None = Field(
        default=None, description="whom its incidents tell; all, if nobody says"
    )
    group_by: list[Text] | None = Field(
        default=None, description="labels that hold an incident together; `...` is one alert an incident"
    )
    group_wait: Duration | None = Field(default=None, description="from opening to the first notification")
    group_interval: Duration | None = Field(
        default=None,
        description="least time between notifications about alerts that join or clear; a rise of severity is told"
        " at once",
    )
    repeat_interval: Span | None = Field(default=None, description="reminder while it is OPEN")
    send_resolved: bool | None = Field(default=None, description="tell when it is over")
    reopen_within: Duration | None = Field(
        default=None, description="a return this soon reopens the incident"
    )
    resolve_timeout: Duration | None = Field(
        default=None,
        description="an alert without `ends_at` expires this long after it was last seen; `0s` is never",
    )
    greens: int | None = Field(
        default=None, ge=1, le=1_000_000, description="consecutive green looks that clear an alert"
    )
    ack_timeout: Duration | None = Field(
        default=None, description="an acknowledgement lapses after this; `0s` is never"
    )


class RouteForm(DefaultsForm):
    """A branch: the first whose matchers all fit takes the alert."""

    name: Name = Field(description="unique and stable: incidents are keyed by it")
    matchers: list[MatcherText] = Field(
        default=[], description="`label=value`, `!=`, `=~`, `!~` (RE2, anchored); all must fit"
    )
    continue_: bool = Field(
        default=False, alias="continue", description="let the routes after it look at the alert too"
    )
    routes: list["RouteForm"] = Field(default=[], description="branches, tried in order")


class RootForm(DefaultsForm):
    """The root of the tree: it takes whatever no branch takes."""

    name: Name = Field(default="default", description="unique and stable: incidents are keyed by it")
    routes: list[RouteForm] = Field(default=[], description="branches, tried in order")


class RateLimitForm(Form):
    """How many notifications of one rule go out; what is withheld is told as a digest."""

    limit: int = Field(
        default=_LIMIT.limit, ge=0, le=1_000_000, description="notifications of one rule in any `window`"
    )
    window: Span = Field(default=_LIMIT.window, description="the window, which slides")
    digest_after: Duration = Field(
        default=_LIMIT.digest_after, description="from the first withholding to the first digest"
    )
    digest_interval: Span = Field(default=_LIMIT.digest_interval, description="between digests")


class RetriesForm(Form):
    """When a failed attempt is made again."""

    steps: list[Span] = Field(
        default=[*_RETRIES.steps],
        min_length=1,
        max_length=64,
        description="pauses in turn; the last one holds from then on",
    )
    give_up: Duration = Field(default=_RETRIES.give_up, description="after this a delivery is dead")


class KeysForm(Form):
    """Where the issuer's public keys are; one of the two."""

    url: KeysUrl | None = Field(default=None, description="of the JWKS; https, unless it is on this machine")
    file: FilePath | None = Field(default=None, description="with the JWKS")

    @model_validator(mode="after")
    def _one_of_two(self) -> "KeysForm":
        if (self.url is None) == (self.file is None):
            raise ValueError("The keys are at one place. Give either url or file.")
        return self


class IssuerForm(Form):
    """Whose JWTs are believed, besides Tocsin's own tokens."""

    issuer: Text = Field(description="as the claim `iss` has it")
    audience: Text = Field(description="that the claim `aud` must name")
    jwks: KeysForm = Field(description="the issuer's public keys")
    algorithms: list[Algorithm] = Field(
        default=["RS256", "ES256"],
        min_length=1,
        description="of `RS256`, `PS256`, `ES256`, `EdDSA`; no other is taken",
    )
    leeway: Duration = Field(default=30 * SECOND, description="how far clocks may differ")
    role_claim: Text = Field(default="role", description="the claim that says who somebody is")
    roles: dict[Text, RoleName] = Field(
        min_length=1, description="value of that claim: `admin`, `analyst`, `service`, `viewer` or `auditor`"
    )


class AuthForm(Form):
    """Who is let in."""

    issuer: IssuerForm | None = Field(default=None, description="whose JWTs are believed")


class RetentionForm(Form):
    """How long things are kept."""

    keep: Duration = Field(default=Policy().keep, description="what is over; `0s` is for ever")


class HeartbeatForm(Form):
    """Who is asked regularly, so that somebody notices when Tocsin itself is dead."""

    url: ReferenceOrUrl = Field(description="a secret if its path is one")
    every: Pulse = Field(default=MINUTE, description="how often")


class LedgerForm(Form):
    """How the record is kept and signed."""

    key: LedgerKey | None = Field(
        default=None,
        description="32 random bytes in base64 or hex that wrap the signing keys; without it, the file `ledger.key` in"
        " the data directory",
    )
    highwater: Text | None = Field(
        default=None,
        description="file that remembers the newest checkpoint, best on another disk; in the data directory unless it"
        " is an absolute path",
    )
    envelope_secrets: list[EnvelopeSecret] = Field(
        default=[],
        max_length=8,
        description="at least 24 characters each; the first one signs envelopes, all of them verify",
    )


class OutgoingForm(Form):
    """Where connections may go."""

    allow_private: list[Cidr] = Field(
        default=[],
        description="networks that may be reached besides the public internet; metadata addresses stay closed",
    )


class FileForm(Form):
    """The whole file. Every section may be left out."""

    channels: list[ChannelForm] | None = Field(
        default=None, max_length=1000, description="ways to speak; without it, those of the environment"
    )
    defaults: DefaultsForm = Field(default=DefaultsForm(), description="what every route inherits")
    routes: RootForm | None = Field(
        default=None, description="the root of the tree; without it, one route for all"
    )
    rate_limit: RateLimitForm | None = Field(
        default=RateLimitForm(), description="how many notifications of one rule go out; `null` for all"
    )
    retries: RetriesForm = Field(default=RetriesForm(), description="when a failed attempt is made again")
    sources: list[SourceForm] = Field(
        default=[], max_length=1000, description="where rules get their numbers"
    )
    rules: list[RuleForm] = Field(
        default=[], max_length=10_000, description="of the Alert Center; more of them in `rules/*.yaml`"
    )
    slos: list[SloForm] = Field(default=[], max_length=1_000, description="objectives, each with a rule")
    auth: AuthForm = Field(default=AuthForm(), description="who is let in besides the bearers of tokens")
    retention: RetentionForm = Field(default=RetentionForm(), description="how long things are kept")
    ledger: LedgerForm = Field(default=LedgerForm(), description="how the record is kept and signed")
    heartbeat: HeartbeatForm | None = Field(default=None, description="who hears that Tocsin is alive")
    outgoing: OutgoingForm = Field(default=OutgoingForm(), description="where connections may go")
    dry_run: bool = Field(default=False, description="everything but the network, and recorded as such")
    url: PublicUrl | None = Field(default=None, description="under which people reach this server")
