-- From schema 1 to 2, as a test imagines it: all that a migration may do that only expands, and that to every table.

CREATE TABLE teams (number BIGINT PRIMARY KEY, name TEXT COLLATE "C" NOT NULL);
INSERT INTO teams VALUES (1, 'nobody');

DO $$
DECLARE
    one TEXT;
BEGIN
    FOR one IN SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN team BIGINT NOT NULL DEFAULT 1', one);
        EXECUTE format('ALTER TABLE %I ADD COLUMN teams_note TEXT', one);
        EXECUTE format('CREATE INDEX %I ON %I (team, teams_note)', one || '_team', one);
    END LOOP;
END
$$;

CREATE FUNCTION team_of(BIGINT) RETURNS TEXT LANGUAGE sql STABLE RETURN (SELECT name FROM teams WHERE number = $1);

UPDATE meta SET teams_note = 'seen';
