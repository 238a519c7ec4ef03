"""A node: all parts of a server over an open store."""

import gc
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from tocsin.core.model.input import Input
from tocsin.outbound import Outbound
from tocsin.ports import Store, shared
from tocsin.runtime.metrics import Metrics
from tocsin.runtime.node import Node
from tocsin.runtime.simulations import Simulations
from tocsin.runtime.world import MachineClock, MachineIds
from tocsin.settings import Settings, child_environment, machine_environment, read_rules_text
from tocsin.stores.sqlite.copying import RESTORED, store_versions
from tocsin.wiring.ledgers import build_notary, origin_of
from tocsin.wiring.machine import build_failpoint
from tocsin.wiring.outside import build_channels, build_outbound, build_sources
from tocsin.wiring.policies import build_policy
from tocsin.wiring.stores import restored_from


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
        restored = restored_from(data, store.head().size, None if shared(store) is None else store.secret)
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


def build_metrics(data: Path | None) -> Metrics:
    """Make the metrics of this process. data: whose disk is looked at."""
    _, sqlite = store_versions()
    build = {"version": version("tocsin"), "python": platform.python_version(), "sqlite": sqlite}
    return Metrics(build=build, directory=data)


def use_heartbeat(node: Node, settings: Settings, outbound: Outbound) -> None:
    """Let the node's heartbeat go where the settings say, from now on."""
    beat = settings.heartbeat
    node.heartbeat.use(outbound.get, beat.url.value if beat else "", beat.every_s if beat else 0.0)
