-- Fails halfway, as a test wants it.

CREATE TABLE teams (number BIGINT PRIMARY KEY);
ALTER TABLE incidents ADD COLUMN team BIGINT NOT NULL DEFAULT 1;
UPDATE incidents SET no_such_column = 1;
