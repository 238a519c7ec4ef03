"""What the embedded store promises beyond the contract: durability, one writer, and failing without lying."""

import json
import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from tests.contracts.rows import a_batch, a_head, a_segment, an_alert, new, opened
from tests.stores.processes import ROOT, command, may_mount
from tests.support.fakes import NOON

from tocsin.ports import IncidentFilter, StoreFailed, StoreRefused
from tocsin.stores.sqlite import CHECKPOINT_PAGES, SCHEMA_VERSION, SqliteStore


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(data)
    yield store
    store.close()


def in_thread(ask):
    """Run it in a thread of its own and give what it returned."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask()))
    thread.start()
    thread.join()
    return answers[0]


def open_files(data: Path) -> int:
    """Count this process's open descriptors of the database file."""
    held = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            held += os.readlink(descriptor) == str(data / "tocsin.db")
        except FileNotFoundError:
            pass
    return held


def by_hand(data: Path, sql: str) -> list[tuple]:
    """Run SQL on a closed store's file."""
    connection = apsw.Connection(str(data / "tocsin.db"))
    rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


# Durability


def test_the_writer_is_durable_and_alone_checkpoints(store: SqliteStore):
    writer = store._writer

    assert writer.pragma("journal_mode") == "wal"
    assert writer.pragma("synchronous") == 2
    assert writer.pragma("wal_autocheckpoint") == CHECKPOINT_PAGES


def test_a_reader_can_neither_write_nor_checkpoint(store: SqliteStore):
    store.head()
    (reader,) = [one.connection for one in store._readers._all]

    assert reader.pragma("query_only") == 1
    assert reader.pragma("wal_autocheckpoint") == 0
    with pytest.raises(StoreFailed, match="ReadOnlyError"):
        store._ask("DELETE FROM head")


def test_a_file_system_without_wal_is_refused(data: Path):
    before = apsw.vfs_names()[0]
    apsw.set_default_vfs("unix-dotfile")  # it has no shared memory, like many network file systems
    try:
        with pytest.raises(StoreRefused, match="Use a local disk"):
            SqliteStore(data)
    finally:
        apsw.set_default_vfs(before)


def test_the_wal_does_not_grow_with_the_commits(store: SqliteStore, data: Path):
    longest = 0
    for number in range(1, 2_001):
        store.commit(
            a_batch(
                head=a_head(number),
                segment=a_segment(number - 1),
                incidents=[opened(number)],
                alerts=[new(number, joined=(number,), scope=b"x" * 3_000)],
            )
        )
        if number % 50 == 0:
            longest = max(longest, (data / "tocsin.db-wal").stat().st_size)

    assert 1_000_000 < longest < 1.2 * CHECKPOINT_PAGES * 4_120
    assert (data / "tocsin.db").stat().st_size > 6_000_000


def test_a_wal_that_one_large_turn_made_long_is_cut_back(store: SqliteStore, data: Path):
    store.commit(a_batch(alerts=[new(number, scope=b"x" * 4_000) for number in range(1, 12_001)]))
    assert (data / "tocsin.db-wal").stat().st_size > 45_000_000

    for size in (1, 2):
        store.commit(a_batch(head=a_head(size)))

    assert (data / "tocsin.db-wal").stat().st_size <= 32 << 20


def test_a_closed_store_is_one_file_and_its_lock(data: Path):
    store = SqliteStore(data)
    store.commit(a_batch(incidents=[opened(1)]))
    assert in_thread(store.head) == store.head()
    assert (data / "tocsin.db-wal").exists()

    store.close()
    store.close()

    assert sorted(os.listdir(data)) == ["lock", "tocsin.db"]


def test_a_closed_store_says_so(data: Path):
    store = SqliteStore(data)
    store.head()
    store.close()

    for ask in (store.head, store.load, store.reopen, lambda: in_thread_raising(store.head)):
        with pytest.raises(StoreFailed):
            ask()
    with pytest.raises(StoreFailed):
        store.commit(a_batch())


def in_thread_raising(ask):
    """As `in_thread`, but what is raised there is raised here."""

    def caught():
        try:
            return ask()
        except Exception as error:
            return error

    answer = in_thread(caught)
    if isinstance(answer, Exception):
        raise answer
    return answer


def test_closing_lets_running_questions_end(data: Path):
    store = SqliteStore(data)
    store.commit(a_batch(incidents=[opened(number) for number in range(1, 300)]))
    begun, outcomes = threading.Barrier(4), []

    def read() -> None:
        begun.wait()
        try:
            while True:
                outcomes.append(store.list_incidents(IncidentFilter(), 1_000)[1])
        except BaseException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait()
    while not outcomes:
        pass
    store.close()
    for thread in threads:
        thread.join()

    errors = [one for one in outcomes if one != 299]
    assert [type(error) for error in errors] == [StoreFailed] * 3
    assert sorted(os.listdir(data)) == ["lock", "tocsin.db"]


