"""Wiring: the one place that chooses concrete parts and plugs them together."""

import asyncio
import gc
import hashlib
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, assert_never, cast

from tocsin.channels.email import Email, EmailConfig
from tocsin.channels.teams import Teams, TeamsConfig
from tocsin.channels.webhook import Webhook, WebhookConfig
from tocsin.core.ledger.encoding import Segment
from tocsin.core.ledger.verify import Damaged, Verdict, verify
from tocsin.core.model.access import Role, Token
from tocsin.core.model.errors import Invalid, NotFound, TocsinError
from tocsin.core.model.input import Input, LedgerFork, StoreRestored
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import ALL_LABELS, Policy, Route
from tocsin.outbound import Failure, Outbound
from tocsin.ports import (
    Channel,
    Clock,
    Head,
    Ids,
    Source,
    Store,
    StoreFailed,
    StoreHeld,
    StoreRefused,
    shared,
)
from tocsin.runtime import highwater
from tocsin.runtime.committed import Committed
from tocsin.runtime.house import House
from tocsin.runtime.kek import KEY_FILE, read_key_file, read_key_text
from tocsin.runtime.metrics import Metrics
from tocsin.runtime.node import Node
from tocsin.runtime.pump import Pump
from tocsin.runtime.rehearsal import Rehearsal
from tocsin.runtime.replaying import Replay
from tocsin.runtime.simulations import Simulations
from tocsin.runtime.world import MachineClock, MachineIds
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
    child_environment,
    machine_environment,
    read_policy_settings,
    read_rules,
    read_rules_text,
    read_settings,
)
from tocsin.stores.sqlite import SCHEMA_VERSION as SCHEMA_VERSION
from tocsin.stores.sqlite import SqliteStore, make_directory
from tocsin.stores.sqlite.beside import LedgerReader, open_store_reader
from tocsin.stores.sqlite.beside import open_reader as open_reader_of_sqlite
from tocsin.stores.sqlite.comparing import Difference, compare
from tocsin.stores.sqlite.copying import DATABASE, fold_database, read_restored, restored_of
from tocsin.stores.sqlite.copying import DATABASE_FILES as DATABASE_FILES
from tocsin.stores.sqlite.copying import RESTORED as RESTORED
from tocsin.stores.sqlite.copying import check_database as check_database
from tocsin.stores.sqlite.copying import copy_database as copy_file
from tocsin.stores.sqlite.copying import database_bytes as file_bytes
from tocsin.stores.sqlite.copying import hold_directory as hold_directory
from tocsin.stores.sqlite.copying import store_versions as store_versions
from tocsin.stores.sqlite.filling import fill as fill_file
from tocsin.stores.tables.ledger import LedgerRows
from tocsin.web.auth import Doorkeeper, Verifier, hash_token
from tocsin.web.denials import Denials
from tocsin.web.pepper import OPERATOR, first_token, is_operators
from tocsin.web.pepper import read_pepper as read_pepper_of

if TYPE_CHECKING:
    from tocsin.runtime.notary import Notary
    from tocsin.stores.postgres.looking import Looked as Looked

HELD_LOOKS = 20
HELD_LOOK_S = 0.05


def open_store(directory: Path, failpoint: Callable[[str], None] = lambda name: None) -> SqliteStore:
    """Open the embedded store.

    Whoever only asks whether somebody holds it, holds it for that moment, so one refusal is not believed.
    Raises: StoreRefused, StoreFailed.
    """
    pause = threading.Event()
    for _ in range(HELD_LOOKS):
        try:
            return SqliteStore(directory, failpoint=failpoint)
        except StoreHeld:
            pause.wait(HELD_LOOK_S)
    return SqliteStore(directory, failpoint=failpoint)


