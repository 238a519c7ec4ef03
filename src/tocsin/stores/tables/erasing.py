"""Erasing: the statements that take texts out of rows, and rows out of tables, once they are no longer kept."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tocsin.ports import Redacted
from tocsin.stores.tables.asking import GIVEN, add, numbers
from tocsin.stores.tables.chains import CHAIN
from tocsin.stores.tables.decoding import encode, encode_json

Rows = list[tuple[Any, ...]]
Ask = Callable[[str, tuple[Any, ...]], list[Any]]

PRUNED = "pruned"
"""Stands in `delivery_counts` for deliveries that are no longer kept, so that no intent is missing in the sum."""


def redaction(redacted: Redacted) -> Iterator[tuple[str, Rows]]:
    """Give the statements of an erasure."""
    yield (
        "UPDATE segments SET data = ?2 WHERE first_seq = ?1",
        [(one.first_seq, one.data) for one in redacted.segments],
    )
    incidents = [(number,) for number in redacted.incidents]
    yield (
        "UPDATE incidents SET title = '', labels = ? WHERE number = ?",
        [(encode_json({}), number) for number in redacted.incidents],
    )
    yield (
        "UPDATE attempts SET why = '' "
        "WHERE delivery IN (SELECT number FROM deliveries WHERE incident = ? AND incident > 0)",
        incidents,
    )
    yield "UPDATE deliveries SET why = '' WHERE incident = ? AND incident > 0", incidents
    deliveries = [(number,) for number in redacted.deliveries]
    yield "UPDATE attempts SET why = '' WHERE delivery = ?", deliveries
    yield "UPDATE deliveries SET why = '' WHERE number = ?", deliveries
    yield (
        "UPDATE notifications SET message = ?2 WHERE number = ?1",
        [tuple(row) for row in redacted.notifications],
    )
    yield (
        "UPDATE silences SET body = ?2 WHERE number = ?1",
        [(one.number, encode(one)) for one in redacted.silences],
    )
    yield (
        "UPDATE maintenances SET body = ?2 WHERE number = ?1",
        [(one.number, encode(one)) for one in redacted.maintenances],
    )
    yield (
        "UPDATE policies SET body = ?2 WHERE version = ?1",
        [(row.version, encode_json(row.policy)) for row in redacted.policies],
    )
    yield "UPDATE tokens SET name = '' WHERE id = ?", [(token,) for token in redacted.tokens]


def pruning(runs: Sequence[tuple[int, int]], ask: Ask) -> Iterator[tuple[str, Rows]]:
    """Give the statements that drop incidents with all that is theirs alone."""
    gone = [
        number
        for first, last in runs
        for (number,) in ask(
            "SELECT number FROM incidents WHERE number BETWEEN ? AND ? AND live = 0", (first, last)
        )
    ]
    links: list[tuple[int]] = []
    members: dict[int, None] = {}
    for number in gone:
        for link, alert in ask(f"{CHAIN} SELECT number, alert FROM chain", (number,)):
            links.append((link,))
            members[alert] = None
    given = numbers(gone)
    cells = ask(
        f"SELECT rule_id, severity, count(*) FROM incidents NOT INDEXED WHERE number IN {GIVEN} GROUP BY 1, 2",
        (given,),
    )
    yield (
        "UPDATE past_counts SET n = n - ?3 WHERE rule_id = ?1 AND severity = ?2",
        [tuple(cell) for cell in cells],
    )
    yield "DELETE FROM past_counts WHERE n = 0", [()]
    states = ask(
        f"SELECT state, count(*) FROM deliveries INDEXED BY deliveries_of WHERE incident > 0 AND incident IN {GIVEN} "
        "GROUP BY 1",
        (given,),
    )
    yield (
        "UPDATE delivery_counts SET n = n - ?2 WHERE state = ?1",
        [tuple(one) for one in states],
    )
    yield (
        add("delivery_counts", "state"),
        [(PRUNED, total)] if (total := sum(n for _, n in states)) else [],
    )
    one_by_one: Rows = [(number,) for number in gone]
    yield (
        "DELETE FROM attempts WHERE delivery IN (SELECT number FROM deliveries WHERE incident = ? AND incident > 0)",
        one_by_one,
    )
    yield (
        "DELETE FROM notifications WHERE number IN "
        "(SELECT notification FROM deliveries WHERE incident = ? AND incident > 0)",
        one_by_one,
    )
    yield "DELETE FROM deliveries WHERE incident = ? AND incident > 0", one_by_one
    yield "DELETE FROM members WHERE number = ?", [*links]
    yield "DELETE FROM incidents WHERE number = ?", one_by_one
    # One look at all members, instead of an index that every new alert would pay for.
    elsewhere = {
        alert
        for (alert,) in ask(
            f"SELECT DISTINCT alert FROM members WHERE alert IN {GIVEN}", (numbers([*members]),)
        )
    }
    yield (
        "DELETE FROM alerts WHERE number = ? AND live = 0",
        [(alert,) for alert in members if alert not in elsewhere],
    )
