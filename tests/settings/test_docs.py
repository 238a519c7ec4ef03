"""What docs/configuration.md says is so: its reference is current, its examples pass, no variable is left out."""

import importlib.util
import re
from pathlib import Path

import pytest
from tests.architecture.project import PACKAGE, ROOT
from tests.settings.files import settings_of

from tocsin.settings.forms import FileForm

SPEC = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
assert SPEC is not None
assert SPEC.loader is not None
reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reference)

PAGE = (ROOT / "docs" / "configuration.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
ENVIRONMENT = {
    "SMTP_PASSWORD": "p",
    "WEBHOOK_AUTHORIZATION": "Bearer b",
    "TEAMS_URL": "https://teams.example.org/1",
    "HEARTBEAT_URL": "https://beat.example.org/1",
    "ENVELOPE_SECRET": "a secret that nobody guesses",
    "SHOP_URL": "postgresql+psycopg://reader:p@db/shop",
}


@pytest.mark.parametrize("part", reference.PARTS)
def test_the_reference_is_current(part: str):
    path, text, would_be = reference.written(part)

    assert text == would_be, f"python scripts/reference.py writes {path.name} anew"


def test_a_part_without_its_markers_is_noticed(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "configuration.md").write_text("# Configuration\n")

    with pytest.raises(ValueError, match="needs the markers"):
        reference.written("config", tmp_path)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_right(tmp_path: Path, example: str):
    (tmp_path / "webhook-url").write_text("https://receiver.example.org/tocsin\n")
    (tmp_path / "webhook-secret").write_text("shared\n")

    settings = settings_of(tmp_path, example, ENVIRONMENT)

    assert settings.channels


def test_one_example_has_every_section():
    sections = [set(re.findall(r"^(\w+):", example, flags=re.MULTILINE)) for example in EXAMPLES]

    assert set(FileForm.model_fields) - {"dry_run"} in sections


def test_every_variable_that_is_read_is_in_the_page():
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    for family in re.findall(r'f"TOCSIN_\{name\}"\n    for name in \((.*?)\)', source, flags=re.DOTALL):
        source += "".join(f' "TOCSIN_{name}"' for name in re.findall(r'"(\w+)"', family))

    read = set(re.findall(r'"(TOCSIN_[A-Z_]+)"', source)) - {"TOCSIN_FAILPOINT", "TOCSIN_"}

    assert len(read) > 10
    assert sorted(name for name in read if f"`{name}`" not in PAGE) == []
