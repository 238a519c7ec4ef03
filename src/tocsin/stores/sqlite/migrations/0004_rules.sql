-- From version 3 to 4: what rules remember from one look to the next.

CREATE TABLE evaluations (rule_id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
