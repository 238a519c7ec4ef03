"""Whatever an alert says, every face shows it and none obeys it: it arrives equal, and nothing else happens."""

import http.client
import json
import re
import socket
import subprocess
import sys
import time
import unicodedata
import zipfile
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import quote, urlencode

import jsonschema
import pytest
from tests.cli.inside import Operator
from tests.hostile.corpus import BODIES, NUMBERS, TEXTS
from tests.hostile.looking import Page, acting_in, events_of, foreign_in, json_line, markdown_texts, obeyed_in
from tests.hostile.scene import HARMLESS, RECIPIENT, SENDER, Scene, parsed
from tests.reliability.tally import tally

SCHEMA = json.loads(
    (Path(__file__).parent.parent / "channels/adaptive-card-schema-1.2.json").read_text("utf-8")
)
NAMES = sorted(TEXTS)
TOLD = ("rule_id", "severity", "message", "scope", "annotations", "links", "evidence")
"""Of an alert, to a receiver of webhooks."""


# What goes out


def test_a_webhook_is_told_the_very_text(scene: Scene) -> None:
    wrong = []
    for name, alert in scene.alerts.items():
        [told] = scene.hooks[name]["data"]["alerts"]
        wrong += [(name, field) for field in TOLD if told[field] != alert[field]]
        if scene.hooks[name]["data"]["incident"]["rule_id"] != alert["rule_id"]:
            wrong.append((name, "incident"))

    assert wrong == []
    assert all(request.path == "/hook" and request.method == "POST" for request in scene.hook_sink.requests)
    assert len({tuple(sorted(request.headers)) for request in scene.hook_sink.requests}) == 1
    tally("hostile texts to a webhook", texts=len(scene.alerts))


def part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    return str(found.get_content()).replace("\r\n", "\n")


def test_a_mail_has_no_header_recipient_part_or_tag_that_a_text_made(scene: Scene) -> None:
    harmless = parsed(scene.mails[HARMLESS])
    template = Page(part(harmless, "html"))
    for name, mail in scene.mails.items():
        read = parsed(mail)
        assert not read.defects, name
        assert (mail.sender, mail.recipients) == (SENDER, [RECIPIENT]), name
        assert read.keys() == harmless.keys(), name
        assert str(read["To"]) == RECIPIENT, name
        assert [one.get_content_type() for one in read.walk()] == [
            "multipart/alternative", "text/plain", "text/html"
        ], name  # fmt: skip
        assert [one.keys() for one in read.iter_parts()] == [one.keys() for one in harmless.iter_parts()]
        assert mail.content.isascii(), name
        assert mail.content.count(b"\r") == mail.content.count(b"\n") == mail.content.count(b"\r\n"), name
        assert max(map(len, mail.content.split(b"\r\n"))) <= 998, name
        page = Page(part(read, "html"))
        assert foreign_in(page, template) == [], name
        for tag in ("html", "head", "body", "title", "style", "h1"):
            assert page.counts[tag] == 1, name
        for said in (*map(str, read.values()), part(read, "plain"), page.said):
            assert not re.search(
                "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", said
            ), name
    assert set(scene.mail_sink.commands) <= {"EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "QUIT", "NOOP"}
    assert len(scene.mail_sink.mails) == scene.mail_sink.commands.count("DATA") == len(scene.alerts)
    tally("hostile texts to a mail relay", texts=len(scene.alerts))


def test_a_card_is_valid_and_says_nothing_that_teams_would_obey(scene: Scene) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for name, body in scene.cards.items():
        validator.validate(body)
        [attachment] = body["attachments"]
        card = attachment["content"]
        assert card["msteams"] == {"width": "full"}, "no mention is declared"
        texts = [*markdown_texts(card["body"]), card["fallbackText"]]
        obeyed = {text: found for text in texts if (found := obeyed_in(text))}
        assert obeyed == {}, name
        for text in texts:
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]", text), name
        for action in card.get("actions", []):
            assert action["type"] == "Action.OpenUrl", name
            assert re.match(r"https?://[\w.-]+(:\d+)?(/|$)", action["url"], re.ASCII), name
            assert action["url"].isascii(), name
            assert not re.search(r"[\s\"<>\\^`{|}@]", action["url"]), name
        types = {element["type"] for element in _elements(card)}
        assert types <= {
            "AdaptiveCard",
            "TextBlock",
            "FactSet",
            "Container",
            "ColumnSet",
            "Column",
            "Action.OpenUrl",
        }, name
    assert max(len(request.body) for request in scene.chat_sink.requests) <= 18 * 1024
    tally("hostile texts to Teams", texts=len(scene.alerts))


