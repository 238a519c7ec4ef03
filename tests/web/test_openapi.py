"""The description of the API: complete, exact, readable; as JSON, as a page, and in the documentation."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.architecture.project import ROOT
from tests.web.faces import ALERT, Face, a_face

from tocsin.core.model.access import Role
from tocsin.intake import native
from tocsin.web.admission import OPEN_ROUTES
from tocsin.web.app import build_api, permissions_of
from tocsin.web.docs_page import render
from tocsin.web.openapi import PROBLEMS, describe

API = build_api()
DOCUMENT = describe(API, permissions_of(API))
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    pytest.param(path, method, operation, id=f"{method} {path}")
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
Operation = dict[str, Any]


def fits(value: object, schema: dict[str, Any]) -> bool:
    """Say whether a value fits a schema of the document."""
    return bool(
        Draft202012Validator(schema | {"components": DOCUMENT["components"]}).is_valid(value)  # type: ignore[arg-type]
    )


def everywhere(value: object) -> Iterator[dict[str, Any]]:
    """Every object inside the document."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from everywhere(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everywhere(inner)


# The document


def test_the_server_serves_this_document_to_who_may_read(face: Face) -> None:
    status, headers, answer = face.ask("GET", "/api/v1/openapi.json", role=Role.VIEWER)

    assert status == 200
    assert headers["content-type"] == "application/json"
    assert answer == json.loads(json.dumps(DOCUMENT))
    assert answer["openapi"].startswith("3.1")
    assert face.ask("GET", "/api/v1/openapi.json", role=None)[0] == 401


def test_it_has_every_route_and_no_other() -> None:
    described = {(path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods}

    assert described == {(path, method) for path, method, _ in permissions_of(API)}


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_an_operation_says_who_may_and_how_it_fails(path: str, method: str, operation: Operation) -> None:
    permission = next(p for at, verb, p in permissions_of(API) if (at, verb.lower()) == (path, method))
    answers = {int(status) for status in operation["responses"]}

    if path in OPEN_ROUTES:
        assert operation["security"] == []
        assert 401 not in answers
    else:
        assert operation["x-tocsin-permission"] == permission
        assert operation["security"] == [{"bearer": []}]
        assert {401, 403, 429, 503} <= answers
    assert ({413, 415, 422} <= answers) == ("requestBody" in operation)
    assert 200 in answers or 201 in answers


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_an_operation_reads_well(path: str, method: str, operation: Operation) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation["operationId"])
    assert operation["summary"][0].isupper()
    assert len(operation["tags"]) == 1
    assert not re.search(r"Successful Response|HTTPValidationError", json.dumps(operation))


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_no_parameter_can_be_null(path: str, method: str, operation: Operation) -> None:
    assert not any(fits(None, parameter["schema"]) for parameter in operation.get("parameters", []))


def test_names_are_used_once_and_are_words() -> None:
    names = [operation.values[2]["operationId"] for operation in OPERATIONS]  # type: ignore[index]

    assert len(set(names)) == len(names)
    assert [name for name in SCHEMAS if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    references = {part["$ref"] for part in everywhere(DOCUMENT) if isinstance(part.get("$ref"), str)}
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses")
        for name in DOCUMENT["components"][kind]
    }

    assert references - there == set()
    assert there - references == set()


def test_every_schema_is_one() -> None:
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", [name for name, schema in SCHEMAS.items() if "examples" in schema])
def test_an_example_fits_its_schema(name: str) -> None:
    for example in SCHEMAS[name]["examples"]:
        assert fits(example, SCHEMAS[name]), example


def test_every_form_that_must_be_filled_in_has_an_example() -> None:
    forms = [schema for name, schema in SCHEMAS.items() if name.endswith("Form") and schema.get("required")]
    without = [
        schema["title"]
        for schema in forms
        if "examples" not in schema
        and not all("examples" in schema["properties"][field] for field in schema["required"])
    ]

    assert without == []


def test_problems_are_as_they_are_described(face: Face) -> None:
    asked: list[tuple[int, tuple[str, str, object], dict[str, Any]]] = [
        (400, ("GET", "/api/v1/incidents?cursor=x", None), {}),
        (401, ("GET", "/api/v1/incidents", None), {"role": None}),
        (403, ("POST", "/api/v1/incidents/1/ack", {}), {"role": Role.VIEWER}),
        (404, ("GET", "/api/v1/incidents/999999", None), {}),
        (409, ("POST", "/api/v1/incidents/1/unack", None), {}),
        (413, ("POST", "/api/v1/notify/send", b"x" * 1_100_000), {}),
        (415, ("POST", "/api/v1/incidents/1/notes", b"x"), {"headers": {"Content-Type": "text/plain"}}),
        (422, ("POST", "/api/v1/incidents/1/notes", {}), {}),
        (422, ("POST", "/api/v1/alerts", [{}]), {}),
    ]
    face.post(ALERT)
    for expected, question, more in asked:
        status, headers, answer = face.ask(*question, **more)
        response = DOCUMENT["components"]["responses"][PROBLEMS[expected][0]]

        assert status == expected, question
        assert headers["content-type"] in response["content"]
        assert fits(answer, response["content"][headers["content-type"]]["schema"]), answer
        assert all(name.lower() in headers for name in response.get("headers", {}))


