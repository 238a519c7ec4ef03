-- The whole schema of the embedded store, version 3; migrations/ leads to it from older ones. Instants are integer microseconds UTC.
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

-- The roots of full tiles of the tree: level 1 holds those of 256 entries, level 2 those of 256 of level 1, and so on.
CREATE TABLE tiles (
    level INTEGER NOT NULL,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (level, number)
) STRICT, WITHOUT ROWID;

-- The keys that sign checkpoints, and the entries that said so.
CREATE TABLE signers (
    vkey TEXT PRIMARY KEY,
    adopted_seq INTEGER NOT NULL,
    retired_seq INTEGER
) STRICT, WITHOUT ROWID;

-- What the ledger is called, from which entry on.
CREATE TABLE origins (seq INTEGER PRIMARY KEY, origin TEXT NOT NULL) STRICT;

-- Signed checkpoints that hand over from one key to another.
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note BLOB NOT NULL) STRICT;

-- What state knows of an alert lies in body; its text lies in the ledger, at text_seq. seen_at: 0 while it is live.
CREATE TABLE alerts (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    live INTEGER NOT NULL,
    body BLOB NOT NULL,
    seen_at INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX alerts_live ON alerts (number) WHERE live = 1;
CREATE INDEX alerts_past ON alerts (id) WHERE live = 0;
CREATE INDEX alerts_past_seen ON alerts (seen_at) WHERE live = 0;

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

-- Those that are live are counted and filtered by scanning their one index, which holds what that needs; those that
-- are not are resolved, found by an index, and counted in past_counts and past_durations.
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
    body BLOB NOT NULL,
    acked_at INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX incidents_live
ON incidents (number, state, severity, rule_id, opened_at, acked_at, resolved_at) WHERE live = 1;
CREATE INDEX incidents_past_severity ON incidents (severity, number) WHERE live = 0;
CREATE INDEX incidents_past_rule ON incidents (rule_id, severity, number) WHERE live = 0;
CREATE INDEX incidents_past_opened ON incidents (opened_at, severity, rule_id) WHERE live = 0;

-- How many incidents are not live.
CREATE TABLE past_counts (
    rule_id TEXT NOT NULL,
    severity INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (rule_id, severity)
) STRICT, WITHOUT ROWID;

-- How long those took that are not live, by when they were resolved, what was measured, and bucket; see
-- core/engine/durations.py. Each is counted in its day (days = 1, first = days since 1970) and in its 32 days.
CREATE TABLE past_durations (
    days INTEGER NOT NULL,
    first INTEGER NOT NULL,
    measure TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (days, first, measure, bucket)
) STRICT, WITHOUT ROWID;

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
CREATE INDEX deliveries_ended ON deliveries (state, number) WHERE state <> 'pending';

CREATE TABLE delivery_counts (state TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Attempts that failed.
CREATE TABLE attempts (
    delivery INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (delivery, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE rates (rule_id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE silences (
    number INTEGER PRIMARY KEY,
    began INTEGER NOT NULL,
    body BLOB NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE INDEX silences_current ON silences (number) WHERE ended_at IS NULL;

CREATE TABLE maintenances (
    number INTEGER PRIMARY KEY,
    next_at INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE policies (
    version INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    body BLOB NOT NULL,
    at INTEGER NOT NULL DEFAULT 0,
    actor TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE withheld (reason TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    scopes TEXT NOT NULL DEFAULT '',
    per_minute INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER,
    created_by TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- What each rule remembers from one look to the next; no entry of the ledger says it.
CREATE TABLE evaluations (rule_id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
