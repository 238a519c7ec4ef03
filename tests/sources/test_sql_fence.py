"""The fence lets one query pass that only reads, finds what it binds, and says where anything else is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.model.errors import Invalid
from tocsin.sources.sql import fence

DATABASES = ("sqlite", "postgresql", "duckdb", "mysql", "mariadb", "mssql", "oracle", "something_new")


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS value",
        "select count(*) as value, region from orders where created_at >= :since group by region",
        "WITH a AS (SELECT 1 AS value) SELECT value FROM a",
        "SELECT 1 AS value UNION ALL SELECT 2",
        "(SELECT 1 AS value)",
        "SELECT 1 AS value;",
        "SELECT 1 AS value -- ; DROP TABLE a",
        "/* DELETE FROM a */ SELECT 1 AS value",
        "SELECT 'delete from a; drop table b' AS it, 1 AS value",
        "SELECT sum(a) OVER (ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS value FROM t",
        "SELECT coalesce(lower(name), 'x') AS name, cast(1 as integer) AS value FROM t",
        "SELECT sleep AS value FROM naps",
    ],
)
def test_a_query_passes_in_every_dialect(query, database):
    assert fence.look(query, database).parts[0].startswith(query[:6])


@pytest.mark.parametrize(
    ("database", "query"),
    [
        ("postgresql", "SELECT date_trunc('day', at)::date AS at, count(*)::int AS value FROM t GROUP BY 1"),
        (
            "postgresql",
            "SELECT count(*) FILTER (WHERE ok) AS value FROM t WHERE tags @> '{a}' AND j->>'x' ~ 'y'",
        ),
        ("postgresql", "SELECT $$it's; DROP TABLE a$$ AS it, 1 AS value"),
        ("postgresql", "TABLE numbers"),
        ("postgresql", "SELECT generate_series AS value FROM generate_series(1, 3)"),
        ("postgresql", "SELECT pg_total_relation_size('t') AS value"),
        ("postgresql", "SELECT count(*) AS value FROM pg_stat_activity"),
        ("postgresql", "SELECT extract(epoch FROM now() - pg_last_xact_replay_timestamp()) AS value"),
        ("sqlite", "SELECT strftime('%s', at) + 0 AS at, 1 AS value FROM t WHERE name GLOB 'a*'"),
        ("duckdb", "FROM 'sales.csv'"),
        ("duckdb", "SELECT * FROM 'sales/2026/*.parquet' JOIN 'regions.csv' USING (id)"),
        (
            "duckdb",
            "SELECT * FROM read_csv('a.csv', delim = ';'), read_parquet(['a.parquet', 'b/c.parquet'])",
        ),
        ("duckdb", "SELECT {'a': 1, 'b': 2} AS it, 1 AS value FROM range(3)"),
    ],
)
def test_what_only_one_dialect_has_passes_there(database, query):
    assert fence.look(query, database)


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO a VALUES (1)",
        "UPDATE a SET b = 1",
        "DELETE FROM a",
        "MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE",
        "DROP TABLE a",
        "CREATE TABLE a (b INT)",
        "CREATE TABLE a AS SELECT 1",
        "ALTER TABLE a ADD b INT",
        "TRUNCATE TABLE a",
        "GRANT SELECT ON a TO b",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SELECT 1 AS value; SELECT 2 AS value",
        "SELECT 1 AS value; DROP TABLE a",
        "SELECT 1 AS value; COMMIT; DELETE FROM a",
        "CALL something()",
        "EXPLAIN SELECT 1",
        "SET a = 1",
        ";",
        "-- nothing",
        "nonsense",
        "SELECT (",
        "SELECT 'never ends",
        "SELECT 1 AS value FROM t WHERE (a = 1",
    ],
)
def test_what_is_not_one_query_is_refused_in_every_dialect(query, database):
    with pytest.raises(Invalid):
        fence.look(query, database)


@pytest.mark.parametrize(
    ("database", "query", "why"),
    [
        ("postgresql", "WITH d AS (DELETE FROM a RETURNING 1) SELECT count(*) AS value FROM d", "DELETE"),
        ("postgresql", "WITH d AS (INSERT INTO a VALUES (1) RETURNING 1) SELECT 1 AS value FROM d", "INSERT"),
        ("postgresql", "WITH d AS (UPDATE a SET b = 1 RETURNING 1) SELECT 1 AS value FROM d", "UPDATE"),
        ("postgresql", "SELECT * FROM (WITH d AS (DELETE FROM a RETURNING 1) SELECT 1 AS value FROM d) x", "DELETE"),
        ("postgresql", "SELECT 1 AS value INTO b", "INTO"),
        ("mssql", "SELECT TOP 1 * INTO b FROM a", "INTO"),
        ("postgresql", "SELECT b AS value FROM a FOR UPDATE", "locks"),
        ("postgresql", "SELECT b AS value FROM a FOR SHARE", "locks"),
        ("mysql", "SELECT b AS value FROM a FOR UPDATE", "locks"),
        ("mysql", "SELECT b AS value FROM a LOCK IN SHARE MODE", "locks"),
        ("mysql", "SELECT 1 INTO OUTFILE '/tmp/x'", ""),
        ("mysql", "SELECT 1 AS value /*!50000 , sleep(10) */", "hidden"),
        ("mariadb", "SELECT 1 AS value /*M!100000 , sleep(10) */", "hidden"),
        ("postgresql", "COPY a TO PROGRAM 'sh'", ""),
        ("postgresql", "DO $$ BEGIN DELETE FROM a; END $$", ""),
        ("postgresql", "VACUUM", ""),
        ("postgresql", "LISTEN a", ""),
        ("postgresql", "EXPLAIN ANALYZE DELETE FROM a", ""),
        ("postgresql", "VALUES (1)", ""),
        ("sqlite", "ATTACH 'x.db' AS x", "ATTACH"),
        ("sqlite", "PRAGMA writable_schema = 1", "PRAGMA"),
        ("sqlite", "VACUUM INTO 'x'", ""),
        ("duckdb", "COPY (SELECT 1) TO 'x.csv'", "COPY"),
        ("duckdb", "INSTALL httpfs", ""),
        ("duckdb", "LOAD httpfs", ""),
        ("duckdb", "PRAGMA database_list", "PRAGMA"),
        ("duckdb", "EXPORT DATABASE 'x'", ""),
        ("duckdb", "ATTACH 'x.db'", "ATTACH"),
    ],
)  # fmt: skip
def test_what_writes_or_locks_is_refused_and_named(database, query, why):
    with pytest.raises(Invalid) as refused:
        fence.look(query, database)

    assert why in str(refused.value)


@pytest.mark.parametrize(
    "call",
    [
        "pg_sleep(10)", "pg_sleep_for('1 h')", 'pg_catalog.pg_sleep(1)', '"pg_sleep"(1)', "PG_SLEEP (1)", "pg_sleep/**/(1)",
        "pg_read_file('/etc/passwd')", "pg_read_binary_file('x')", "pg_ls_dir('/')", "pg_stat_file('x')",
        "lo_import('/etc/passwd')", "lo_export(1, 'x')", "lo_get(1)", "dblink('host=x', 'select 1')", "dblink_exec('x')",
        "set_config('a', 'b', false)", "pg_terminate_backend(1)", "pg_cancel_backend(1)", "pg_reload_conf()",
        "pg_advisory_lock(1)", "pg_try_advisory_lock(1)", "pg_notify('a', 'b')", "nextval('a')", "setval('a', 1)",
        "query_to_xml('delete from a', true, true, '')", "database_to_xml(true, true, '')", "ts_stat('select 1')",
        "load_extension('x')", "readfile('/etc/passwd')", "writefile('x', 'y')", "edit('x')", "fts3_tokenizer('x')",
        "sleep(10)", "benchmark(1000000, 1)", "load_file('/etc/passwd')", "sys_exec('sh')", "sys_eval('sh')", "get_lock('a', 1)",
        "xp_cmdshell('dir')", "openrowset('x')", "openquery(a, 'b')", "utl_http.request('x')" , "dbms_lock.sleep(1)",
        "read_text('/etc/passwd')", "read_blob('x')", "read_json('x.json')", "glob('*')", "sniff_csv('x')", "getenv('HOME')",
        "query('select 1')", "query_table('a')", "sqlite_scan('a', 'b')", "postgres_query('a', 'b')", "duckdb_secrets()",
    ],
)  # fmt: skip
@pytest.mark.parametrize("database", ["sqlite", "postgresql", "duckdb", "mysql", "mssql", "something_new"])
def test_a_function_that_does_more_than_compute_is_refused(database, call):
    for query in (f"SELECT {call} AS value", f"SELECT 1 AS value\nFROM a WHERE b IN (SELECT {call})"):
        with pytest.raises(Invalid):
            fence.look(query, database)


def test_a_forbidden_function_is_told_with_its_line():
    with pytest.raises(Invalid, match=r"calls pg_sleep\(\) at line 3"):
        fence.look("SELECT 1 AS value\nFROM a\nWHERE pg_sleep(1) IS NULL", "postgresql")


@pytest.mark.parametrize("query", ['SELECT U&"pg_sl\\0065ep"(1) AS value', "SELECT u&'x' AS it, 1 AS value"])
def test_a_name_in_escapes_is_refused(query):
    with pytest.raises(Invalid, match="hidden"):
        fence.look(query, "postgresql")


def test_an_error_says_where():
    with pytest.raises(
        Invalid, match=r"no SQL as postgresql reads it at line 2, column \d+, near 'FROMM'|line 2"
    ) as refused:
        fence.look("SELECT count(*) AS value\nFROMM orders WHERE", "postgresql")

    assert "<class" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "empty"),
        ("  \n\t", "empty"),
        ("SELECT '" + "x" * 20_000 + "'", "at most 20,000"),
        ("SELECT 1\0 AS value", "NUL"),
        ("SELECT " + "(" * 4_000 + "1" + ")" * 4_000 + " AS value", "nested too deeply"),
        ("SELECT " + "-" * 0 + "NOT " * 4_500 + "1 AS value", "nested too deeply"),
    ],
)
def test_what_is_no_text_of_a_query_is_refused(query, why):
    with pytest.raises(Invalid) as refused:
        fence.look(query, "postgresql")

    assert why in str(refused.value)
    assert len(str(refused.value)) < 400


def test_nothing_is_written_to_the_log(caplog):
    with pytest.raises(Invalid):
        fence.look("EXPLAIN ANALYZE SELECT 'geheim'", "postgresql")

    assert caplog.text == ""


# Binds


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "duckdb", "mysql"])
def test_binds_are_found_outside_of_texts_and_comments(database):
    query = "SELECT 'ä 🎺 :until' AS it, 1 AS value -- :nonsense\nFROM t WHERE a >= :since AND b < :until /* :more */ AND c > :since"

    found = fence.look(query, database)

    assert found.names == ("since", "until", "since")
    assert found.written("named") == query


def test_casts_and_times_are_no_binds():
    query = (
        "SELECT '12:30:since'::text AS it, a[1:2], :since_epoch::int AS value FROM t WHERE b = '10:15'::time"
    )

    found = fence.look(query, "postgresql")

    assert found.names == ("since_epoch",)
    assert found.written("pyformat") == query.replace(":since_epoch", "%(since_epoch)s")


@pytest.mark.parametrize(
    ("style", "written"),
    [
        ("named", "SELECT :since || '%' AS it, 5 % 2 AS value WHERE :until > :since"),
        ("pyformat", "SELECT %(since)s || '%%' AS it, 5 %% 2 AS value WHERE %(until)s > %(since)s"),
        ("format", "SELECT %s || '%%' AS it, 5 %% 2 AS value WHERE %s > %s"),
        ("qmark", "SELECT ? || '%' AS it, 5 % 2 AS value WHERE ? > ?"),
        ("numeric", "SELECT :1 || '%' AS it, 5 % 2 AS value WHERE :2 > :3"),
        ("dollar", "SELECT $since || '%' AS it, 5 % 2 AS value WHERE $until > $since"),
    ],
)
def test_a_query_is_written_as_its_driver_wants_it(style, written):
    found = fence.look("SELECT :since || '%' AS it, 5 % 2 AS value WHERE :until > :since;", "postgresql")

    assert found.written(style) == written


@pytest.mark.parametrize("name", ["now", "Since", "since_", "until2", "password", "sincé"])
def test_a_bind_that_there_is_not_is_refused_with_those_that_there_are(name):
    with pytest.raises(Invalid, match=f"asks for :{name} at line 1") as refused:
        fence.look(f"SELECT 1 AS value WHERE a > :{name}", "sqlite")

    assert ":since, :until, :since_epoch, :until_epoch, :since_date, :until_date" in str(refused.value)


# Files


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "/etc/x.csv", "../x.csv", "a/../../x.csv", "./x.csv", "~/x.csv", "C:/x.csv", "a\\\\x.csv", "x.json",
        "http://evil/x.csv", "s3://bucket/x.parquet", "file:///etc/x.csv", "a.duckdb", "x.csv/../../y.csv", "//x/y.csv",
        "/dev/stdin", "x.csv\n", "*",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["FROM '{}'", 'FROM "{}"', "FROM 'a.csv' JOIN '{}' USING (x)", "FROM 'a.csv', '{}'",
                                  "FROM read_csv('{}')", "FROM read_parquet(['a.parquet', '{}'])"])  # fmt: skip
def test_only_files_of_the_folder_are_read(form, path):
    with pytest.raises(Invalid, match="by their relative names"):
        fence.look("SELECT 1 AS value " + form.format(path), "duckdb")


@pytest.mark.parametrize(
    "argument",
    [
        "'/etc/' || 'passwd'",
        "chr(47) || 'x.csv'",
        "(SELECT name FROM t)",
        "x",
        "['a.csv', x]",
        "concat('a', '.csv')",
        "",
    ],
)
def test_the_name_of_a_file_is_not_computed(argument):
    with pytest.raises(Invalid):
        fence.look(f"SELECT 1 AS value FROM read_csv({argument})", "duckdb")


def test_files_are_put_into_their_folder_and_texts_that_look_like_them_are_not():
    query = "SELECT 'a.csv' AS it, 1 AS value FROM 'a.csv' JOIN read_csv(['a.csv', 'b''s.csv'], delim = ',') USING (x) WHERE y = 'a.csv'"

    with pytest.raises(Invalid):
        fence.look(query, "duckdb")  # A quotation mark is no part of the names that are taken.
    found = fence.look(query.replace("b''s", "b"), "duckdb")

    assert found.files == ("a.csv",)
    assert found.placed("/it's").written("dollar") == (
        "SELECT 'a.csv' AS it, 1 AS value FROM 'a.csv' JOIN read_csv(['/it''s/a.csv', '/it''s/b.csv'], delim = ',') USING (x)"
        " WHERE y = 'a.csv'"
    )


@given(query=st.text(max_size=80), database=st.sampled_from(DATABASES))
def test_any_text_is_looked_at_or_refused(query, database):
    try:
        found, said = fence.look(query, database), ""
    except Invalid as refused:
        found, said = None, str(refused)
    assert len(said) < 500
    if found:
        assert found.written("named").strip() == query.strip().rstrip(";").strip() or ";" in query


WORDS = st.sampled_from(
    ["SELECT", "1", "AS", "value", "FROM", "t", "(", ")", ",", ";", "--", "/*", "*/", "'", '"', "$$", ":since", "::", "[", "]", "\\",
     "UNION", "WITH", "x", "DELETE", "pg_sleep", "INTO", "E'", "\n", "%"]
)  # fmt: skip


@given(words=st.lists(WORDS, max_size=12), database=st.sampled_from(DATABASES))
def test_any_words_are_looked_at_or_refused(words, database):
    try:
        said = fence.look(" ".join(["SELECT 1 AS value", *words]), database).written("qmark")
    except Invalid as refused:
        said = str(refused)
    assert 0 < len(said) < 500


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "duckdb", "mysql"])
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT value FROM", " at line 1, column 17, near 'FROM': here the name of a table is missing."),
        ("SELECT value FROM WHERE x", " at line 1, column 23, near 'WHERE': here the name of a table is missing."),
        ("SELECT value\nFROM a JOIN", " at line 2, column 11, near 'JOIN': here the name of a table is missing."),
        ("SELECT count(* AS value FROM a", " at line 1, column 17, near 'AS': here ) is missing."),
        ("SELECT CAST(a AS ) AS value", " at line 1, column 18, near ')': here the name of a type is missing."),
        ("SELECT value FROM a GROUP region", " at line 1, column 32, near 'region': this cannot stand here."),
        ("SELECT value FROM a WHERE", " at line 1, column 25, near 'WHERE': something is missing."),
        ("SELECT 'geheim", ": a text, a name in quotes or a comment has no end."),
        ("SELECT 1 AS value /* x", ": a text, a name in quotes or a comment has no end."),
    ],
)  # fmt: skip
def test_what_the_parser_misses_is_said_in_plain_words(query, said, database):
    with pytest.raises(Invalid) as refused:
        fence.look(query, database)

    assert str(refused.value) == f"The query is no SQL as {database} reads it{said}"


@given(
    st.lists(
        st.sampled_from(["SELECT", "FROM", "WHERE", "a", "(", ")", ",", "AS", "'x'", "CASE", "WITH", "JOIN", "1", "IN"]),
        max_size=8,
    )
)  # fmt: skip
def test_no_error_shows_what_the_parser_is_made_of(words):
    try:
        fence.look("SELECT " + " ".join(words), "postgresql")
        said = ""
    except Invalid as refused:
        said = str(refused)

    assert "<" not in said
    assert "oken" not in said
