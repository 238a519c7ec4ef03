"""Wiring: the one place that chooses concrete parts and plugs them together."""

import gc
import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from tocsin.channels.email import Email, EmailConfig
from tocsin.channels.teams import Teams, TeamsConfig
from tocsin.channels.webhook import Webhook, WebhookConfig
from tocsin.core.model.access import Role
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import ALL_LABELS, Policy, Route
from tocsin.outbound import Outbound
from tocsin.ports import Channel, Clock, Ids, Store, Token
from tocsin.runtime.node import Node
from tocsin.runtime.world import MachineClock, MachineIds
from tocsin.settings import Settings
from tocsin.stores.sqlite import SqliteStore
from tocsin.stores.sqlite.beside import LedgerReader
from tocsin.stores.sqlite.beside import open_reader as open_reader_of_sqlite
from tocsin.web.auth import hash_token, make_token


def open_store(directory: Path) -> SqliteStore:
    """Open the embedded store. Raises: StoreRefused, StoreFailed."""
    return SqliteStore(directory)


def open_reader(directory: Path) -> LedgerReader:
    """Open the ledger of the embedded store beside whoever writes it.

    Raises: NotFound if there is none; StoreRefused, StoreFailed, Damaged.
    """
    return open_reader_of_sqlite(directory)


def build_outbound(settings: Settings) -> Outbound:
    """Make the HTTP client of all channels; whoever makes it closes it. Raises: Invalid."""
    # A lane never has more than its places on the wire, so no channel can use up the connections of another.
    return Outbound(allow_private=settings.allow_private, connections_per_host=0)


def build_clock() -> Clock:
    """Make the machine's clock."""
    return MachineClock()


def build_ids() -> Ids:
    """Make the source of chance."""
    return MachineIds()


def build_channels(settings: Settings, outbound: Outbound | None = None) -> dict[str, Channel]:
    """Make the channels that are configured. Raises: Invalid."""
    outbound = outbound or build_outbound(settings)
    channels: list[Channel] = []
    smtp = settings.smtp
    if smtp is not None:
        channels.append(
            Email(
                EmailConfig(
                    name="email",
                    host=smtp.host,
                    port=smtp.port,
                    user=smtp.user,
                    password=smtp.password,
                    sender=smtp.sender,
                    recipients=smtp.recipients,
                    tls=smtp.tls,  # type: ignore[arg-type]
                ),
                resolve=outbound.addresses,
            )
        )
    if settings.teams_url:
        channels.append(Teams(TeamsConfig(name="teams", url=settings.teams_url), outbound))
    if settings.webhook_url:
        secrets = (settings.webhook_secret,) if settings.webhook_secret else ()
        channels.append(
            Webhook(WebhookConfig(name="webhook", url=settings.webhook_url, secrets=secrets), outbound)
        )
    return {channel.name: channel for channel in channels}


def build_policy(settings: Settings, channels: dict[str, Channel], id_key: bytes) -> Policy:
    """Make the policy: the routes that are configured, or one that tells every channel."""
    targets = tuple(
        Target(id=target_id(channel.name, address, id_key), channel=channel.name, address=address)
        for channel in channels.values()
        for address in channel.addresses
    )
    routes = settings.routes or Route(name="default", group_by=(ALL_LABELS,))
    return Policy(routes=routes, targets=targets, rate_limit=settings.rate_limit)


def target_id(channel: str, address: str, id_key: bytes) -> str:
    """Name a target by a keyed digest (16 hex digits) of its channel and address."""
    return hashlib.blake2b(f"{channel}\n{address}".encode(), key=id_key, digest_size=8).hexdigest()


def build_failpoint(settings: Settings) -> Callable[[str], None]:
    """Make what is called at each named point of the code: nothing, unless a test wants the process dead there."""
    if settings.failpoint is None:
        return lambda name: None
    wanted, left = settings.failpoint

    def die(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return die


def build_node(
    settings: Settings,
    store: Store,
    *,
    failpoint: Callable[[str], None] | None = None,
    accept_clock: bool = False,
    opened: bool = True,
) -> Node:
    """Make a node over an open store, with its state loaded.

    accept_clock: start although the clock does not fit the ledger.
    opened: load the state and adopt the policy; without it, the node can only be asked for what is stored.
    Raises: Invalid, StoreFailed, StoreRefused.
    """
    ids = MachineIds()
    clock = MachineClock()
    if (id_key := store.secret("id_key")) is None:
        id_key = ids.random_bytes(32)
        store.keep_secret("id_key", id_key)
    if (origin := store.secret("origin")) is None:
        origin = b"tocsin-" + ids.random_bytes(4).hex().encode()
        store.keep_secret("origin", origin)
    outbound = build_outbound(settings)
    channels = build_channels(settings, outbound)
    node = Node(
        store=store,
        clock=clock,
        ids=ids,
        channels=channels,
        policy=build_policy(settings, channels, id_key),
        origin=origin.decode(),
        dry_run=settings.dry_run,
        failpoint=failpoint or build_failpoint(settings),
        close=outbound.close,
    )
    if opened:
        node.open(accept_clock=accept_clock)
    # What was loaded lives as long as the process: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    return node


OPERATOR = "local"
"""Id of the token that a server makes anew at each start for whoever may read its data directory."""


def make_first_token(store: Store) -> tuple[str, Token] | None:
    """Make the admin's token if there is none yet: what is shown once, and what is stored once it was shown.

    In that order, so that a start that dies in between shows another one the next time.
    """
    if any(token.id != OPERATOR for token in store.tokens()):
        return None
    random = MachineIds().random_bytes(36)
    return make_token(random, name="first admin", role=Role.ADMIN, at=MachineClock().now())


def make_operator_token(store: Store) -> str:
    """Make the token of whoever may read the data directory, in place of the one of the last start.

    Raises: StoreFailed.
    """
    token = f"toc_{OPERATOR}_{MachineIds().random_bytes(32).hex()}"
    name = "operator on this machine, for this run"
    store.put_token(
        Token(
            id=OPERATOR, name=name, role=Role.ADMIN, hash=hash_token(token), created_at=MachineClock().now()
        )
    )
    return token
