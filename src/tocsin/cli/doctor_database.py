"""The doctor at the database: the PostgreSQL that nodes share, what is in it, and whether the keys here fit it."""

from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.cli import house_keys
from tocsin.cli.doctor_check import Check, checked, ended
from tocsin.core.model.errors import TocsinError
from tocsin.core.model.policy import HOUR, SECOND
from tocsin.ports import StoreFailed, StoreRefused
from tocsin.runtime.pump import SKEW_MAX
from tocsin.settings import read_settings
from tocsin.wiring.machine import is_this_machines
from tocsin.wiring.stores import look_at_server, open_beside

if TYPE_CHECKING:
    from tocsin.wiring.stores import Looked

COMMIT_WARN_MS = 50.0
GONE_TOLD = HOUR
"""A node that has not lived for longer is not told of."""
CONNECTIONS_WARN = 20
"""A node takes two, and one more for each thread that reads."""

NOT_BEGUN = "No Tocsin has begun there yet."
START = "Start a node: tocsin serve --db URL"


def look(data: Path, db: str, config: Path | None) -> list[Check]:
    """Look at all of it."""
    found = _found(db)
    if isinstance(found, Check):
        return [found]
    checks = [*_server(found), database(found), commit(found), clocks(found), nodes(found)]
    checks += [connections(found), autovacuum(found)]
    if found.schema is not None and not found.refused:
        checks.append(checked("keys", lambda: keys(data, db, config)))
    return checks


def sound(db: str) -> list[Check]:
    """Look only whether the server keeps what it confirms, and whether the tables are this program's."""
    found = _found(db)
    return [found] if isinstance(found, Check) else [*_server(found), database(found)]


def _found(db: str) -> "Looked | Check":
    try:
        return look_at_server(db)
    except (TocsinError, StoreRefused, StoreFailed) as error:
        step = "Look at --db or TOCSIN_DB, at the way to the server, and at its log."
        return Check("postgresql", "fail", ended(str(error)), step)


def _server(found: "Looked") -> list[Check]:
    """Say what the server cannot promise, one thing a check."""
    if found.weak:
        return [
            Check("postgresql" if not number else f"postgresql {number + 1}", "fail", f"{found.name} {weak}")
            for number, weak in enumerate(found.weak)
        ]
    waits = found.settings["synchronous_standby_names"]
    said = f"{found.name} runs {found.settings['server_version']}, is no replica, and syncs what it confirms"
    return [Check("postgresql", "ok", f"{said}; each commit waits for {waits}." if waits else f"{said}.")]


def database(found: "Looked") -> Check:
    """Whose tables are there, and how far the ledger is."""
    if found.schema is None:
        if found.stranger:
            said = f"{found.name} has tables that Tocsin did not make, such as {found.stranger}."
            return Check("database", "fail", said, "Make a database of its own for Tocsin.")
        return Check("database", "skipped", NOT_BEGUN, START)
    if found.refused:
        said = f"{found.name} {found.refused}"
        return Check("database", "fail", said, "Use the newer Tocsin that wrote it.")
    said = f"Schema {found.schema}; {found.size} entries, root {found.root.hex()[:8]}; {found.disk_bytes >> 20} MiB."
    return Check("database", "ok", said)


def commit(found: "Looked") -> Check:
    """Tell what every commit waits for."""
    if not found.committed:
        return Check("commit", "skipped", "A replica takes no commits.")
    asked, took = sorted(found.asked), sorted(found.committed)
    median, late = took[len(took) // 2] / 1000, took[-1] / 1000
    said = (
        f"A commit takes {median:.2f} ms (median), {late:.2f} ms (the slowest), of {len(took)}; "
        f"a question {asked[len(asked) // 2] / 1000:.2f} ms."
    )
    if median > COMMIT_WARN_MS:
        step = "Every turn waits for it. Use a faster disk there, or a shorter way."
        return Check("commit", "warn", said, step)
    return Check("commit", "ok", said)


def clocks(found: "Looked") -> Check:
    """Compare this machine's clock with the one that all nodes go by."""
    off = abs(found.skew)
    way = "ahead of" if found.skew > 0 else "behind"
    said = f"This machine's clock is {off / SECOND:.3f} s {way} the database's, which nodes go by."
    if off > SKEW_MAX:
        return Check("database clock", "warn", said, "See that a time service keeps both.")
    return Check("database clock", "ok", said)


def nodes(found: "Looked") -> Check:
    """Tell who says that they live, and until when."""
    if found.schema is None or found.refused:
        return Check("nodes", "skipped", NOT_BEGUN if found.schema is None else "Its tables are not known.")
    mine = {name: "this machine's, " if is_this_machines(name) else "" for name, _ in found.nodes}
    live = [
        f"{name} ({mine[name]}for another {left / SECOND:.0f} s)" for name, left in found.nodes if left >= 0
    ]
    gone = [
        f"{name} ({mine[name]}{-left / SECOND:.0f} s ago)"
        for name, left in found.nodes
        if -GONE_TOLD <= left < 0
    ]
    was = f" Of the last hour, and no longer: {', '.join(gone)}." if gone else ""
    if not live:
        return Check("nodes", "warn", f"No node lives.{was}", START)
    return Check("nodes", "ok", f"{len(live)} live: {', '.join(live)}.{was}")


def connections(found: "Looked") -> Check:
    """Tell how many more connections there may be."""
    free, most = found.connections_free, found.settings["max_connections"]
    said = f"{max(free, 0)} more connections may be opened, of max_connections = {most}."
    if free < CONNECTIONS_WARN:
        step = "Raise max_connections, or the limit of the role or the database; or find who holds them."
        return Check("connections", "warn", said, step)
    return Check("connections", "ok", said)


def autovacuum(found: "Looked") -> Check:
    """Look whether what is changed again and again is cleaned up."""
    off = [name for name in ("autovacuum", "track_counts") if found.settings[name] != "on"]
    if off:
        said = f"{' and '.join(off)} is off, so tables that change at every turn grow and grow slow."
        return Check("autovacuum", "warn", said, "Set it to on, and reload PostgreSQL.")
    return Check("autovacuum", "ok", "It is on.")


def keys(data: Path, db: str, config: Path | None) -> Check:
    """Look whether the keys here are those of the database, and whether nobody else reads them."""
    settings = read_settings(config=config, data=data)
    store = open_beside(data, db)
    try:
        foreign = house_keys.foreign(data, settings, store)
        wrong = [*house_keys.modes(data), *foreign, *house_keys.lost(data, settings, store)]
        signs = house_keys.is_signed(store)
    finally:
        store.close()
    if wrong:
        # What else is wrong says itself what to do.
        step = "Every node needs the same two files: copy pepper and ledger.key from one that is well."
        said = ". ".join(one.rstrip(".") for one in wrong) + "."
        return Check("keys", "fail", said, step if foreign else "")
    if not signs:
        return Check("keys", "skipped", "No key signs this ledger yet.", START)
    return Check(
        "keys", "ok", "The keys here open those of the database and sign, and nobody else may read them."
    )