# Modes and owners


def test_nobody_else_may_read_the_files(data: Path):
    before = os.umask(0)
    try:
        store = SqliteStore(data)
        store.commit(a_batch())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()}
        store.close()
    finally:
        os.umask(before)

    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(["lock", "tocsin.db", "tocsin.db-shm", "tocsin.db-wal"], 0o600)


def test_the_names_of_new_directories_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr("os.fsync", fsync)

    SqliteStore(tmp_path / "a" / "b").close()

    assert synced == [tmp_path / "a", tmp_path]


def test_a_directory_that_is_a_file_is_refused(data: Path):
    data.write_text("hello")

    with pytest.raises(StoreRefused, match="Choose another --data"):
        SqliteStore(data)


def test_a_database_that_is_a_directory_is_a_failure(data: Path):
    (data / "tocsin.db").mkdir(parents=True)

    with pytest.raises(StoreFailed, match="cannot be opened"):
        SqliteStore(data)

    (data / "tocsin.db").rmdir()
    SqliteStore(data).close()  # the lock was given back


# One writer


def test_a_second_opener_is_refused_while_the_first_one_lives(store: SqliteStore, data: Path):
    with pytest.raises(StoreRefused, match=r"Another Tocsin runs on .*data") as refused:
        SqliteStore(data)

    assert "--url" in str(refused.value)
    store.commit(a_batch(head=a_head(1)))  # and the first one never noticed
    store.close()
    SqliteStore(data).close()


@pytest.mark.parametrize("ending", ["closed", "killed"])
def test_the_directory_is_free_again_when_another_process_has_ended(data: Path, ending: str):
    holder = subprocess.Popen(command("hold", data), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert json.loads(holder.stdout.readline()) == "ready"
        with pytest.raises(StoreRefused, match="Another Tocsin"):
            SqliteStore(data)
        if ending == "killed":
            holder.send_signal(signal.SIGKILL)
    finally:
        holder.communicate()

    store = SqliteStore(data)
    assert holder.returncode == (-signal.SIGKILL if ending == "killed" else 0)
    assert store.head().size == 1
    assert [incident.number for incident in store.load().incidents] == [1]
    store.close()


# Files that cannot be used


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99, -1])
def test_another_schema_is_refused_and_left_alone(data: Path, version: int):
    SqliteStore(data).close()
    by_hand(data, f"PRAGMA user_version = {version}")

    with pytest.raises(
        StoreRefused, match=f"has schema {version}; this program knows {SCHEMA_VERSION}. Start the newer"
    ):
        SqliteStore(data)

    assert by_hand(data, "PRAGMA user_version") == [(version,)]


def test_somebody_elses_database_is_refused_and_left_alone(data: Path):
    data.mkdir()
    by_hand(data, "CREATE TABLE photos (name)")

    with pytest.raises(StoreRefused, match="somebody else's"):
        SqliteStore(data)

    assert by_hand(data, "SELECT name FROM sqlite_schema") == [("photos",)]


def test_a_file_that_is_no_database_is_refused_and_left_alone(data: Path):
    data.mkdir()
    (data / "tocsin.db").write_bytes(b"not a database" * 1_000)

    with pytest.raises(StoreRefused, match="Restore it from a backup"):
        SqliteStore(data)

    assert (data / "tocsin.db").read_bytes() == b"not a database" * 1_000


