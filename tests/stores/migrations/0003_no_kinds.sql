-- From schema 2 to 3, as a test imagines it: what the programs of schema 1 write is gone.

ALTER TABLE notifications DROP COLUMN kind;
