"""The examples of the pages on silences and deliveries are taken by a server as they stand there."""

import re

import pytest
from tests.architecture.project import ROOT
from tests.web.faces import Face

EXAMPLE = re.compile(r"curl -s http://127\.0\.0\.1:8780(\S+) .*?-d '(.*?)'", re.DOTALL)


@pytest.mark.parametrize(("page", "count"), [("silences.md", 3), ("deliveries.md", 1)])
def test_every_example_is_taken(face: Face, page: str, count: int) -> None:
    found = EXAMPLE.findall((ROOT / "docs" / page).read_text())

    assert len(found) == count
    for path, body in found:
        status, _, answer = face.ask("POST", path, body.encode())
        assert status in (200, 201), (path, answer)