def test_a_damaged_file_is_noticed_when_it_is_loaded(data: Path):
    store = SqliteStore(data)
    store.commit(a_batch(incidents=[opened(number) for number in range(1, 500)]))
    store.close()
    with (data / "tocsin.db").open("r+b") as file:
        pages = file.seek(0, os.SEEK_END) // 4_096
        file.seek(pages // 2 * 4_096)
        file.write(b"\xee" * (pages - pages // 2) * 4_096)

    with pytest.raises((StoreFailed, StoreRefused), match=r"tocsin\.db"):
        SqliteStore(data).load()


def test_a_body_that_cannot_be_read_is_named_as_such(data: Path):
    store = SqliteStore(data)
    store.commit(a_batch(incidents=[opened(1)]))
    store.close()
    by_hand(data, "UPDATE incidents SET body = x'c1'")

    store = SqliteStore(data)
    with pytest.raises(StoreFailed, match=r"holds what this program cannot read .* Restore it from a backup"):
        store.load()
    store.close()


# Failures, and going on


def test_after_reopening_everybody_reads_on_and_nothing_leaks(store: SqliteStore, data: Path):
    store.commit(a_batch(head=a_head(1), segment=a_segment(0)))
    reading = store.segments()
    next(reading)
    asked, go_on, answers = threading.Event(), threading.Event(), []

    def read_twice() -> None:
        answers.append(store.head().size)
        asked.set()
        go_on.wait()
        answers.append(store.head().size)

    other = threading.Thread(target=read_twice)
    other.start()
    asked.wait()
    held = open_files(data)

    for _ in range(20):
        store.reopen()
    store.commit(a_batch(head=a_head(2), segment=a_segment(1)))
    go_on.set()
    other.join()

    assert answers == [1, 2]
    assert store.head().size == 2
    assert [segment.first_seq for segment in reading] == [1]
    assert open_files(data) <= held + 2  # SQLite keeps some for the next to come


def test_threads_that_ask_one_after_the_other_share_a_connection(store: SqliteStore, data: Path):
    store.head()
    held = open_files(data)

    for _ in range(20):
        assert in_thread(store.head).size == 0

    assert open_files(data) == held
    assert len(store._readers) == 1


def test_reopening_a_file_that_cannot_be_used_fails_and_may_be_tried_again(store: SqliteStore, data: Path):
    store.commit(a_batch(head=a_head(1)))
    by_hand(data, "PRAGMA user_version = 99")

    for _ in range(2):
        with pytest.raises(StoreFailed, match="has schema 99"):
            store.reopen()
        with pytest.raises(StoreFailed, match="did not commit"):
            store.commit(a_batch(head=a_head(2)))

    by_hand(data, f"PRAGMA user_version = {SCHEMA_VERSION}")
    store.reopen()
    assert store.load().head.size == 1


def test_a_file_that_has_gone_is_not_replaced_by_an_empty_one(store: SqliteStore, data: Path):
    store.commit(a_batch(head=a_head(1)))
    (data / "tocsin.db").rename(data / "elsewhere")

    with pytest.raises(StoreFailed, match="cannot be opened: CantOpenError"):
        store.reopen()

    (data / "elsewhere").rename(data / "tocsin.db")
    store.reopen()
    assert store.load().head.size == 1


def test_readers_begin_anew_too(store: SqliteStore, data: Path):
    """An operator puts a backup in the place of a damaged file: nobody may go on reading the old one."""
    store.commit(a_batch(head=a_head(1)))
    backup = SqliteStore(data / "backup")
    backup.commit(a_batch(head=a_head(5)))
    backup.close()
    assert store.head().size == 1

    for name in ("tocsin.db", "tocsin.db-wal", "tocsin.db-shm"):
        (data / name).unlink()
    (data / "backup" / "tocsin.db").rename(data / "tocsin.db")
    store.reopen()

    assert store.head().size == store.load().head.size == 5


@pytest.mark.parametrize("reads_fail", ["recall", "leases", "load"])
def test_reading_for_the_state_from_a_lost_file_fails_as_such(data: Path, reads_fail: str):
    store = SqliteStore(data)
    store._writer.close()

    with pytest.raises(StoreFailed, match="cannot be read"):
        {"recall": lambda: store.recall([b"x"]), "leases": lambda: store.leases([1]), "load": store.load}[
            reads_fail
        ]()

    store.close()


@pytest.mark.parametrize(
    "how",
    [
        "limit",
        pytest.param(
            "ballast", marks=pytest.mark.skipif(not may_mount(), reason="may not mount a tiny file system")
        ),
    ],
)
def test_a_full_disk_refuses_without_half_a_turn_and_accepts_again_once_there_is_room(
    tmp_path: Path, how: str
):
    line = command(how, tmp_path)
    if how == "ballast":
        mount = f'mount -t tmpfs -o size=4m tmpfs "{tmp_path}" && exec "$@"'
        line = ["unshare", "-m", "sh", "-c", mount, "sh", *line]

    ran = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["accepted"] > 10
    assert told["outcomes"] == ["Unavailable", "duplicate", "opened"]
    assert told["shown"] > told["accepted"]  # what was accepted can be read while nothing can be written
    assert told["relieved"] == [
        "opened",
        "duplicate",
    ]  # not "duplicate" at once: nothing of the refused was kept
    accepted = told["accepted"] + 1
    assert told["incidents"] == told["live_alerts"] == accepted
    assert told["size"] == told["entries"]
    assert told["root"]
    assert told["files"] == ["lock", "tocsin.db"]
    assert "nothing is accepted" in ran.stderr


def test_a_lease_of_an_alert_that_was_never_stored_is_nobodys(store: SqliteStore):
    store.commit(a_batch(leases=[an_alert(7, seen_at=NOON + 1, lease=9)]))

    assert store.load().alerts == []
    assert store.leases([7]) == {}