@contextmanager
def opened_store(
    directory: Path,
    database: str = "",
    failpoint: Callable[[str], None] = lambda name: None,
    *,
    settings: Settings,
) -> Iterator[Store]:
    """Open the store: the one on a PostgreSQL if a database is named, else the embedded one; held until it is closed.

    directory: of the embedded store, and in any case of what is this machine's own; database: a URL for libpq.
    Raises: StoreRefused, also if a ledger was signed here and there is none in the store; StoreFailed, Invalid.
    """
    if not database:
        check_seen(settings, directory)
        store: Store = open_store(directory, failpoint)
        try:
            yield store
        finally:
            store.close()
        return
    with _driver():
        from tocsin.stores.postgres import PostgresStore
    if (directory / DATABASE).exists():
        raise StoreRefused(
            f"{directory} holds an embedded store, which nodes on PostgreSQL would leave behind. Move it: tocsin "
            f"migrate-store --data {directory} --db URL. Or choose another --data."
        )
    check_seen(settings, directory, database)
    try:
        make_directory(directory)
    except OSError as error:
        raise StoreRefused(f"{directory} cannot be made: {error}. Choose another --data.") from error
    with hold_directory(directory):
        name = f"{_machine()}-{MachineIds().random_bytes(4).hex()}"
        on_server = PostgresStore(database, node_id=name)
        try:
            yield on_server
        finally:
            with suppress(StoreFailed):  # Then the others hear of it when its time is over.
                on_server.sign_off()
            on_server.close()


def _machine() -> str:
    return platform.node()[:64]


def is_this_machines(node: str) -> bool:
    """Say whether a node, by its name, runs or ran on this machine, or on one of the same name."""
    return node.rpartition("-")[0] == _machine()


def mark_of(settings: Settings, data: Path) -> Path:
    """Name the file of the high-water mark."""
    return data / (settings.highwater or highwater.FILE)


def check_seen(settings: Settings, data: Path, database: str = "") -> None:
    """See that a store has a ledger if one was signed here before; nothing is made. See `open_ledger`.

    Raises: StoreRefused if it has none; StoreFailed, Invalid.
    """
    path = mark_of(settings, data)
    mark = highwater.read(path)
    if mark is None or _has_ledger(data, database):
        return
    raise StoreRefused(
        f"The ledger {mark.origin} was signed here up to entry {mark.size - 1} ({path}), but there is none in "
        f"{name_of_store(data, database)}. "
        "If it is on PostgreSQL, name that: --db, or TOCSIN_DB. If it was lost, put it back: tocsin restore. If a new "
        "one is meant, give it a new directory: --data."
    )


def _has_ledger(data: Path, database: str) -> bool:
    try:
        reader = open_ledger(data, database)
    except NotFound:
        return False
    except Damaged:
        return True  # Whoever opens it says what is wrong.
    try:
        return reader.end().size > 0
    except Damaged:
        return True
    finally:
        reader.close()


@contextmanager
def _driver() -> Iterator[None]:
    """Say what is missing if PostgreSQL's driver, which is imported meanwhile, is not here. Raises: Invalid."""
    try:
        yield
    except ImportError as error:
        raise Invalid(
            f"PostgreSQL needs a driver that is not here ({error}). Install it: pip install 'tocsin[postgres]'."
        ) from error


MOVED = f"{DATABASE}.moved"
"""What the database of a data directory is called once it was moved to a server, so that nobody starts on it again."""


def move_store(data: Path, database: str, told: Callable[[str], None]) -> Head:
    """Move the embedded store of a data directory to an empty PostgreSQL; its keys stay. Give where the ledger ends.

    told: is given what is done next. Raises: as `open_reader` and `opened_store`, and Damaged.
    """
    with _driver():
        from tocsin.stores.postgres.filling import fill

    open_store(
        data
    ).close()  # It brings the schema up to date, and refuses a directory on which a server runs.
    with hold_directory(data):
        source = open_store_reader(data)
        try:
            head = fill(database, source.rows, told)
        finally:
            source.close()
        fold_database(data)
        (data / DATABASE).rename(data / MOVED)
    return head


def name_of_store(directory: Path, database: str = "") -> str:
    """Name a store for people, as `open_ledger` opens it. Raises: Invalid, StoreRefused."""
    return name_of_database(database) if database else str(directory)


