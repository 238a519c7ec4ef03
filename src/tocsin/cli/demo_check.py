"""Demo check: was anything lost, doubled or changed? Asked of the ledger, the receivers, and what was answered."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tocsin.cli.demo_rule import RULE_ID, of_rule
from tocsin.cli.demo_sinks import Mailbox, Post, WebServer, is_signed
from tocsin.core.ledger import encoding, verify
from tocsin.core.model.alert import idempotency_key
from tocsin.wiring.stores import open_store

REPEATS = ("duplicate", "held")
"""Outcomes of alerts that are counted and leave no entry of their own."""

INCIDENTS = range(5, 13)


@dataclass(frozen=True)
class Check:
    """One claim, and whether it held."""

    held: bool
    what: str


def check(
    data: Path, tally: Any, incidents: list[dict[str, Any]], mailbox: Mailbox, web: WebServer, secret: str
) -> list[Check]:
    """Check all claims of the demo. data: the data directory of the server, which has stopped."""
    store = open_store(data)
    try:
        head = store.head()
        verdict = verify.verify(store.segments(), size=head.size, root=head.root)
        recorded = {
            (idempotency_key(a.rule_id, a.scope, a.window_start, a.window_end), str(a.status))
            for segment in store.segments()
            for _, _, private in encoding.unpack(segment.data)
            if (a := encoding.read_private(private).alert) is not None
        }
        looked = {
            str(a.status)
            for segment in store.segments()
            for _, _, private in encoding.unpack(segment.data)
            if (a := encoding.read_private(private).alert) is not None and a.rule_id == RULE_ID and a.evidence
        }
    finally:
        store.close()
    lost = [
        alert for alert, result in tally.sent if (result["idempotency_key"], alert["status"]) not in recorded
    ]
    repeats = sum(result["outcome"] in REPEATS for _, result in tally.sent)
    entries = len(tally.sent) - repeats
    return [
        Check(
            not lost and len(incidents) - len(of_rule(incidents)) in INCIDENTS,
            f"{len(tally.sent)} alerts were answered with a 2xx: {entries} are entries of the ledger, "
            f"{repeats} are counted repeats, {len(lost)} are lost.",
        ),
        _deliveries(incidents, mailbox, web),
        _rule(of_rule(incidents), looked),
        _twice(web.to("/webhook")),
        Check(
            all(is_signed(post, secret) for post in web.to("/webhook")) and bool(web.to("/webhook")),
            "The signature of every webhook is right.",
        ),
        Check(
            verdict.is_sound,
            f"The ledger is sound: {verdict.size} entries, root {verdict.root.hex()[:16]}…"
            if verdict.is_sound
            else f"The ledger is damaged at entry {verdict.bad_seq}: {verdict.what}.",
        ),
    ]


def _rule(incidents: list[dict[str, Any]], looked: set[str]) -> Check:
    """The rule fired, was told of, and turned green; its looks are entries, with what they saw."""
    held = (
        [one["state"] for one in incidents] == ["RESOLVED"]
        and all(any(told["state"] == "delivered" for told in one["deliveries"]) for one in incidents)
        and looked == {"firing", "green"}
    )
    return Check(
        held,
        "The rule over real weather fired, was told, and resolved by itself; every look that decided "
        "something is in the ledger, with what it saw.",
    )


def _deliveries(incidents: list[dict[str, Any]], mailbox: Mailbox, web: WebServer) -> Check:
    """Every delivery that was decided has arrived; for webhooks, its very key."""
    decided = [one for incident in incidents for one in incident["deliveries"]]
    states = Counter(one["state"] for one in decided)
    went = [one for one in decided if one["state"] in ("delivered", "accepted")]
    sent = Counter(one["channel"] for one in went)
    arrived = {post.headers.get("webhook-id") for post in web.to("/webhook")}
    there = (
        {one["key"] for one in went if one["channel"] == "webhook"} == arrived
        and len(mailbox.mails) >= sent["email"]
        and len(web.to("/teams")) >= sent["teams"]
    )
    merged = f" ({states['merged']} more were merged into newer ones)" if states["merged"] else ""
    return Check(
        there and len(went) + states["merged"] == len(decided) and bool(went),
        f"All {len(went)} deliveries that were decided have arrived{merged}.",
    )


def _twice(posts: list[Post]) -> Check:
    """What arrived twice is the same thing under the same key."""
    said: dict[str, Any] = {}
    alike = True
    for post in posts:
        body = json.loads(post.body)
        alike = said.setdefault(post.headers.get("webhook-id", ""), body) == body and alike
    twice = len(posts) - len(said)
    return Check(
        twice >= 1 and alike,
        f"{twice} of them came twice, for the kill cut off its receiver's answer: same text, same key.",
    )
