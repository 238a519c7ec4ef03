-- The whole schema on PostgreSQL, version 1. Instants are integer microseconds UTC.
-- Rows that are written at every alert have rising integer keys, so that a commit touches few pages; what must be
-- found by a digest is indexed only once it is over, when it leaves memory.

CREATE TABLE meta (key TEXT COLLATE "C" PRIMARY KEY, value BYTEA NOT NULL);

-- The end of the ledger; one row.
CREATE TABLE head (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    edge BYTEA NOT NULL,
    at BIGINT NOT NULL,
    alive_at BIGINT NOT NULL,
    counters BYTEA NOT NULL,
    turn BIGINT NOT NULL DEFAULT 0
);

-- What each turn changed of what nodes know by heart, so that the others can look it up; see changes.py.
CREATE TABLE changes (turn BIGINT PRIMARY KEY, body BYTEA NOT NULL);

-- The nodes that write here. One whose time is over is taken for dead, and what it owned is anybody's.
CREATE TABLE nodes (id TEXT COLLATE "C" PRIMARY KEY, until_at BIGINT NOT NULL);

-- Which node attempts a pending delivery.
CREATE TABLE owned (delivery BIGINT PRIMARY KEY, node TEXT COLLATE "C" NOT NULL);
CREATE INDEX owned_by ON owned (node, delivery);

-- Entries, as they were committed together.
CREATE TABLE segments (
    first_seq BIGINT PRIMARY KEY,
    count BIGINT NOT NULL,
    root BYTEA NOT NULL,
    data BYTEA NOT NULL
);

-- The roots of full tiles of the tree: level 1 holds those of 256 entries, level 2 those of 256 of level 1, and so on.
CREATE TABLE tiles (
    level BIGINT NOT NULL,
    number BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (level, number)
);

-- The keys that sign checkpoints, and the entries that said so.
CREATE TABLE signers (
    vkey TEXT COLLATE "C" PRIMARY KEY,
    adopted_seq BIGINT NOT NULL,
    retired_seq BIGINT
);

-- What the ledger is called, from which entry on.
CREATE TABLE origins (seq BIGINT PRIMARY KEY, origin TEXT COLLATE "C" NOT NULL);

-- Signed checkpoints that hand over from one key to another.
CREATE TABLE checkpoints (size BIGINT PRIMARY KEY, note BYTEA NOT NULL);

-- What state knows of an alert lies in body; its text lies in the ledger, at text_seq. seen_at: 0 while it is live.
CREATE TABLE alerts (
    number BIGINT PRIMARY KEY,
    id BYTEA NOT NULL,
    live BIGINT NOT NULL,
    body BYTEA NOT NULL,
    seen_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX alerts_live ON alerts (number) WHERE live = 1;
CREATE INDEX alerts_past ON alerts (id) WHERE live = 0;
CREATE INDEX alerts_past_seen ON alerts (seen_at) WHERE live = 0;

-- An alert that was in an incident, and the row of the one that joined before it (0 for none); see chains.py.
CREATE TABLE members (
    number BIGINT PRIMARY KEY,
    alert BIGINT NOT NULL,
    before BIGINT NOT NULL
);

-- Looks that left no entry. A row counts only while it is younger than its alert's (seen_at).
CREATE TABLE leases (
    number BIGINT PRIMARY KEY,
    repeats BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    lease BIGINT NOT NULL
);

-- Those that are live are counted and filtered by scanning their one index, which holds what that needs; those that
-- are not are resolved, found by an index, and counted in past_counts and past_durations.
CREATE TABLE incidents (
    number BIGINT PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    live BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    severity BIGINT NOT NULL,
    rule_id TEXT COLLATE "C" NOT NULL,
    opened_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    resolved_at BIGINT NOT NULL,
    title TEXT COLLATE "C" NOT NULL,
    labels BYTEA NOT NULL,
    last_member BIGINT NOT NULL,
    body BYTEA NOT NULL,
    acked_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX incidents_live
ON incidents (number, state, severity, rule_id, opened_at, acked_at, resolved_at) WHERE live = 1;
CREATE INDEX incidents_past_severity ON incidents (severity, number) WHERE live = 0;
CREATE INDEX incidents_past_rule ON incidents (rule_id, severity, number) WHERE live = 0;
CREATE INDEX incidents_past_opened ON incidents (opened_at, severity, rule_id) WHERE live = 0;

-- How many incidents are not live.
CREATE TABLE past_counts (
    rule_id TEXT COLLATE "C" NOT NULL,
    severity BIGINT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (rule_id, severity)
);

-- How long those took that are not live, by when they were resolved, what was measured, and bucket; see
-- core/engine/durations.py. Each is counted in its day (days = 1, first = days since 1970) and in its 32 days.
CREATE TABLE past_durations (
    days BIGINT NOT NULL,
    first BIGINT NOT NULL,
    measure TEXT COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (days, first, measure, bucket)
);

CREATE TABLE notifications (
    number BIGINT PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    incident BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    message BYTEA NOT NULL
);

CREATE TABLE deliveries (
    number BIGINT PRIMARY KEY,
    notification BIGINT NOT NULL,
    incident BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    at BIGINT NOT NULL,
    due BIGINT NOT NULL,
    why TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX deliveries_pending ON deliveries (number) WHERE state = 'pending';
CREATE INDEX deliveries_of ON deliveries (incident, number) WHERE incident > 0;
CREATE INDEX deliveries_ended ON deliveries (state, number) WHERE state <> 'pending';

CREATE TABLE delivery_counts (state TEXT COLLATE "C" PRIMARY KEY, n BIGINT NOT NULL);

-- Attempts that failed.
CREATE TABLE attempts (
    delivery BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    at BIGINT NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    why TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (delivery, attempt)
);

CREATE TABLE rates (rule_id TEXT COLLATE "C" PRIMARY KEY, body BYTEA NOT NULL);

CREATE TABLE silences (
    number BIGINT PRIMARY KEY,
    began BIGINT NOT NULL,
    body BYTEA NOT NULL,
    ended_at BIGINT
);
CREATE INDEX silences_current ON silences (number) WHERE ended_at IS NULL;

CREATE TABLE maintenances (
    number BIGINT PRIMARY KEY,
    next_at BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    body BYTEA NOT NULL
);

CREATE TABLE policies (
    version BIGINT PRIMARY KEY,
    digest TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    at BIGINT NOT NULL DEFAULT 0,
    actor TEXT COLLATE "C" NOT NULL DEFAULT ''
);

CREATE TABLE withheld (reason TEXT COLLATE "C" PRIMARY KEY, count BIGINT NOT NULL);

CREATE TABLE tokens (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    scopes TEXT COLLATE "C" NOT NULL DEFAULT '',
    per_minute BIGINT NOT NULL DEFAULT 0,
    expires_at BIGINT,
    created_by TEXT COLLATE "C" NOT NULL DEFAULT ''
);

-- What each rule remembers from one look to the next; no entry of the ledger says it.
CREATE TABLE evaluations (rule_id TEXT COLLATE "C" PRIMARY KEY, body BYTEA NOT NULL);

-- What SQLite calls so: the place of the second in the first, from 1; 0 if it is not there.
CREATE FUNCTION instr(TEXT, TEXT) RETURNS INTEGER LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN strpos($1, $2);
CREATE FUNCTION instr(BYTEA, BYTEA) RETURNS INTEGER LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN position($2 IN $1);
