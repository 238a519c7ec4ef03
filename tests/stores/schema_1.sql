-- The whole schema of the embedded store, version 1. Instants are integer microseconds UTC.
-- Rows that are written at every alert have rising integer keys, so that a commit touches few pages; what must be
-- found by a digest is indexed only once it is over, when it leaves memory.

CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- The end of the ledger; one row.
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    edge BLOB NOT NULL,
    at INTEGER NOT NULL,
    alive_at INTEGER NOT NULL,
    counters BLOB NOT NULL
) STRICT;

-- Entries, as they were committed together.
CREATE TABLE segments (
    first_seq INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    root BLOB NOT NULL,
    data BLOB NOT NULL
) STRICT;

-- What state knows of an alert lies in body; its text lies in the ledger, at text_seq.
CREATE TABLE alerts (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    live INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX alerts_live ON alerts (number) WHERE live = 1;
CREATE INDEX alerts_past ON alerts (id) WHERE live = 0;

-- An alert that was in an incident, and the row of the one that joined before it (0 for none); see chains.py.
CREATE TABLE members (
    number INTEGER PRIMARY KEY,
    alert INTEGER NOT NULL,
    before INTEGER NOT NULL
) STRICT;

-- Looks that left no entry. A row counts only while it is younger than its alert's (seen_at).
CREATE TABLE leases (
    number INTEGER PRIMARY KEY,
    repeats INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    lease INTEGER NOT NULL
) STRICT;

CREATE TABLE incidents (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    live INTEGER NOT NULL,
    state TEXT NOT NULL,
    severity INTEGER NOT NULL,
    rule_id TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    resolved_at INTEGER NOT NULL,
    title TEXT NOT NULL,
    labels BLOB NOT NULL,
    last_member INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX incidents_live ON incidents (number) WHERE live = 1;
CREATE INDEX incidents_by_state ON incidents (state, number);

CREATE TABLE notifications (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    incident INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    message BLOB NOT NULL
) STRICT;

CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY,
    notification INTEGER NOT NULL,
    incident INTEGER NOT NULL,
    kind TEXT NOT NULL,
    channel TEXT NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    at INTEGER NOT NULL,
    due INTEGER NOT NULL,
    why TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX deliveries_pending ON deliveries (number) WHERE state = 'pending';
CREATE INDEX deliveries_of ON deliveries (incident, number) WHERE incident > 0;

CREATE TABLE rates (rule_id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE silences (
    number INTEGER PRIMARY KEY,
    began INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE policies (
    version INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE withheld (reason TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
