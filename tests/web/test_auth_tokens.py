"""Tokens: what opens a door, for how long and how often, and that a change to them acts at once."""

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from tests.support.fakes import SECOND, FakeClock, FakeIds
from tests.web.faces import PEPPER

from tocsin.core.model.access import Permission, Role, Token, granted
from tocsin.core.model.errors import Invalid, Unavailable
from tocsin.core.model.input import AccessDenied, Denial
from tocsin.ports import Begun, StoreFailed
from tocsin.stores.memory import MemoryStore
from tocsin.web import auth
from tocsin.web.auth import Doorkeeper, Limited, NotPermitted, Principal, Unauthenticated, make_token
from tocsin.web.denials import Denials

MINUTE = 60 * SECOND


class Door:
    """A doorkeeper over a store, at a clock that stands, with what it gave to be recorded."""

    def __init__(self, failures_max: int = 20, store: MemoryStore | None = None) -> None:
        self.store, self.clock, self.ids = store or MemoryStore(), FakeClock(), FakeIds()
        self.denied: list[tuple[AccessDenied, str]] = []
        self.keeper = Doorkeeper(
            self.store, self.clock, pepper=PEPPER, denials=Denials(self.record), failures_max=failures_max
        )

    def record(self, inputs: Sequence[AccessDenied], actor: str) -> "asyncio.Future[Any]":
        self.denied += [(given, actor) for given in inputs]
        future = asyncio.get_running_loop().create_future()
        future.set_result(())
        return future

    def token(self, role: Role = Role.ADMIN, **more: Any) -> tuple[str, Token]:
        """Make a token and let it be known."""
        shown, token = make_token(
            self.ids.random_bytes(36), name="one", role=role, at=self.clock.now(), pepper=PEPPER, **more
        )
        self.store.put_token(token)
        self.keeper.forget()
        return shown, token

    def ask(self, shown: str, client: str = "192.0.2.7") -> Principal:
        """Show a token once."""

        async def identify() -> Principal:
            return await self.keeper.identify(f"Bearer {shown}".encode(), client)

        return asyncio.run(identify())


def test_a_token_says_who_asks_and_what_they_may() -> None:
    door = Door()
    shown, token = door.token(Role.ANALYST)

    assert door.ask(shown) == Principal(f"token:{token.id}", Role.ANALYST, granted(Role.ANALYST))


def test_what_is_stored_opens_nothing_and_is_no_plain_digest() -> None:
    door = Door()
    shown, token = door.token()
    stored = msgspec.json.encode(door.store.tokens())

    assert shown.split("_")[2].encode() not in stored
    assert hashlib.sha256(shown.encode()).hexdigest() != token.hash
    with pytest.raises(Unauthenticated):
        door.ask(token.hash)


def test_without_the_pepper_a_row_in_the_database_opens_nothing() -> None:
    door = Door()
    shown, token = make_token(
        bytes(36), name="forged", role=Role.ADMIN, at=0, pepper=b"another".ljust(32, b".")
    )
    door.store.put_token(token)
    door.keeper.forget()

    with pytest.raises(Unauthenticated):
        door.ask(shown)


def test_a_new_token_opens_at_once() -> None:
    door = Door()
    first, _ = door.token()
    door.ask(first)

    second, _ = door.token(Role.VIEWER)

    assert door.ask(second).role is Role.VIEWER
    assert door.ask(first).role is Role.ADMIN


def test_a_revoked_token_opens_nothing_at_once() -> None:
    door = Door()
    shown, token = door.token()
    door.ask(shown)
    assert door.keeper.known(f"Bearer {shown}".encode()) is not None

    door.store.put_token(msgspec.structs.replace(token, revoked_at=door.clock.now()))
    door.keeper.forget()

    assert door.keeper.known(f"Bearer {shown}".encode()) is None
    with pytest.raises(Unauthenticated, match="revoked") as caught:
        door.ask(shown)
    assert caught.value.actor == f"token:{token.id}"


