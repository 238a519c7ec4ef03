"""Leftover: a WAL that was left behind is written again, and synced, before anybody believes what it says.

After an fsync that failed, Linux takes the pages that it could not write for clean. They can still be read, so the
next to open the WAL would find commits in it that are not on the disk, and no later fsync would bring them there:
whatever is committed behind them would be gone with the power. What is written anew is synced in earnest.
(PostgreSQL's fsync surprise: https://lwn.net/Articles/752063/)
"""

from pathlib import Path

import apsw

BYTES_AT_ONCE = 1 << 16
"""SQLite never writes more than 128 KiB at once, and its own code for Linux (seekAndWriteFd) relies on that."""


def write_again(database: Path) -> bool:
    """Write the WAL of a database again, byte for byte, and say whether there is one. Nobody may write it meanwhile.

    Raises: apsw.Error; then it is as it was, and must not be believed.
    """
    wal = database.with_name(f"{database.name}-wal")
    if not wal.exists() or not database.exists():
        return False
    file = apsw.VFSFile("", str(wal), [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0])
    try:
        size = file.xFileSize()
        for offset in range(0, size, BYTES_AT_ONCE):
            file.xWrite(file.xRead(min(BYTES_AT_ONCE, size - offset), offset), offset)
        if size:
            file.xSync(apsw.SQLITE_SYNC_NORMAL)
    finally:
        file.xClose()
    return True