def _elements(element: object) -> list[dict[str, str]]:
    match element:
        case dict():
            found = [element] if isinstance(element.get("type"), str) else []
            return found + [inner for value in element.values() for inner in _elements(value)]
        case list():
            return [inner for value in element for inner in _elements(value)]
        case _:
            return []


# What is asked for


def test_the_api_shows_the_very_text_in_lists_details_and_explanations(scene: Scene) -> None:
    listed = scene.get("/api/v1/incidents?limit=500")["incidents"]
    rules = {one["number"]: one["rule_id"] for one in listed}
    for name, alert in scene.alerts.items():
        number = scene.incidents[name]
        assert rules[number] == alert["rule_id"], name
        [shown] = scene.get(f"/api/v1/incidents/{number}")["alerts"]
        assert {field: shown[field] for field in alert if field in shown} == {
            field: value for field, value in alert.items() if field in shown
        }, name
        steps = scene.get(f"/api/v1/incidents/{number}/why")["steps"]
        [received] = [step["received"] for step in steps if step["received"]]
        assert (received["rule_id"], received["scope"]) == (alert["rule_id"], alert["scope"]), name
    tally("hostile texts by the API", texts=len(scene.alerts))


@pytest.mark.parametrize("kind", ["rule_id", "scope", "text"])
def test_a_filter_finds_what_it_names_and_is_never_part_of_a_query(scene: Scene, kind: str) -> None:
    before = scene.size()
    for name, alert in scene.alerts.items():
        text = {
            "rule_id": alert["rule_id"],
            "scope": f"host={alert['message']}"[:1024],
            "text": alert["rule_id"],
        }[kind]
        if kind == "scope" and len(alert["message"]) > 1000:
            continue
        status, _, found = scene.server.request(
            "GET", f"/api/v1/incidents?limit=500&{urlencode({kind: text})}"
        )
        assert status == 200, (name, found)
        numbers = {one["number"] for one in found["incidents"]}
        if kind == "scope":
            expected = {
                scene.incidents[other]
                for other, given in scene.alerts.items()
                if given["scope"].get("host") == alert["message"]
            }
            assert numbers == expected, name
        elif kind == "rule_id":
            expected = {scene.incidents[o] for o, given in scene.alerts.items() if given["rule_id"] == text}
            assert numbers == expected, name
        else:  # "%" and "_" stand for themselves
            for one in found["incidents"]:
                assert text.casefold() in one["title"].casefold() or text.lower() in one["title"].lower(), (
                    name
                )
    assert scene.size() == before


def test_a_path_or_a_parameter_is_refused_or_not_found_with_a_problem(scene: Scene) -> None:
    before = scene.size()
    paths = ("incidents/{}", "incidents/{}/why", "silences/{}", "deliveries/{}", "policy/{}", "rules/{}", "slos/{}",
             "ledger/entries/{}/proof", "incidents?cursor={}", "incidents?limit={}", "incidents?since={}",
             "incidents?state={}", "deliveries?state={}", "silences?cursor={}", "events?after={}", "events?incident={}",
             "policy/diff?from={}&to={}", "ledger/consistency?old={}")  # fmt: skip
    asked = 0
    for index, name in enumerate(NAMES):
        text = quote(TEXTS[name][:2_000], safe="")
        for path in (paths[index % len(paths)], paths[(index + 5) % len(paths)]):
            connection = scene.server.connect()
            connection.request("GET", f"/api/v1/{path.replace('{}', text)}", headers=scene.server.headers())
            answer = connection.getresponse()
            body = answer.read()
            asked += 1
            assert answer.status in (200, 400, 404, 405, 422), (path, name, answer.status, body)
            if answer.status != 200:
                assert answer.getheader("content-type") == "application/problem+json", (path, name)
                assert json.loads(body)["status"] == answer.status
            for header, value in answer.getheaders():
                assert "0wned" not in value or header.lower() == "location", (path, name, header)
            connection.close()
    assert scene.size() == before
    tally("hostile paths and parameters", asked=asked)


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_refused_is_refused_with_a_problem_and_changes_nothing(
    scene: Scene, name: str
) -> None:
    before = scene.size()

    status, headers, problem = scene.server.request("POST", "/api/v1/alerts", BODIES[name])

    assert 400 <= status < 500, problem
    assert headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["type"].startswith("urn:tocsin:problem:")
    assert len(json.dumps(problem)) < 20_000
    assert scene.size() == before
    tally("hostile bodies refused", bodies=1)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_told_as_it_came_or_refused(scene: Scene, name: str) -> None:
    before = scene.size()

    status, _, answer = scene.server.request("POST", "/api/v1/alerts?partial=false", scene.numbers[name])

    if status == 200:
        number = answer["results"][0]["incidents"][0]["number"]
        [shown] = scene.get(f"/api/v1/incidents/{number}")["alerts"]
        assert str(shown["evidence"]["n"]) in (NUMBERS[name], str(_whole(NUMBERS[name]))), shown
        scene.server.request("POST", f"/api/v1/incidents/{number}/resolve", {})
    else:
        assert status == 422, answer
        assert scene.size() == before


