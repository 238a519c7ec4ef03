"""The pepper: made once, beside the database, and never anew while somebody needs it."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.runtime.house import events_of
from tests.support.fakes import FakeIds
from tests.support.server import Server

from tocsin.core.model import event as ev
from tocsin.core.model.access import Role, Token
from tocsin.core.model.errors import Conflict
from tocsin.stores.memory import MemoryStore
from tocsin.stores.sqlite import SqliteStore
from tocsin.web.pepper import FINGERPRINT, OPERATOR, fingerprint, read_pepper


def a_token(id_: str) -> Token:
    return Token(id=id_, name="x", role=Role.ADMIN, hash="0" * 64, created_at=0)


def test_the_first_start_makes_it_for_its_owner_only_and_the_next_ones_read_it(tmp_path: Path) -> None:
    ids = FakeIds()

    made = read_pepper(tmp_path, MemoryStore(), ids)

    assert len(made) == 32
    assert (tmp_path / "pepper").read_bytes() == made
    assert (tmp_path / "pepper").stat().st_mode & 0o777 == 0o600
    assert read_pepper(tmp_path, MemoryStore(), ids) == made
    assert [path.name for path in tmp_path.iterdir()] == ["pepper"]


def test_one_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    read_pepper(tmp_path, MemoryStore(), FakeIds())
    (tmp_path / "pepper").chmod(0o644)

    read_pepper(tmp_path, MemoryStore(), FakeIds())

    assert (tmp_path / "pepper").stat().st_mode & 0o777 == 0o600


def test_it_is_not_made_anew_while_there_are_tokens(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put_token(a_token("00000001"))

    with pytest.raises(Conflict, match="tocsin token reset"):
        read_pepper(tmp_path, store, FakeIds())

    assert not (tmp_path / "pepper").exists()


def test_the_machines_own_token_needs_none_to_be_there(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put_token(a_token(OPERATOR))

    assert len(read_pepper(tmp_path, store, FakeIds())) == 32


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_one_that_is_damaged_is_not_used(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pepper").write_bytes(content)

    with pytest.raises(Conflict, match="bytes instead of 32"):
        read_pepper(tmp_path, MemoryStore(), FakeIds())


def test_the_store_knows_it_again_and_does_not_keep_it(tmp_path: Path) -> None:
    store = MemoryStore()
    made = read_pepper(tmp_path, store, FakeIds())

    kept = store.secret(FINGERPRINT)

    assert kept == fingerprint(made)
    assert kept != made
    assert read_pepper(tmp_path, store, FakeIds()) == made
    assert store.secret(FINGERPRINT) == kept


def test_that_of_another_store_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    store = MemoryStore()
    made = read_pepper(tmp_path, store, FakeIds())
    (tmp_path / "pepper").write_bytes(bytes(32))

    with pytest.raises(
        Conflict, match=r"is not the pepper with which the tokens of .* were hashed.*token reset"
    ):
        read_pepper(tmp_path, store, FakeIds())

    assert store.secret(FINGERPRINT) == fingerprint(made)
    assert (tmp_path / "pepper").read_bytes() == bytes(32)


def test_a_store_of_an_older_program_knows_it_from_the_first_start_on(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put_token(a_token("00000001"))
    (tmp_path / "pepper").write_bytes(b"p" * 32)

    assert read_pepper(tmp_path, store, FakeIds()) == b"p" * 32

    assert store.secret(FINGERPRINT) == fingerprint(b"p" * 32)


def test_one_that_is_made_anew_while_nobody_needs_it_is_known_from_then_on(tmp_path: Path) -> None:
    store, ids = MemoryStore(), FakeIds()
    first = read_pepper(tmp_path, store, ids)
    (tmp_path / "pepper").unlink()

    second = read_pepper(tmp_path, store, ids)

    assert first != second
    assert read_pepper(tmp_path, store, ids) == second


def test_one_that_is_half_written_is_none(tmp_path: Path) -> None:
    (tmp_path / "pepper.new").write_bytes(b"half")

    assert len(read_pepper(tmp_path, MemoryStore(), FakeIds())) == 32


def test_a_pepper_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "pepper").mkdir()

    with pytest.raises(Conflict, match="cannot be read"):
        read_pepper(tmp_path, MemoryStore(), FakeIds())


def tocsin(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from tocsin.cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_lost_pepper_stops_the_start_and_a_reset_mends_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = Server(data)
    with server:
        old = server.token
        made = server.request("POST", "/api/v1/tokens", {"name": "prometheus", "role": "service"})[2]
        assert server.request("GET", "/api/v1/incidents", token=made["token"])[0] == 200
        assert server.stop() == 0
    (data / "pepper").unlink()

    refused = tocsin("serve", "--data", str(data), "--port", "0")
    assert refused.returncode == 4
    assert f"The file {data / 'pepper'} is missing" in refused.stderr
    assert "tocsin token reset" in refused.stderr
    assert tocsin("status", "--data", str(data)).returncode == 0

    reset = tocsin("token", "reset", "--yes", "--data", str(data))
    assert reset.returncode == 0, reset.stderr
    new = reset.stdout.strip()
    with server:
        assert server.request("GET", "/api/v1/incidents", token=new)[0] == 200
        for token in (old, made["token"]):
            assert server.request("GET", "/api/v1/incidents", token=token)[0] == 401
        tokens = server.request("GET", "/api/v1/tokens", token=new)[2]["tokens"]
        assert {one["id"] for one in tokens if one["revoked_at"] is None} == {new.split("_")[1], OPERATOR}
        assert server.stop() == 0
    assert tocsin("ledger", "verify", "--data", str(data)).returncode == 0


def test_a_pepper_of_another_house_stops_the_start_and_a_reset_mends_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data) as server:
        old = server.token
        assert server.stop() == 0
    (data / "pepper").write_bytes(bytes(32))

    refused = tocsin("serve", "--data", str(data), "--port", "0")
    reset = tocsin("token", "reset", "--yes", "--data", str(data))

    assert refused.returncode == 4
    assert f"the tokens of {data} were hashed" in refused.stderr
    assert reset.returncode == 0, reset.stderr
    with server:
        assert server.request("GET", "/api/v1/incidents", token=reset.stdout.strip())[0] == 200
        assert server.request("GET", "/api/v1/incidents", token=old)[0] == 401
        assert server.stop() == 0


def test_a_stop_records_the_denials_that_were_only_counted(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        for _ in range(5):
            assert server.request("GET", "/api/v1/incidents", token="toc_wrong")[0] == 401
        assert server.stop() == 0

    store = SqliteStore(tmp_path / "data")
    assert [event.count for event in events_of(store, ev.AccessRefused)] == [1, 4]
    store.close()
