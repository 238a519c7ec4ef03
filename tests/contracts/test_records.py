"""The contract of what operators keep: silences, maintenances, policies, tokens, attempts; and of single deliveries."""

import msgspec
import pytest
from tests.contracts.places import Place
from tests.contracts.rows import (
    a_batch,
    a_delivery,
    a_head,
    a_maintenance,
    a_notification,
    a_policy,
    a_segment,
    a_silence,
    new,
    opened,
)
from tests.support.fakes import NOON

from tocsin.core.model.access import Permission, Role, Token
from tocsin.core.model.notification import DeliveryState, NotificationKind
from tocsin.core.model.policy import Policy, RateLimit
from tocsin.ports import Attempt, DeliveryFilter, DeliveryView, SilenceView, Store, StoreFailed

HUGE = 10**30

# Silences


def three_silences(store: Store) -> None:
    """Commit 1 that began, 2 that ended a second after noon, 3 that is to come."""
    store.commit(a_batch(silences=[(a_silence(1), True), (a_silence(2), True), (a_silence(3), False)]))
    store.commit(a_batch(head=a_head(at=NOON + 1), ended_silences=[2]))


@pytest.mark.parametrize(
    ("ended", "after", "limit", "expected", "total"),
    [
        (None, None, 9, [3, 2, 1], 3),
        (False, None, 9, [3, 1], 2),
        (True, None, 9, [2], 1),
        (None, 3, 1, [2], 3),
        (False, 3, 9, [1], 2),
        (None, None, 0, [], 3),
    ],
)
def test_silences_are_listed_newest_first(
    store: Store, ended: bool | None, after: int | None, limit: int, expected: list[int], total: int
):
    three_silences(store)

    listed, counted = store.list_silences(ended=ended, after=after, limit=limit)

    assert ([view.silence.number for view in listed], counted) == (expected, total)


def test_a_silence_says_when_it_ended_and_is_not_loaded_then(place: Place):
    three_silences(place.open())
    store = place.open()

    assert store.find_silence("2") == SilenceView(silence=a_silence(2), began=True, ended_at=NOON + 1)
    assert store.find_silence("3") == SilenceView(silence=a_silence(3), began=False, ended_at=None)
    assert store.load().silences == [(a_silence(1), True), (a_silence(3), False)]


def test_a_silence_with_another_end_is_the_same_silence(store: Store):
    three_silences(store)

    longer = msgspec.structs.replace(a_silence(1), ends_at=NOON + 99)
    store.commit(a_batch(silences=[(longer, True)]))

    assert store.find_silence("1") == SilenceView(silence=longer, began=True, ended_at=None)
    assert store.list_silences(ended=None, after=None, limit=9)[1] == 3


def test_a_silence_that_is_created_and_ended_in_one_batch_is_over(store: Store):
    store.commit(a_batch(silences=[(a_silence(1), True)], ended_silences=[1, 77]))

    assert [view.ended_at for view in store.list_silences(ended=None, after=None, limit=9)[0]] == [NOON]
    assert store.load().silences == []


def test_a_silence_is_found_by_its_id_or_number_and_by_nothing_else(store: Store):
    silence = msgspec.structs.replace(a_silence(42), id="ab" * 12 + f"{42:08x}")
    store.commit(a_batch(silences=[(silence, False)]))

    for asked in (silence.id, "42"):
        found = store.find_silence(asked)
        assert found is not None
        assert found.silence == silence
    for asked in ("041", "042", "", "cd" * 12 + f"{42:08x}", silence.id.upper(), str(HUGE)):
        assert store.find_silence(asked) is None


# Maintenances


def test_maintenances_are_loaded_while_they_are_not_over_and_listed_always(place: Place):
    store = place.open()
    store.commit(a_batch(maintenances=[(a_maintenance(2), NOON + 5), (a_maintenance(1), NOON + 9)]))
    store.commit(a_batch(maintenances=[(a_maintenance(2), 0)], ended_maintenances=[1, 77]))
    store.commit(a_batch(maintenances=[(a_maintenance(3), NOON + 7)]))

    store = place.open()
    assert store.load().maintenances == [(a_maintenance(2), 0), (a_maintenance(3), NOON + 7)]
    assert store.list_maintenances() == [
        (a_maintenance(3), NOON + 7, False),
        (a_maintenance(2), 0, False),
        (a_maintenance(1), 0, True),
    ]


def test_a_maintenance_that_is_created_and_ended_in_one_batch_is_over(store: Store):
    store.commit(a_batch(maintenances=[(a_maintenance(1), NOON)], ended_maintenances=[1]))

    assert store.list_maintenances() == [(a_maintenance(1), 0, True)]
    assert store.load().maintenances == []


# Policies


def test_policies_come_newest_first_with_who_brought_them(place: Place):
    versions = [
        a_policy(
            version, Policy(rate_limit=RateLimit(limit=version)), actor=f"user {version}", at=NOON + version
        )
        for version in (1, 2, 3)
    ]
    for row in versions:
        place.open().commit(a_batch(policy=row))
    store = place.open()

    assert store.policies(None, 2) == [versions[2], versions[1]]
    assert store.policies(2, 9) == [versions[0]]
    assert store.policy(2) == versions[1]
    assert store.policy(4) is store.policy(HUGE) is None
    assert store.load().policies == [(row.version, row.policy) for row in versions]