def _whole(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return text


def test_a_severity_or_a_status_is_one_of_ours_or_refused(scene: Scene) -> None:
    before = scene.size()
    for name, text in TEXTS.items():
        for field in ("severity", "status", "window_end", "ends_at"):
            alert = {"rule_id": "x", "severity": "info", "message": "x"} | {field: text}
            status, _, problem = scene.server.request("POST", "/api/v1/alerts", alert)
            assert status == 422, (name, field)
            assert problem["errors"][0]["field"] == field, name
    assert scene.size() == before


def test_one_event_is_one_event(scene: Scene) -> None:
    size = scene.size()
    with socket.create_connection(("127.0.0.1", scene.server.port), 30) as raw:
        raw.sendall(
            b"GET /api/v1/events?after=-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n"
            % scene.server.token.encode()
        )
        response = http.client.HTTPResponse(raw)
        response.begin()
        read, until = b"", time.monotonic() + 30
        while read.count(b"\n\n") <= size:  # one more: how long to wait before coming back
            part = response.read1(65_536)
            assert part, "the stream ended"
            assert time.monotonic() < until, "some events are none"
            read += part
        found = events_of(read.decode())

    assert [event.id for event in found] == [str(seq) for seq in range(len(found))]
    assert all(json.loads(event.data)["seq"] == int(event.id) for event in found)
    assert all(json.loads(event.data)["kind"] == event.kind for event in found)
    assert not [event for event in found if '"message"' in event.data or '"annotations"' in event.data]
    tally("hostile texts by events", events=len(found))


def test_metrics_are_readable_and_hold_no_text(scene: Scene) -> None:
    text = scene.get("/metrics").decode()

    for line in text.splitlines():
        assert re.fullmatch(
            r"# (HELP|TYPE) .*|[a-zA-Z_:][\w:]*(\{[^{}\n]*\})? [-+.\deE]+|[\w:]+(\{.*\})? \+Inf", line
        ), line
    assert "0wned" not in text
    assert acting_in(text) == []


def test_the_docs_page_and_the_description_hold_no_text(scene: Scene) -> None:
    page = Page(scene.get("/docs").decode())

    assert not {"script", "img", "iframe", "form", "object", "base"} & set(page.counts)
    assert [link for link in page.links if not link.startswith("#")] == []
    assert "0wned" not in json.dumps(scene.get("/api/v1/openapi.json"))


# What stays here


def test_one_line_of_the_log_is_one_line_and_holds_no_text_of_an_alert(scene: Scene) -> None:
    log = scene.server.log.read_text("utf-8")

    for line in log.splitlines():
        assert json_line(line)["event"]
    assert acting_in(log) == []
    assert log.isascii()
    assert "0wned" not in log
    assert "Traceback" not in log


def test_an_export_says_the_very_text_and_is_verified_by_its_own_verifier(
    scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / "export.zip").write_bytes(scene.get("/api/v1/ledger/export"))
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert all(
            re.fullmatch(r"[\w./-]+", name, re.ASCII) and ".." not in name for name in archive.namelist()
        )
        archive.extract("verify_ledger.py", tmp_path)
        lines = archive.read("entries.jsonl").decode("utf-8").split("\n")
    entries = [json_line(line) for line in lines if line]
    said = [entry["private"]["alert"] for entry in entries if (entry.get("private") or {}).get("alert")]
    told = {json.dumps(alert["scope"], sort_keys=True) for alert in said}
    for name, alert in scene.alerts.items():
        assert json.dumps(alert["scope"], sort_keys=True) in told, name

    ran = subprocess.run(
        [sys.executable, "-I", "verify_ledger.py", "export.zip"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert acting_in(ran.stdout + ran.stderr) == []
    assert "0wned" not in ran.stdout + ran.stderr


def test_a_what_if_page_has_no_tag_attribute_or_link_that_a_text_made(scene: Scene, tmp_path: Path) -> None:
    other, page_file = tmp_path / "other.yaml", tmp_path / "page.html"
    other.write_text("routes: {name: default, channels: [hook], group_by: []}\n")

    said = Operator(scene.server)(
        "whatif", "--policy", other, "--data", scene.server.data, "--out", page_file
    )

    assert said.code == 9, said.err
    assert acting_in(said.out + said.err) == []
    text = page_file.read_text("utf-8")
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert page.links == []
    assert page.others == ["declaration doctype html"]
    assert {name for _, name, _ in page.attributes} <= SHOWN_BY_ATTRIBUTES
    assert all(
        re.fullmatch(r"[a-z-]+:[#\w.]+", value) for _, name, value in page.attributes if name == "style"
    )
    assert set(page.counts) <= SHOWN_BY_TAGS
    assert page.counts["style"] == page.counts["html"] == page.counts["h1"] == 1
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "0wned" in page.said
    for form in ("text", "json", "ndjson"):
        said = Operator(scene.server)("whatif", "--policy", other, "--data", scene.server.data, "-o", form)
        assert acting_in(said.out + said.err) == [], form
    tally("hostile texts in a what-if", texts=len(scene.alerts))


SHOWN_BY_TAGS = {
    *(
        "html",
        "meta",
        "title",
        "style",
        "h1",
        "h2",
        "h3",
        "p",
        "table",
        "tr",
        "th",
        "td",
        "article",
        "svg",
        "rect",
    ),
    *(
        "text",
        "b",
        "i",
        "span",
        "br",
        "ul",
        "ol",
        "li",
        "g",
        "line",
        "title",
        "details",
        "summary",
        "strong",
        "em",
    ),
}
SHOWN_BY_ATTRIBUTES = {
    *(
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "class",
        "x",
        "y",
        "width",
        "height",
        "viewbox",
        "role",
    ),
    *("aria-label", "text-anchor", "font-size", "fill", "colspan", "rx", "style"),
}


# At a terminal


COLUMNS = 80


def width(line: str) -> int:
    """Columns that a line takes, by Unicode's own table and not by the one that drew it."""
    joined = re.sub(
        "\u200d(.)\ufe0f?", lambda found: "" if unicodedata.category(found[1]) == "So" else found[1], line
    )
    return sum(
        0
        if unicodedata.category(one) in ("Mn", "Me", "Cf") or "\u1160" <= one <= "\u11ff"
        else 2
        if unicodedata.east_asian_width(one) in "WF"
        else 1
        for one in joined
    )


def harmless(said: str, what: object) -> None:
    """Assert that what was written to a terminal only shows itself."""
    said.encode("utf-8")
    assert acting_in(said) == [], what
    wide = [line for line in said.split("\n") if width(line.rstrip()) > COLUMNS]
    assert wide == [], what


def test_every_verb_that_shows_a_text_shows_it_and_nothing_more(scene: Scene) -> None:
    tocsin = Operator(scene.server)
    shown = 0
    for index, name in enumerate(scene.alerts):
        number = scene.incidents[name]
        verb = ("status", "why")[index % 2]
        said = tocsin(verb, number, "-o", "table")
        assert said.code == 0, (verb, said.err)
        harmless(said.out, (name, verb))
        shown += 1
        if index % 10 == 0:  # each of the three channels in turn
            said = tocsin("deliveries", "preview", 3 * number - index // 10 % 3, "-o", "table")
            assert said.code == 0, said.err
            assert acting_in(said.out) == [], name  # What is sent is shown as it is, however wide.
            shown += 1
    for verb in ("status --limit 500", "stats", "deliveries list --limit 500", "events --after -1 --count 900",
                 "channel list", "policy show", "policy history", "rule list", "token list", "silence --list"):  # fmt: skip
        said = tocsin(*verb.split(), "-o", "table")
        assert said.code == 0, (verb, said.err)
        harmless(said.out, verb)
        shown += 1
    tally("hostile texts at a terminal", screens=shown)


def test_the_ledger_is_shown_at_a_terminal_and_in_a_pipe_without_anything_that_acts(scene: Scene) -> None:
    tocsin = Operator(scene.server)
    size = scene.size()
    for seq in range(4, size, 12):
        said = tocsin("ledger", "show", seq, "--data", scene.server.data, "-o", "table")
        assert said.code == 0, said.err
        assert acting_in(said.out) == [], seq
        piped = tocsin("ledger", "show", seq, "--data", scene.server.data, "-o", "json")
        assert piped.out.isascii()
        assert acting_in(piped.out) == [], seq
        json.loads(piped.out)


def test_json_for_a_pipe_is_ascii_without_anything_that_acts(scene: Scene) -> None:
    tocsin = Operator(scene.server)
    for verb in (
        "status --limit 500",
        "stats",
        "deliveries list --limit 500",
        "events --after -1 --count 900",
    ):
        said = tocsin(*verb.split(), "-o", "json")
        assert said.code == 0, said.err
        assert said.out.isascii()
        assert acting_in(said.out) == [], verb
    lines = tocsin("events", "--after", "-1", "--count", "900", "-o", "json").out.splitlines()
    assert [json_line(line)["seq"] for line in lines] == list(range(900))
