-- From version 1 to 2: what operating needs. Functions that SQLite does not know are given by migrating.py.

ALTER TABLE alerts ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;
UPDATE alerts SET seen_at = seen_at_of(body) WHERE live = 0;
CREATE INDEX alerts_past_seen ON alerts (seen_at) WHERE live = 0;

ALTER TABLE incidents ADD COLUMN acked_at INTEGER NOT NULL DEFAULT 0;
DROP INDEX incidents_by_state;
DROP INDEX incidents_live;
CREATE INDEX incidents_live
ON incidents (number, state, severity, rule_id, opened_at, acked_at, resolved_at) WHERE live = 1;
CREATE INDEX incidents_past_severity ON incidents (severity, number) WHERE live = 0;
CREATE INDEX incidents_past_rule ON incidents (rule_id, severity, number) WHERE live = 0;
CREATE INDEX incidents_past_opened ON incidents (opened_at, severity, rule_id) WHERE live = 0;

CREATE TABLE past_counts (
    rule_id TEXT NOT NULL,
    severity INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (rule_id, severity)
) STRICT, WITHOUT ROWID;
INSERT INTO past_counts
SELECT rule_id, severity, count(*) FROM incidents WHERE live = 0 GROUP BY rule_id, severity;

-- Nobody noted when those were acknowledged.
CREATE TABLE past_durations (
    days INTEGER NOT NULL,
    first INTEGER NOT NULL,
    measure TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (days, first, measure, bucket)
) STRICT, WITHOUT ROWID;
INSERT INTO past_durations
SELECT 1, resolved_at / 86400000000, 'resolve', bucket_of(resolved_at - opened_at), count(*)
FROM incidents WHERE live = 0 GROUP BY 2, 4;
INSERT INTO past_durations
SELECT 32, first / 32 * 32, measure, bucket, sum(n) FROM past_durations GROUP BY 2, 3, 4;

CREATE INDEX deliveries_ended ON deliveries (state, number) WHERE state <> 'pending';
CREATE TABLE delivery_counts (state TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO delivery_counts SELECT state, count(*) FROM deliveries GROUP BY state;
UPDATE head SET counters = with_intents(
    counters,
    (SELECT count(*) FROM deliveries) + (SELECT coalesce(sum(count), 0) FROM withheld)
);

CREATE TABLE attempts (
    delivery INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (delivery, attempt)
) STRICT, WITHOUT ROWID;

-- When a silence ended was not noted either: as planned, or at the latest now.
ALTER TABLE silences ADD COLUMN ended_at INTEGER;
UPDATE silences SET ended_at = min(ends_at_of(body), (SELECT at FROM head)) WHERE ended = 1;
ALTER TABLE silences DROP COLUMN ended;
CREATE INDEX silences_current ON silences (number) WHERE ended_at IS NULL;

CREATE TABLE maintenances (
    number INTEGER PRIMARY KEY,
    next_at INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

ALTER TABLE policies ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE policies ADD COLUMN actor TEXT NOT NULL DEFAULT '';

ALTER TABLE tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN per_minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN expires_at INTEGER;
ALTER TABLE tokens ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