def name_of_database(database: str) -> str:
    """Name a PostgreSQL without its password. Raises: Invalid, StoreRefused."""
    with _driver():
        from tocsin.stores.postgres.connecting import database_name
    return database_name(database)


def is_empty(database: str) -> bool:
    """Say whether a PostgreSQL holds nothing of a Tocsin's yet. Raises: Invalid, StoreRefused, StoreFailed."""
    with _driver():
        from tocsin.stores.postgres.copying import is_empty as is_empty_on_server
    return is_empty_on_server(database)


def restore_into(database: str, folder: Path, restored: bytes, told: Callable[[str], None]) -> Head:
    """Put the embedded store that was unpacked into a folder into an empty PostgreSQL. Give where the ledger ends.

    restored: what RESTORED would hold; the first node to start there records it.
    Raises: as `move_store`; nothing was put in then, but for Damaged.
    """
    with _driver():
        from tocsin.stores.postgres.copying import RESTORED as NOTE
        from tocsin.stores.postgres.filling import fill

    open_store(folder).close()  # It brings the schema up to date.
    source = open_store_reader(folder)
    try:
        return fill(database, source.rows, told, {NOTE: restored})
    finally:
        source.close()


def _restored(data: Path, size: int, secret: Callable[[str], bytes | None] | None) -> StoreRestored | None:
    """Say from which backup a store was put back, None if from none, or if the ledger says so already.

    size: of the ledger; secret: gives those of a store on PostgreSQL, where the note lies; None for an embedded one.
    """
    if secret is None:
        return read_restored(data, size)
    from tocsin.stores.postgres.copying import RESTORED as NOTE

    note = secret(NOTE)
    return restored_of(note, size) if note is not None else None


def look_at_server(database: str) -> "Looked":
    """Look at a PostgreSQL and what is in it; nothing is changed. Raises: Invalid, StoreRefused, StoreFailed."""
    with _driver():
        from tocsin.stores.postgres.looking import look
    return look(database, MachineClock())


def copy_database(data: Path, to: Path, database: str = "") -> None:
    """Copy all that is stored to a new file of the embedded store, beside whoever writes it; see `open_ledger`.

    Raises: as `open_reader`; StoreFailed if the copy cannot be written, and it is half a copy then.
    """
    if not database:
        copy_file(data, to)
        return
    with _driver():
        from tocsin.stores.postgres.copying import StoreReader
    reader = StoreReader(database)
    try:
        with reader.snapshot():
            fill_file(to, reader.rows)
    finally:
        reader.close()


def database_bytes(data: Path, database: str = "") -> int:
    """Say about how large a copy would be. Raises: as `open_reader`."""
    if not database:
        return file_bytes(data)
    with _driver():
        from tocsin.stores.postgres.copying import StoreReader
    reader = StoreReader(database)
    try:
        return reader.copy_bytes()
    finally:
        reader.close()


def build_memory_store() -> Store:
    """Make a store that forgets when the process ends, for whoever tries something out."""
    from tocsin.stores.memory import MemoryStore

    return MemoryStore()


def open_reader(directory: Path) -> LedgerReader:
    """Open the ledger of the embedded store beside whoever writes it.

    Raises: NotFound if there is none; StoreRefused, StoreFailed, Damaged.
    """
    return open_reader_of_sqlite(directory)


def open_ledger(directory: Path, database: str = "") -> LedgerRows:
    """Open the ledger in that PostgreSQL if a database is named, else the one in the directory.

    Raises: as `open_reader`.
    """
    if not database:
        return open_reader(directory)
    with _driver():
        from tocsin.stores.postgres.beside import LedgerReader as LedgerOnPostgres
    return LedgerOnPostgres(database)


def open_beside(directory: Path, database: str = "") -> Store:
    """Open the store for reading only, beside whoever writes it; what would write is not there. See `open_ledger`.

    Raises: as `open_reader`.
    """
    if not database:
        return cast(Store, open_store_reader(directory))
    with _driver():
        from tocsin.stores.postgres.copying import StoreReader
    return cast(Store, StoreReader(database))


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


