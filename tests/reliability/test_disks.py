"""A server on a disk that fills up, or that Linux turns read-only because of an error, keeps what it answered for.

Each has a disk of its own, which only its processes see.
"""

import contextlib
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reliability.tally import tally
from tests.reliability.test_kills import SEED
from tests.reliability.test_starved import refuses
from tests.reliability.under_load import POLICY, Load, settings, told
from tests.support.mounts import Room, may_mount
from tests.support.server import Server, SinkThread

DISK_MIB = 16
FREE_BYTES = 1_500_000


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """A disk of 16 MiB in memory."""
    if not may_mount():
        pytest.skip("needs the right to mount a tmpfs in a namespace of its own")
    with Room(tmp_path / "data", f"mount -t tmpfs -o size={DISK_MIB}m,mode=700 tmpfs {{at}}") as one:
        yield one


def copied(seen: Path, folder: Path) -> Path:
    """Copy a directory to where SQLite can name it: it follows links, also the one of /proc that leads to the room."""
    return shutil.copytree(seen, folder / "copy", ignore=shutil.ignore_patterns("lost+found"))


def comes_up(server: Server) -> bool:
    """Say whether it starts; it tells why not, and leaves nothing running."""
    try:
        return server.start()
    except AssertionError:
        return False


@pytest.fixture
def frail(tmp_path: Path) -> Iterator[Room]:
    """An ext4 of 64 MiB, which can be made to meet an error."""
    image = tmp_path / "disk.img"
    mount = f"mount -o loop {image} {{at}}"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    made = shutil.which("mkfs.ext4") and subprocess.run(["mkfs.ext4", "-q", "-F", image]).returncode == 0
    if not made or not may_mount(f"mount -o loop {image} /mnt"):
        pytest.skip("needs mkfs.ext4, and the right to mount a loop device in a namespace of its own")
    with Room(tmp_path / "data", mount) as one:
        yield one


def test_a_full_disk_is_told_and_goes_on_by_itself_once_there_is_room(tmp_path: Path, room: Room) -> None:
    chance = random.Random(f"{SEED} full")
    with SinkThread() as sink:
        server = Server(tmp_path / "data", settings(sink), POLICY, prefix=room.prefix)
        with server:
            load = Load(server, chance, patient=True)
            for fill in range(2):
                load.wait_for(50, f"load before fill {fill}")
                ballast = room.seen / "ballast"
                leave = (FREE_BYTES, 0)[fill]
                with contextlib.suppress(OSError):  # The server takes what is left, meanwhile.
                    ballast.write_bytes(bytes(shutil.disk_usage(room.seen).free - leave))
                refuses(server, load)
                ballast.unlink()
                load.wait_for(50, f"load after fill {fill}")
            load.end()
            assert server.stop() == 0
        told(load.holds(copied(room.seen, tmp_path)), sink, troubles=2)
    tally("full", fills=2, answered=load.answered, refused=load.refused)


def test_a_disk_that_turned_read_only_takes_nothing_and_what_was_answered_is_on_it(
    tmp_path: Path, frail: Room
) -> None:
    with SinkThread() as sink:
        server = Server(tmp_path / "data", settings(sink), POLICY, prefix=frail.prefix)
        with server:
            load = Load(server, random.Random(f"{SEED} frail"), patient=True)
            load.wait_for(100, "load before")
            frail.run("mount -o remount,abort {at}")
            refuses(server, load)
            load.hold()
            server.kill()

            assert not comes_up(server)
            said = server.log.read_text()
            assert "cannot" in said.splitlines()[-1], said[-2000:]
            assert "Traceback" not in said.splitlines()[-1]

            image = tmp_path / "disk.img"
            frail.run(f"umount {{at}}; fsck.ext4 -y {image}; mount -o loop {image} {{at}}")
            server.start()
            load.go_on()
            load.wait_for(50, "load on the mended disk")
            load.end()
            assert server.stop() == 0
        told(load.holds(copied(frail.seen, tmp_path)), sink, troubles=1)
    tally("read_only", disks=1, answered=load.answered, refused=load.refused)