# Tokens


def a_token(id_: str = "t1", **fields: object) -> Token:
    return Token(
        id=id_, **{"name": "anna", "role": Role.ADMIN, "hash": f"h-{id_}", "created_at": NOON, **fields}
    )  # type: ignore[arg-type]


def test_a_token_comes_back_as_it_was(place: Place):
    full = a_token(
        "t1",
        scopes=(Permission.SEND, Permission.READ),
        per_minute=60,
        expires_at=NOON + 9,
        created_by="user:anna",
    )
    store = place.open()
    store.commit(a_batch(tokens=[full]))
    store.put_token(a_token("t2"))

    assert place.open().tokens() == [full, a_token("t2")]


def test_a_token_is_revoked_in_the_commit_that_says_so_and_stays_revoked_since_then(store: Store):
    store.commit(a_batch(tokens=[a_token("t1"), a_token("t2")]))
    store.commit(a_batch(head=a_head(at=NOON + 5), revoked=["t1", "unknown"]))
    store.commit(a_batch(head=a_head(at=NOON + 6), revoked=["t1"]))

    assert store.tokens() == [a_token("t1", revoked_at=NOON + 5), a_token("t2")]


def test_a_token_that_is_issued_and_revoked_in_one_batch_opens_nothing(store: Store):
    store.commit(a_batch(tokens=[a_token("t1")], revoked=["t1"]))

    assert store.tokens() == [a_token("t1", revoked_at=NOON)]


def test_a_batch_that_fails_neither_issues_nor_revokes(store: Store):
    store.commit(a_batch(tokens=[a_token("t1")], alerts=[new(1)]))

    for failing in (
        {"alerts": [new(1)]},
        {"segment": a_segment(0), "tokens": [a_token("t2"), a_token("t1")]},
    ):
        with pytest.raises(StoreFailed):
            store.commit(a_batch(**{"tokens": [a_token("t3")], "revoked": ["t1"], **failing}))

    assert store.tokens() == [a_token("t1")]
    assert [*store.segments()] == []


# Deliveries, one by one


def test_a_drill_is_shown_as_one(store: Store):
    row = a_delivery(7, DeliveryState.DRY_RUN, notification=3, dry_run=True)
    store.commit(a_batch(notifications=[a_notification(3)], new_deliveries=[row]))

    (view,), _ = store.list_deliveries(DeliveryFilter(), 10)
    assert view.dry_run
    assert view == store.delivery_view(7)


def test_a_delivery_is_shown_as_it_stands(store: Store):
    row = a_delivery(7, notification=3, target="t9", attempts=2, due=NOON + 5, at=NOON + 1, why="503")
    store.commit(a_batch(notifications=[a_notification(3)], new_deliveries=[row]))

    assert store.delivery(7) == row
    view = store.delivery_view(7)
    assert view == DeliveryView(
        number=7,
        notification=3,
        incident=1,
        target="t9",
        key=f"{7:064x}",
        channel="webhook",
        kind=NotificationKind.OPENED,
        state=DeliveryState.PENDING,
        attempts=2,
        at=NOON + 1,
        due=NOON + 5,
        why="503",
    )
    assert store.deliveries_of(1) == [view]

    over = a_delivery(7, DeliveryState.DEAD, notification=3, why="gave up")
    store.commit(a_batch(deliveries=[over]))

    view = store.delivery_view(7)
    assert store.delivery(7) == over
    assert view is not None
    assert (view.state, view.due, view.why) == (DeliveryState.DEAD, None, "gave up")


def test_there_is_no_delivery_that_was_never_made(store: Store):
    for number in (0, 8, -1, HUGE):
        assert store.delivery(number) is store.delivery_view(number) is None
        assert store.attempts_of(number) == []


def test_attempts_that_failed_are_told_first_to_last(place: Place):
    def failed(delivery: int, attempt: int, **fields: object) -> Attempt:
        return Attempt(
            delivery=delivery,
            attempt=attempt,
            **{"at": NOON + attempt, "outcome": "retry", "why": "503 \x00 ü", **fields},
        )  # type: ignore[arg-type]

    store = place.open()
    store.commit(
        a_batch(new_deliveries=[a_delivery(1), a_delivery(2)], attempts=[failed(1, 2), failed(2, 1)])
    )
    store.commit(a_batch(attempts=[failed(1, 10, outcome="refused"), failed(1, 3)]))

    store = place.open()
    assert store.attempts_of(1) == [failed(1, 2), failed(1, 3), failed(1, 10, outcome="refused")]
    assert store.attempts_of(2) == [failed(2, 1)]


# Sizes


def test_sizes_follow_what_is_kept(store: Store):
    empty = store.kept()
    assert [empty[name] for name in ("entries", "alerts", "incidents", "notifications", "deliveries")] == [
        0
    ] * 5

    store.commit(
        a_batch(
            head=a_head(3),
            segment=a_segment(0, 3),
            incidents=[opened(1)],
            alerts=[new(1), new(2)],
            notifications=[a_notification(1)],
            new_deliveries=[a_delivery(number) for number in range(1, 5)],
        )
    )

    kept = store.kept()
    assert [kept[name] for name in ("entries", "alerts", "incidents", "notifications", "deliveries")] == [
        3,
        2,
        1,
        1,
        4,
    ]
