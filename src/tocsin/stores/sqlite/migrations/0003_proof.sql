-- From version 2 to 3: what proving needs. The tiles are computed from the entries when the file is opened.

CREATE TABLE tiles (
    level INTEGER NOT NULL,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (level, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE signers (
    vkey TEXT PRIMARY KEY,
    adopted_seq INTEGER NOT NULL,
    retired_seq INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE origins (seq INTEGER PRIMARY KEY, origin TEXT NOT NULL) STRICT;

CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note BLOB NOT NULL) STRICT;
