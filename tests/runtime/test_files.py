"""Small files that only their owner may read."""

from pathlib import Path

import pytest

from tocsin.runtime.files import read_private


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644, 0o777])
def test_what_is_read_is_its_owners_alone_from_then_on(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    path.chmod(mode)

    assert read_private(path) == b"secret"

    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("mode", "is_taken"), [(0o440, True), (0o444, False), (0o446, False)])
def test_what_is_mounted_may_be_its_groups_but_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_taken: bool
) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    path.chmod(mode)

    def read_only(_: Path, mode: int) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "chmod", read_only)
    if is_taken:
        assert read_private(path) == b"secret"
    else:
        with pytest.raises(OSError, match="Read-only"):
            read_private(path)