class Unreadable(MemoryStore):
    """A store whose tokens cannot be read for a few times."""

    left = 0

    def tokens(self) -> list[Token]:
        """Read the tokens."""
        if self.left:
            self.left -= 1
            raise StoreFailed("the database is in recovery mode")
        return super().tokens()


def test_a_token_that_was_revoked_while_the_store_could_not_be_read_opens_nothing_once_it_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auth, "READ_AGAIN_S", 0.001)
    store = Unreadable()
    door = Door(store=store)
    shown, token = door.token()
    header = f"Bearer {shown}".encode()
    door.ask(shown)
    store.put_token(msgspec.structs.replace(token, revoked_at=door.clock.now()))
    store.left = 3

    async def hears() -> None:
        async with asyncio.timeout(30):
            door.keeper.changed()
            while door.keeper.known(header) is not None:  # noqa: ASYNC110 - a doorkeeper tells nobody
                await asyncio.sleep(0.001)
        await door.keeper.close()

    asyncio.run(hears())

    with pytest.raises(Unauthenticated, match="revoked"):
        door.ask(shown)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "tokens were changed, and count as before until they can be read"
    ]


def test_a_token_opens_until_it_expires_and_not_then() -> None:
    door = Door()
    shown, _ = door.token(expires_at=door.clock.now() + MINUTE)

    door.clock.advance(MINUTE - 1)
    assert door.ask(shown).role is Role.ADMIN
    assert door.keeper.known(f"Bearer {shown}".encode()) is None
    door.clock.advance(1)
    with pytest.raises(Unauthenticated, match="expired"):
        door.ask(shown)


def test_scopes_narrow_a_role() -> None:
    door = Door()
    shown, _ = door.token(Role.ADMIN, scopes=(Permission.SEND, Permission.READ))

    assert door.ask(shown).permissions == {Permission.SEND, Permission.READ}


