"""Each ban of a single name bites, also under another name, and its message names the alternative."""

import json
import subprocess
import sys

import pytest
from tests.architecture.project import ROOT, settings

BANS: dict[str, dict[str, str]] = settings()["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
INSIDE = "src/tocsin/runtime/planted.py"


def complaints(code: str, path: str = INSIDE) -> dict[str, str]:
    """What ruff says of this code, were it at this path: rule -> message (the last one of each rule)."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--output-format=json",
        f"--stdin-filename={path}",
        "-",
    ]
    done = subprocess.run(command, input=code, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {found["code"]: found["message"] for found in json.loads(done.stdout)}


def plain(ban: str) -> str:
    module, *rest = ban.split(".")
    return f"import {module}\n\nused = {'.'.join([module, *rest])}\n"


def renamed(ban: str) -> str:
    module, _, rest = ban.partition(".")
    name, *attributes = (rest or "anything").split(".")
    return f"from {module} import {name} as harmless\n\nused = {'.'.join(['harmless', *attributes])}\n"


@pytest.mark.parametrize("spelled", [plain, renamed])
@pytest.mark.parametrize("ban", BANS)
def test_a_banned_name_is_refused_with_its_alternative(ban, spelled):
    found = complaints(spelled(ban))

    assert BANS[ban]["msg"] in found.get("TID251", "nothing was said"), found


@pytest.mark.parametrize("ban", BANS)
def test_every_message_names_an_alternative(ban):
    assert any(word in BANS[ban]["msg"] for word in ("tocsin.ports", "from the input", "the settings")), ban


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import datetime\n\nused = datetime.datetime.fromtimestamp(0)\n", "DTZ006"),
        ("import datetime\n\nused = datetime.datetime(2026, 1, 1)\n", "DTZ001"),
        ('print("a word to nobody")\n', "T201"),
        ('used = open("a file")\n', "PTH123"),
    ],
)
def test_a_family_of_mistakes_is_refused(code, rule):
    assert rule in complaints(code)


def test_the_world_may_read_the_clock_and_chance():
    code = "import os\nimport time\n\nused = (time.monotonic_ns(), os.urandom(8))\n"

    assert "TID251" in complaints(code)
    assert "TID251" not in complaints(code, "src/tocsin/runtime/world.py")


def test_the_settings_may_read_the_environment():
    code = 'import os\n\nused = os.environ["TOCSIN_URL"]\n'

    assert "TID251" in complaints(code)
    assert "TID251" not in complaints(code, "src/tocsin/settings/environment.py")


def test_nobody_else_is_exempt():
    exempt = {
        path
        for path, rules in settings()["ruff"]["lint"]["per-file-ignores"].items()
        if path.startswith("src/") and "TID251" in rules
    }

    assert exempt == {"src/tocsin/runtime/world.py", "src/tocsin/settings/environment.py"}