def build_clock() -> Clock:
    """Make the machine's clock."""
    return MachineClock()


def build_ids() -> Ids:
    """Make the source of chance."""
    return MachineIds()


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


def build_policy(settings: Settings, channels: Mapping[str, Channel], id_key: bytes) -> Policy:
    """Make the policy: the routes that are configured, or one that tells every channel."""
    targets = tuple(
        Target(id=target_id(channel.name, address, id_key), channel=channel.name, address=address)
        for channel in channels.values()
        for address in channel.addresses
    )
    return policy_of(settings, targets)


def policy_of(settings: Settings, targets: tuple[Target, ...]) -> Policy:
    """Make the policy with these targets."""
    return Policy(
        routes=settings.routes or Route(name="default", group_by=(ALL_LABELS,)),
        targets=targets,
        rate_limit=settings.rate_limit,
        retries=settings.retries,
        keep=settings.keep,
    )


def read_candidate(path: Path) -> tuple[Policy, bool]:
    """Read a configuration for the policy that it would bring, and say whether it has targets of its own.

    No secret is fetched and no channel is made. The targets' ids are good for nothing but to tell them apart.
    Raises: Invalid with all errors.
    """
    settings = read_policy_settings(path)
    return policy_of(settings, _targets_named(settings)), settings.channels_in_file


def build_house(settings: Settings, at: int) -> House:
    """Make a house in memory that begins at a moment and goes by the policy of these settings. It tells nobody."""
    policy = policy_of(settings, _targets_named(settings))
    return House(policy, build_memory_store(), at=at, origin="tocsin-backtest")


def _targets_named(settings: Settings) -> tuple[Target, ...]:
    """Give the targets as the settings name them; no channel is made, and the ids only tell them apart."""
    return tuple(
        Target(id=target_id(channel.name, address, b"candidate"), channel=channel.name, address=address)
        for channel in settings.channels
        for address in (channel.recipients if isinstance(channel, EmailSettings) else (channel.name,))
    )


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
    data: Path | None = None,
    failpoint: Callable[[str], None] | None = None,
    accept_clock: bool = False,
    opened: bool = True,
) -> Node:
    """Make a node over an open store, with its state loaded.

    data: the store's directory: that it was restored from a backup is then recorded.
    accept_clock: start although the clock does not fit the ledger.
    opened: load the state and adopt the policy; without it, the node can only be asked for what is stored.
    Raises: Invalid, StoreFailed, StoreRefused.
    """
    ids = MachineIds()
    clock = MachineClock()
    several = shared(store)
    if (id_key := store.secret("id_key")) is None:
        id_key = ids.random_bytes(32)
        store.keep_secret("id_key", id_key)
    failpoint = failpoint or build_failpoint(settings)
    notary = build_notary(settings, store, ids, data, failpoint) if data is not None else None
    origin = origin_of(store, ids)
    first: list[Input] = []
    if opened and data is not None and notary is not None:
        restored = _restored(data, store.head().size, None if shared(store) is None else store.secret)
        if restored is None:
            notary.check()
        else:
            fork = notary.fork(f"put back from a backup of {restored.size} entries")
            first += [restored, fork]
            origin = notary.origin = fork.origin
    outbound = build_outbound(settings)
    channels = build_channels(settings, outbound)
    node = Node(
        store=store,
        clock=clock,
        ids=ids,
        channels=channels,
        policy=build_policy(settings, channels, id_key),
        origin=origin,
        dry_run=settings.dry_run,
        failpoint=failpoint,
        close=outbound.close,
        metrics=build_metrics(data),
        notary=notary,
        envelope_secrets=[secret.value for secret in settings.envelope_secrets],
        simulations=build_simulations(data, several.url if several else "") if data is not None else None,
        backtests=build_backtests(settings, data) if data is not None else None,
        read_rules=read_rules_text,
    )
    use_heartbeat(node, settings, outbound)
    if opened:
        node.open(accept_clock=accept_clock, first=first)
        node.evaluator.use(settings.rules, build_sources(settings, outbound), settings.slos)
        if data is not None:  # What was in there is in the ledger now.
            failpoint("after-restore")
            (data / RESTORED).unlink(missing_ok=True)
    # What was loaded lives as long as the process: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    return node


