"""Gate: notify_performance. How long does a dispatch take, from the alert to its recorded outcome, in a dry run?

The node is a real one in this process: pump and commits to a disk, dispatcher, channels. Only the network is left out.
"""

import asyncio
import tempfile
from pathlib import Path

from tocsin.cli.gate_check import Asked, Found
from tocsin.core.model.alert import Alert, Severity
from tocsin.core.model.input import AlertReceived, received
from tocsin.core.model.notification import DeliveryState
from tocsin.core.model.policy import MINUTE
from tocsin.runtime.node import Node
from tocsin.settings import EmailSettings, Settings, TeamsSettings, WebhookSettings
from tocsin.settings.model import Secret
from tocsin.wiring.machine import build_clock
from tocsin.wiring.node import build_node
from tocsin.wiring.stores import open_store

DISPATCHES = 100
WARM_UP = 10
P95_MS_MAX = 50.0
PATIENCE_S = 10.0
"""A dispatch that takes longer will not end."""

HOOK = Secret("https://gate.invalid/hook")
SETTINGS = Settings(
    channels=(
        EmailSettings(
            name="email",
            host="mail.gate.invalid",
            sender="gate@gate.invalid",
            recipients=("anna@gate.invalid",),
        ),
        TeamsSettings(name="teams", url=HOOK),
        WebhookSettings(name="webhook", url=HOOK, secrets=(Secret("what signs in the gate"),)),
    ),
    rate_limit=None,
    dry_run=True,
)
"""Each dispatch goes through all three of them."""


def performance(asked: Asked) -> Found:
    """Measure so many dispatches, one after the other, and compare the 95th percentile with the bar."""
    with tempfile.TemporaryDirectory(prefix="tocsin-gate-") as folder:
        took = sorted(asyncio.run(_measure(Path(folder))))
    p50, p95, p99 = (took[-(-len(took) * percent // 100) - 1] for percent in (50, 95, 99))
    figures = {
        "dispatches": len(took),
        "p50_ms": round(p50, 2),
        "p95_ms": round(p95, 2),
        "p99_ms": round(p99, 2),
        "max_ms": round(took[-1], 2),
        "bar_p95_ms": P95_MS_MAX,
    }
    said = (
        f"{len(took)} dispatches in dry run, each through {len(SETTINGS.channels)} channels, took "
        f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms; the bar is p95 < {P95_MS_MAX:.0f} ms."
    )
    if p95 < P95_MS_MAX:
        return Found("ok", said, figures=figures)
    step = "Is the machine busy, or the disk for temporary files (TMPDIR) slow? Then measure again when it is not."
    return Found("fail", said, step, figures=figures)


async def _measure(folder: Path) -> list[float]:
    """Give the milliseconds that each dispatch took."""
    clock = build_clock()
    store = open_store(folder)
    try:
        node = build_node(SETTINGS, store)
        committed = node.gate.listen()
        node.start()
        took: list[float] = []
        try:
            for number in range(WARM_UP + DISPATCHES):
                began = clock.now()
                async with asyncio.timeout(PATIENCE_S):
                    await node.gate.submit((_alert(node, number),), "token:gate")
                    ended = 0
                    while ended < len(SETTINGS.channels):
                        ended += len((await committed.get()).ended)
                if number >= WARM_UP:
                    took.append((clock.now() - began) / 1000)
        finally:
            await node.stop()
        ends = store.counts()
        assert ends.keys() == {DeliveryState.DRY_RUN}, f"a dry run that ends with {ends}"
    finally:
        store.close()
    return took


def _alert(node: Node, number: int) -> AlertReceived:
    now = node.clock.now()
    return received(
        Alert(
            rule_id="gate",
            scope={"dispatch": str(number)},
            severity=Severity.ERROR,
            message="The gate measures how long it takes to tell somebody.",
            window_start=now - MINUTE,
            window_end=now,
        )
    )