@pytest.mark.parametrize("path", sorted(DOCUMENT["paths"]))
def test_a_method_that_a_path_does_not_take_is_refused_with_those_that_it_does(face: Face, path: str) -> None:
    taken = {method.upper() for method in DOCUMENT["paths"][path]}

    status, headers, answer = face.ask("OPTIONS", re.sub(r"{\w+}", "7", path))

    assert status == 405
    assert set(headers["allow"].split(", ")) == taken
    assert answer["type"] == "urn:tocsin:problem:method-not-allowed"


# The hot route, which no framework describes


def test_the_form_of_an_alert_has_the_fields_and_bounds_of_the_intake() -> None:
    form = SCHEMAS["AlertForm"]

    assert set(form["properties"]) == set(native.AlertForm.__struct_fields__)
    assert form["required"] == ["rule_id", "severity", "message"]
    assert form["additionalProperties"] is False
    assert form["properties"]["message"]["maxLength"] == native.TEXT_MAX
    body = DOCUMENT["paths"]["/api/v1/alerts"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["anyOf"][1]["maxItems"] == native.ALERTS_MAX


@pytest.mark.parametrize(
    "alert",
    [
        {}, {"rule_id": ""}, {"rule_id": "x" * 256}, {"rule_id": "x" * 257}, {"rule_id": 1}, {"severity": "loud"},
        {"severity": "info"}, {"message": ""}, {"message": "x" * 16_385}, {"scope": {"": "x"}}, {"scope": {"a": "x" * 16_384}},
        {"scope": {"a": 1}}, {"scope": {str(n): "" for n in range(64)}}, {"scope": {str(n): "" for n in range(65)}},
        {"scope": None}, {"status": "green"}, {"status": "over"}, {"window_end": 0}, {"window_end": -1}, {"window_end": None},
        {"window_end": 253_402_300_800_000_000}, {"window_end": "2026-01-01T00:00:00Z"}, {"ends_at": None},
        {"ends_at": "2026-01-01T00:00:00+02:00"}, {"evidence": [1.5, {"a": None}]}, {"evidence": None},
        {"links": [{"href": "x"}]}, {"links": [{"href": ""}]}, {"links": [{"text": "x"}]}, {"links": [{"href": "x"}] * 33},
        {"links": [{"href": "x", "more": 1}]}, {"annotations": {"a": "b"}}, {"source": "x" * 257}, {"colour": "red"},
    ],
    ids=lambda alert: json.dumps(alert)[:40],
)  # fmt: skip
def test_the_intake_takes_exactly_what_the_description_allows(face: Face, alert: dict[str, Any]) -> None:
    sent = ALERT | {"window_start": 0} | alert

    status, _, answer = face.post(sent)

    assert (status == 200) == fits(sent, SCHEMAS["AlertForm"]), answer
    if status == 200:
        assert fits(answer, SCHEMAS["AlertsAnswer"])


@pytest.mark.parametrize("body", [[], {}, None, "x", 7, [None], [[]]])
def test_neither_takes_what_is_no_alert_at_all(face: Face, body: object) -> None:
    schema = DOCUMENT["paths"]["/api/v1/alerts"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]

    assert not fits(body, schema)
    assert face.post(json.dumps(body).encode())[0] == 422


# The page


def test_the_page_shows_every_operation_and_may_load_nothing(face: Face) -> None:
    status, headers, body = face.ask("GET", "/docs", role=Role.VIEWER)

    page = body.decode()
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert headers["content-security-policy"].startswith("default-src 'none';")
    assert "<script" not in page
    assert not re.search(r"(src|href)=.?(http|//)", page)
    for operation in OPERATIONS:
        assert f"id='{operation.values[2]['operationId']}'" in page  # type: ignore[index]
    assert face.ask("GET", "/docs", role=None)[0] == 401


def test_the_page_escapes_what_a_description_says() -> None:
    hostile = "</summary><script>alert(1)</script>'\"&`"
    operation = {
        "operationId": hostile, "tags": [hostile], "summary": hostile, "description": hostile,
        "x-tocsin-permission": hostile, "parameters": [{"name": hostile, "in": hostile, "schema": {"enum": [hostile]}, "description": hostile}],
        "requestBody": {"content": {"application/json": {"schema": {"type": hostile}}}},
        "responses": {hostile: {"description": hostile, "content": {hostile: {"schema": {"const": hostile}}}}},
    }  # fmt: skip
    schema = {
        "description": hostile,
        "required": [hostile],
        "properties": {hostile: {"description": hostile}},
    }
    page = render(
        {
            "info": {"title": hostile, "version": hostile, "description": hostile},
            "tags": [{"name": hostile}],
            "paths": {hostile: {hostile: operation}},
            "components": {"schemas": {hostile: schema}},
        }
    )

    assert "<script" not in page
    assert "</summary><s" not in page
    assert not re.search(r"id='[^']*'[^>]", page)


# The documentation

EXAMPLES = re.findall(
    r"```http\n(\w+) (\S+)\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), flags=re.DOTALL
)


def test_the_examples_of_the_documentation_run_in_their_order() -> None:
    assert len(EXAMPLES) > 10
    with a_face() as face:
        for method, path, body in EXAMPLES:
            status, _, answer = face.ask(method, path, json.loads(body) if body.strip() else None)

            assert status in (200, 201), (method, path, answer)