def build_simulations(data: Path, database: str = "") -> Simulations:
    """Make who decides again in a process of its own, which reads beside this one.

    It needs no secret but the way to the database, if there is one.
    """
    environment = child_environment({"TOCSIN_DB": database} if database else {})
    return Simulations([*_TOCSIN, "whatif", "--data", str(data.absolute()), "--policy"], environment)


def build_backtests(settings: Settings, data: Path) -> Simulations:
    """Make who tries rules in a process of its own. It reads the configuration itself, with the secrets of its sources.

    What was changed there since this server read it counts for a backtest already.
    """
    command = [*_TOCSIN, "rule", "backtest", "--data", str(data.absolute())]
    if settings.path is not None:
        command += ["--config", str(settings.path.absolute())]
    return Simulations(command, dict(machine_environment()), file="rules.yaml", name="backtest")


_TOCSIN = (sys.executable, "-P", "-m", "tocsin.cli.main")


def origin_of(store: Store, ids: Ids) -> str:
    """Say what the ledger is called; a new one gets its name here."""
    if origins := store.origins():
        return origins[-1][1]
    origin = store.secret("origin")
    if origin is None:
        origin = b"tocsin-" + ids.random_bytes(4).hex().encode()
        store.keep_secret("origin", origin)
    return origin.decode()


def build_notary(
    settings: Settings,
    store: Store,
    ids: Ids,
    data: Path,
    failpoint: Callable[[str], None] = lambda name: None,
) -> "Notary":
    """Make who signs the checkpoints of the ledger in a data directory."""
    # Cryptography takes its time to load, and most verbs do without.
    from tocsin.runtime.notary import Notary

    def kek() -> bytes:
        return read_kek(settings, store, ids, data)

    mark = mark_of(settings, data)
    return Notary(store, ids, origin=origin_of(store, ids), kek=kek, mark=mark, failpoint=failpoint)


def read_kek(settings: Settings, store: Store, ids: Ids, data: Path) -> bytes:
    """Give the key that the ledger's own keys are wrapped with, which a first start makes. Raises: Conflict."""
    if settings.ledger_key is not None:
        return read_key_text(settings.ledger_key.value)
    return read_key_file(data / KEY_FILE, ids, may_make=not store.signers())


def fork_ledger(
    settings: Settings, data: Path, database: str = "", *, reason: str, actor: str
) -> tuple[LedgerFork, str]:
    """Let the ledger of an older state of the store go on under another name.

    Returns: under which, and why that was not signed yet, "" if it was. All that can be known is looked at before.
    Raises: Conflict if nothing is lost; NotFound; StoreFailed, StoreRefused. Nothing was changed then, unless the first
    says that this is not known.
    """
    if database:
        _check_nobody_lives(database)  # First, because opening the store may change its tables.
    ids, clock = MachineIds(), MachineClock()
    with opened_store(data, database, settings=settings) as store:
        notary = build_notary(settings, store, ids, data)
        notary.check_fork()
        fork = notary.fork(reason)
        clock.not_before(store.head().at)
        pump = Pump(store, clock, ids, origin=fork.origin, on_committed=lambda committed: None)
        try:
            pump.open((fork,), actor=actor)
        except StoreFailed:
            if not _is_called(store, fork.origin):
                raise
        notary.origin = fork.origin
        try:
            notary.latest()
        except (TocsinError, StoreFailed, StoreRefused) as error:
            return fork, str(error)
        return fork, ""