@pytest.mark.parametrize(
    ("role", "more", "field"),
    [
        (Role.VIEWER, {"scopes": (Permission.SEND,)}, "scopes"),
        (Role.AUDITOR, {"scopes": (Permission.READ, Permission.ADMINISTER)}, "scopes"),
        (Role.ADMIN, {"per_minute": -1}, "per_minute"),
        (Role.ADMIN, {"per_minute": 1_000_001}, "per_minute"),
        (Role.ADMIN, {"expires_at": 1_000}, "expires_at"),
    ],
)
def test_a_token_that_could_not_do_what_it_says_is_not_made(
    role: Role, more: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        make_token(bytes(36), name="x", role=role, at=1_000, pepper=PEPPER, **more)

    assert caught.value.field == field


def test_a_limit_lets_so_many_through_and_says_when_to_come_back() -> None:
    door = Door()
    shown, token = door.token(per_minute=4)

    for _ in range(4):
        door.ask(shown)
    with pytest.raises(Limited) as caught:
        door.ask(shown)
    assert caught.value.retry_after_s == 15
    assert caught.value.actor == f"token:{token.id}"
    door.clock.advance(15 * SECOND - 1)
    with pytest.raises(Limited) as caught:
        door.ask(shown)
    assert caught.value.retry_after_s == 1
    door.clock.advance(1)
    door.ask(shown)
    with pytest.raises(Limited):
        door.ask(shown)


def test_what_was_not_used_is_kept_for_a_minute_at_most() -> None:
    door = Door()
    shown, _ = door.token(per_minute=3)
    door.clock.advance(60 * MINUTE)

    for _ in range(3):
        door.ask(shown)
    with pytest.raises(Limited):
        door.ask(shown)


def test_a_change_to_another_token_gives_nobody_a_new_limit() -> None:
    door = Door()
    shown, _ = door.token(per_minute=1)
    door.ask(shown)

    door.token(Role.VIEWER)

    with pytest.raises(Limited):
        door.ask(shown)


class SlowStore(MemoryStore):
    """The next reading of its tokens gives what was there when it began, and takes until `go_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.has_read, self.go_on = threading.Event(), threading.Event()

    def tokens(self) -> list[Token]:
        tokens, slow = super().tokens(), self.slow
        self.slow = False
        if slow:
            self.has_read.set()
            assert self.go_on.wait(10)
        return tokens


def test_a_reading_that_began_earlier_does_not_bring_back_what_was_revoked_since() -> None:
    store = SlowStore()
    door = Door(store=store)
    shown, token = door.token()
    store.slow = True
    early, late = (threading.Thread(target=door.keeper.forget) for _ in range(2))

    early.start()
    assert store.has_read.wait(10)
    store.put_token(msgspec.structs.replace(token, revoked_at=1))
    late.start()
    late.join(0.1)  # It cannot end before the early one; if it could, this is when it would.
    store.go_on.set()
    early.join()
    late.join()

    with pytest.raises(Unauthenticated, match="revoked"):
        door.ask(shown)


def test_somebody_who_keeps_failing_is_told_to_wait_but_a_valid_token_passes() -> None:
    door = Door(failures_max=3)
    shown, _ = door.token()

    for _ in range(3):
        with pytest.raises(Unauthenticated):
            door.ask("toc_wrong")
    door.clock.advance(20 * SECOND)
    with pytest.raises(Limited) as caught:
        door.ask("toc_wrong")
    assert caught.value.retry_after_s == 40
    assert door.ask(shown).role is Role.ADMIN
    with pytest.raises(Unauthenticated):
        door.ask("toc_wrong", client="192.0.2.8")
    door.clock.advance(40 * SECOND)
    with pytest.raises(Unauthenticated):
        door.ask("toc_wrong")


def test_who_shows_nothing_has_not_failed() -> None:
    door = Door(failures_max=1)

    async def ask() -> None:
        for _ in range(5):
            with pytest.raises(Unauthenticated):
                await door.keeper.identify(None, "192.0.2.7")

    asyncio.run(ask())
    assert door.denied == []


def test_the_table_of_failures_does_not_grow_with_those_who_fail() -> None:
    door = Door(failures_max=1)

    async def ask() -> None:
        for number in range(5_000):
            with pytest.raises(Unauthenticated):
                await door.keeper.identify(b"Bearer toc_wrong", f"2001:db8:0:{number:x}::/64")

    asyncio.run(ask())
    assert len(door.keeper._failures._counts) == 1_000


def test_each_kind_of_denial_is_given_to_be_recorded() -> None:
    door = Door(failures_max=2)
    viewer, viewing = door.token(Role.VIEWER)
    narrow, narrowed = door.token(Role.ADMIN, scopes=(Permission.READ,))
    slow, slowed = door.token(per_minute=1)
    over, ended = door.token(expires_at=door.clock.now() + 1)
    door.clock.advance(1)

    async def ask() -> None:
        keeper = door.keeper
        for shown, wanted in ((viewer, Permission.SEND), (narrow, Permission.SILENCE)):
            principal = await keeper.identify(f"Bearer {shown}".encode(), "192.0.2.7")
            with pytest.raises(NotPermitted, match=wanted):
                keeper.check(principal, wanted, "192.0.2.7")
        await keeper.identify(f"Bearer {slow}".encode(), "192.0.2.7")
        for shown, kind in ((slow, Limited), (over, Unauthenticated), ("x", Unauthenticated), ("x", Limited)):
            with pytest.raises(kind):
                await keeper.identify(f"Bearer {shown}".encode(), "192.0.2.7")

    asyncio.run(ask())

    def denied(reason: Denial, permission: Permission | None = None) -> AccessDenied:
        return AccessDenied(reason=reason, count=1, client="192.0.2.7", permission=permission)

    assert door.denied == [
        (denied(Denial.PERMISSION, Permission.SEND), f"token:{viewing.id}"),
        (denied(Denial.PERMISSION, Permission.SILENCE), f"token:{narrowed.id}"),
        (denied(Denial.LIMIT), f"token:{slowed.id}"),
        (denied(Denial.SIGN_IN), f"token:{ended.id}"),
        (denied(Denial.SIGN_IN), "anonymous"),
        (denied(Denial.LIMIT), "anonymous"),
    ]


def test_who_may_not_is_told_whether_it_is_the_role_or_the_token() -> None:
    door = Door()
    viewer, _ = door.token(Role.VIEWER)
    narrow, _ = door.token(Role.ADMIN, scopes=(Permission.READ,))

    async def ask(shown: str) -> str:
        principal = await door.keeper.identify(f"Bearer {shown}".encode(), "")
        with pytest.raises(NotPermitted) as caught:
            door.keeper.check(principal, Permission.SEND, "")
        return str(caught.value)

    assert asyncio.run(ask(viewer)).startswith("Role viewer lacks the permission send.")
    assert asyncio.run(ask(narrow)).startswith("This token lacks the permission send.")


class OfSeveralNodes(MemoryStore):
    """A store in which other nodes write, too. readings: how often the tokens were read."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = 0
        self.is_broken = False
        self.is_read = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def tokens(self) -> list[Token]:
        self.readings += 1
        self.is_read.set()
        assert self.may_answer.wait(10)
        if self.is_broken:
            raise StoreFailed("out of order")
        return super().tokens()

    def begin(self) -> Begun:
        raise NotImplementedError

    def release(self) -> None:
        raise NotImplementedError

    def owns(self, delivery: int) -> bool:
        raise NotImplementedError

    def sign_off(self) -> None:
        raise NotImplementedError


def made_elsewhere(door: Door, name: str = "other") -> str:
    shown, token = make_token(
        door.ids.random_bytes(36), name=name, role=Role.ADMIN, at=door.clock.now(), pepper=PEPPER
    )
    door.store.put_token(token)
    return shown


def test_a_token_that_another_node_made_is_known_at_once() -> None:
    door = Door(store=OfSeveralNodes())
    shown = made_elsewhere(door)

    assert door.ask(shown).role is Role.ADMIN


def test_a_token_that_nobody_made_is_refused_after_a_look() -> None:
    store = OfSeveralNodes()
    door = Door(store=store)

    with pytest.raises(Unauthenticated, match="not known"):
        door.ask("toc_" + "0" * 64)
    assert store.readings == 2  # The first was at the start.

    with pytest.raises(Unauthenticated, match="not known"):
        door.ask("no token of ours")
    assert store.readings == 2


def test_many_who_show_unknown_tokens_at_once_cause_two_readings() -> None:
    store = OfSeveralNodes()
    door = Door(store=store)
    shown = made_elsewhere(door)

    async def ask_all() -> list[object]:
        store.may_answer.clear()
        store.is_read.clear()
        first = asyncio.create_task(door.keeper.identify(b"Bearer toc_guess", "192.0.2.7"))
        assert await asyncio.to_thread(store.is_read.wait, 10)
        rest = [
            asyncio.create_task(door.keeper.identify(f"Bearer {one}".encode(), "192.0.2.8"))
            for one in (shown, *[f"toc_{number}" for number in range(15)])
        ]
        await asyncio.sleep(0)
        store.may_answer.set()
        return await asyncio.gather(first, *rest, return_exceptions=True)

    _, known, *unknown = asyncio.run(ask_all())

    assert isinstance(known, Principal)
    assert all(isinstance(error, Unauthenticated) for error in unknown)
    assert store.readings == 3


def test_a_store_that_fails_says_nothing_about_a_token() -> None:
    store = OfSeveralNodes()
    door = Door(store=store)
    shown = made_elsewhere(door)
    store.is_broken = True

    with pytest.raises(Unavailable, match="Try again"):
        door.ask(shown)

    store.is_broken = False
    assert door.ask(shown).role is Role.ADMIN
