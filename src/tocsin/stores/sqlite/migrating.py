"""Migrating: from an older schema to this one, in one transaction: afterwards it is either as before or done."""

from collections.abc import Callable
from importlib import resources
from typing import Any

import apsw
import msgspec

from tocsin.core.engine.durations import bucket_of
from tocsin.core.engine.state import Counters, LiveAlert
from tocsin.core.model.silence import Silence

STEPS = {1: "0002_operating.sql", 2: "0003_proof.sql", 3: "0004_rules.sql"}
"""From each version to the next: the file in migrations/ that leads there."""

_alert = msgspec.msgpack.Decoder(LiveAlert).decode
_silence = msgspec.msgpack.Decoder(Silence).decode
_counters = msgspec.msgpack.Decoder(Counters).decode


def _with_intents(counters: bytes, intents: int) -> bytes:
    """Put in how many intents were decided, which nobody counted before."""
    return msgspec.msgpack.encode(msgspec.structs.replace(_counters(counters), intents=intents))


_GIVEN: dict[str, Any] = {
    "bucket_of": bucket_of,
    "seen_at_of": lambda body: _alert(body).seen_at,
    "ends_at_of": lambda body: _silence(body).ends_at,
    "with_intents": _with_intents,
}
"""What the steps ask of bodies, which SQL cannot read."""


def migrate(
    writer: apsw.Connection, version: int, wanted: int, failpoint: Callable[[str], None] = lambda name: None
) -> None:
    """Lead the file from its version to the wanted one. Raises: apsw.Error, msgspec.MsgspecError; nothing changed."""
    for name, function in _GIVEN.items():
        writer.create_scalar_function(name, function, deterministic=True)
    try:
        with writer:
            for step in range(version, wanted):
                writer.execute(
                    resources.files(__package__).joinpath("migrations", STEPS[step]).read_text()
                ).fetchall()
                failpoint("during-migration")
            writer.execute(f"PRAGMA user_version = {wanted}").fetchall()
    finally:
        for name in _GIVEN:
            writer.create_scalar_function(name, None)