def _check_nobody_lives(database: str) -> None:
    """See that no node lives on a PostgreSQL. Raises: StoreRefused if one does; as `open_ledger`."""
    with _driver():
        from tocsin.stores.postgres.beside import LedgerReader as LedgerOnPostgres
    reader = LedgerOnPostgres(database)
    try:
        living = reader.living()
    finally:
        reader.close()
    if living:
        named = ", ".join(name for name, _ in living)
        seconds = -(-max(left for _, left in living) // 1_000_000)
        raise StoreRefused(
            f"Nodes are running on {name_of_database(database)}, or were killed just now: {named}. Nothing was "
            f"changed. Stop all of them (one that was killed counts as running for {seconds} s more), and do it again."
        )


def _is_called(store: Store, origin: str) -> bool:
    """Say whether a fork took effect that seemed to fail: its answer may have been lost.

    Raises: StoreFailed if that cannot be said.
    """
    reopen = getattr(store, "reopen", None)
    try:
        if reopen is not None:
            reopen()
        return any(name == origin for _, name in store.origins())
    except StoreFailed as failed:
        raise StoreFailed(
            f"Whether the ledger was forked is not known: {failed} Do it again once the store can be read; if it was "
            "done, that says so and changes nothing."
        ) from failed


def lost_by(
    settings: Settings, data: Path, mark: highwater.HighWater, reader: LedgerRows, verdict: Verdict
) -> str:
    """Say what a sound ledger lacks of what was signed in a data directory, "" if nothing.

    mark: as it was read before the ledger was, for servers go on meanwhile. verdict: over the ledger, and of the root
    that it had at the mark. What was put back from a backup, and not started since, lacks nothing that it does not say.
    Raises: StoreFailed, StoreRefused, Damaged.
    """
    if _restored(data, verdict.size, None if isinstance(reader, LedgerReader) else reader.secret) is not None:
        return ""
    return highwater.lost(
        mark,
        mark_of(settings, data),
        names=[name for _, name in reader.origins()],
        size=verdict.size,
        root_of=lambda size: verdict.root_then,
    )


def replay_ledger(
    data: Path,
    folder: Path,
    watched: Callable[[Iterable[Segment], int, str], Iterator[Segment]],
    database: str = "",
) -> tuple[list[Difference], int, int]:
    """Read the ledger of a data directory, or of a PostgreSQL, again into an empty store, and compare the two.

    folder: an empty one, for the copy and the store; database: see `open_ledger`.
    Returns: the first differences, how many there are, and the size.
    Raises: NotFound, StoreRefused, StoreFailed; Damaged, naming the entry, if the ledger itself is not sound.
    """
    live = folder / "live"
    live.mkdir()
    copy_database(data, live / DATABASE, database)
    reader = open_reader(live)
    again = SqliteStore(folder / "again", is_scratch=True)
    try:
        end = reader.end()
        segments = watched(reader.segments(), end.size, "verifying")
        verdict = verify(segments, size=end.size, root=end.root, edge=end.edge, at=end.at)
        if not verdict.is_sound:
            raise Damaged(f"entry {verdict.bad_seq}: {verdict.what}")
        origins: list[tuple[int, str]] = reader.origins()
        replay = Replay(again, origins=origins)
        for segment in watched(reader.segments(), end.size, "replaying"):
            try:
                replay.take(segment)
            except (ValueError, LookupError, AssertionError, TypeError, AttributeError) as error:
                # Every hash is right, but no Tocsin decided this.
                raise Damaged(
                    f"what entry {segment.first_seq} or one behind it says cannot be: {error!r}"
                ) from error
        replay.end(end.at)
    finally:
        again.close()
        reader.close()
    found, total = compare(
        live / "tocsin.db",
        folder / "again" / "tocsin.db",
        incidents_before=replay.incidents_before,
        notifications_before=replay.notifications_before,
        incomplete=replay.incomplete,
    )
    return found, total, end.size


def build_metrics(data: Path | None) -> Metrics:
    """Make the metrics of this process. data: whose disk is looked at."""
    _, sqlite = store_versions()
    build = {"version": version("tocsin"), "python": platform.python_version(), "sqlite": sqlite}
    return Metrics(build=build, directory=data)


def use_heartbeat(node: Node, settings: Settings, outbound: Outbound) -> None:
    """Let the node's heartbeat go where the settings say, from now on."""
    beat = settings.heartbeat
    node.heartbeat.use(outbound.get, beat.url.value if beat else "", beat.every_s if beat else 0.0)


def read_pepper(data: Path, store: Store) -> bytes:
    """Give the key of the tokens' hashes, which a first start makes. Raises: Conflict."""
    return read_pepper_of(data, store, MachineIds())


def build_doorkeeper(settings: Settings, node: Node, pepper: bytes) -> Doorkeeper:
    """Make who lets people in; to be closed before the node stops. Raises: Invalid, StoreFailed."""
    doorkeeper = Doorkeeper(
        node.store,
        node.clock,
        pepper=pepper,
        denials=Denials(node.gate.submit),
        verifier=build_verifier(settings, node.clock),
    )

    def heard(committed: Committed) -> None:
        if committed.has_tokens:
            asyncio.get_running_loop().run_in_executor(None, doorkeeper.forget)

    node.gate.watch(heard)
    return doorkeeper


JWKS_BYTES_MAX = 256 * 1024
JWKS_TIMEOUT_S = 5.0


def build_verifier(settings: Settings, clock: Clock) -> Verifier | None:
    """Make who verifies JWTs, None if no issuer is configured. Raises: Invalid."""
    given = settings.issuer
    if given is None:
        return None
    # Cryptography takes its time to load, and most servers and all verbs do without.
    from tocsin.web.jwks import Fetched, NotFetched, max_age_s
    from tocsin.web.jwt import Issuer, JwtVerifier

    outbound = build_outbound(settings)

    async def fetch() -> Fetched:
        if given.jwks_file:
            try:
                return Fetched(await asyncio.to_thread(Path(given.jwks_file).read_bytes))
            except OSError as error:
                raise NotFetched(f"{given.jwks_file}: {error.strerror}") from error
        answer = await outbound.get(
            given.jwks_url,
            headers={"Accept": "application/json"},
            timeout_s=JWKS_TIMEOUT_S,
            answer_bytes_max=JWKS_BYTES_MAX,
        )
        if isinstance(answer, Failure):
            raise NotFetched(answer.why)
        if answer.status != 200 or answer.truncated:
            raise NotFetched(
                f"HTTP {answer.status}, {len(answer.body)} bytes{' and more' * answer.truncated}"
            )
        return Fetched(answer.body, max_age_s(answer.cache_control))

    issuer = Issuer(
        issuer=given.issuer,
        audience=given.audience,
        jwks_url=given.jwks_url,
        jwks_file=given.jwks_file,
        algorithms=given.algorithms,
        leeway_s=given.leeway_s,
        role_claim=given.role_claim,
        roles=tuple((value, Role(role)) for value, role in given.roles),
    )
    return JwtVerifier(issuer, fetch, clock, close=outbound.close)


def make_first_token(store: Store, pepper: bytes) -> tuple[str, Token] | None:
    """Make the admin's token if there is none yet: what is shown once, and what is stored once it was shown.

    In that order, so that a start that dies in between shows another one the next time.
    """
    if not all(is_operators(token) for token in store.tokens()):
        return None
    return first_token(MachineIds(), MachineClock().now(), pepper)


def make_operator_token(store: Store, pepper: bytes, data: Path) -> str:
    """Make the token of whoever may read the data directory, in place of the one of the last start there.

    Raises: StoreFailed.
    """
    id_ = OPERATOR
    if shared(store) is not None:
        here = f"{platform.node()} {data.resolve()}"
        id_ += f"-{hashlib.blake2b(here.encode(), digest_size=4).hexdigest()}"
    token = f"toc_{id_}_{MachineIds().random_bytes(32).hex()}"
    name = "operator on this machine"
    store.put_token(
        Token(
            id=id_,
            name=name,
            role=Role.ADMIN,
            hash=hash_token(token, pepper),
            created_at=MachineClock().now(),
        )
    )
    return token
