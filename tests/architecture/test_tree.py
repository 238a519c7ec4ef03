"""The project stands alone, every folder has its floor, and the lock names no address."""

import ast
import re

import pytest
from tests.architecture.project import PACKAGE, ROOT, files, settings

# Written in pieces, so that this file does not contain what it looks for.
OUTSIDE = {
    "a folder beside the project": re.compile(r"\.\./" + "shared"),
    "the place where it was written": re.compile(r"(?<![\w.$}])/(?:wo" + r"rk|ro" + r"ot|home/\w+)/"),
    "another developer's machinery": re.compile(r"\.lib" + r"rary/|/tm" + r"p/(?:bash_|studio|common)"),
    "the host of a package registry": re.compile(r"python" + r"hosted|py" + r"pi\.org"),
}
PORTRAITS = {"LICENSE"}  # files that are quoted, not written here


def strangers(text: str) -> list[str]:
    """What this text names that is outside the project, as `line: what`."""
    return [
        f"{number}: {what}: {line.strip()[:100]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in OUTSIDE.items()
        if pattern.search(line)
    ]


def test_no_file_names_what_is_outside_the_project():
    found = []
    for path in files():
        content = path.read_bytes()
        if path.name not in PORTRAITS and b"\0" not in content:
            found += [f"{path.relative_to(ROOT)}:{what}" for what in strangers(content.decode())]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "see ../" + "shared/design",
        "cd /wo" + "rk/main",
        '"/ro' + 'ot/.ssh"',
        "/home/" + "anna/x",
        "https://py" + "pi.org/simple",
    ],
)
def test_a_name_from_outside_is_found(text):
    assert strangers(text)


@pytest.mark.parametrize(
    "text", ["frame" + "work/x", "https://example.org/wo" + "rk/1", "$HOME/wo" + "rk/x", "shared/x"]
)
def test_what_only_looks_like_it_is_not(text):
    assert not strangers(text)


def test_the_files_of_the_project_are_found():
    assert {ROOT / "pyproject.toml", PACKAGE / "ports" / "store.py"} <= {*files()}


def floors(contract: str) -> set[str]:
    """Every module that a layers contract gives a floor."""
    layers = next(one["layers"] for one in settings()["importlinter"]["contracts"] if one["id"] == contract)
    return {name.strip(" ()") for layer in layers for name in layer.split("|")}


@pytest.mark.parametrize(("contract", "folder"), [("floors", PACKAGE), ("core-floors", PACKAGE / "core")])
def test_every_module_has_a_floor(contract, folder):
    modules = {
        path.stem
        for path in folder.iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py")))
    }

    assert modules - {"__init__"} <= floors(contract), (
        "give it a floor in pyproject.toml, [tool.importlinter]"
    )


def test_every_folder_of_code_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}

    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_every_module_says_in_its_first_line_what_it_decides():
    silent = [
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        if not (ast.get_docstring(ast.parse(path.read_text())) or "").strip()
    ]

    assert silent == []


def test_the_lock_holds_exact_versions_and_hashes_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]

    assert "://" not in text
    assert len(entries) > 40
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==[\w.+!]+( ; [^\\]+)? \\\n", entry), entry[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:80]


def test_the_lock_holds_everything_that_is_asked_for():
    project = (ROOT / "pyproject.toml").read_text()
    wished = re.findall(r'^    "([a-zA-Z0-9-]+)[<>=]=?[^"]*",', project, flags=re.MULTILINE)
    locked = set(
        re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    )

    assert len(wished) > 20
    assert [name for name in wished if name.lower() not in locked] == [], "make lock"
