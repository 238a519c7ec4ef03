"""Each contract on imports holds for the tree as it is, and breaks when somebody crosses it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.architecture.project import PACKAGE, ROOT, settings

CONTRACTS = {contract["id"]: contract for contract in settings()["importlinter"]["contracts"]}

# contract -> files that break it, each with what it imports
PLANTS: dict[str, dict[str, str]] = {
    "floors": {
        "core/model/planted_upwards": "tocsin.runtime",
        "ports_user/planted_homeless": "tocsin.ports",  # a folder without a floor
        "runtime/planted_sideways": "tocsin.stores",
        "stores/planted_sideways": "tocsin.runtime",
        "web/planted_upwards": "tocsin.cli",
    },
    "core-floors": {
        "core/engine/planted_bookkeeper": "tocsin.core.ledger",
        "core/ledger/planted_dreamer": "tocsin.core.simulation",
        "core/model/planted_verb": "tocsin.core.engine",
    },
    "border": {
        "core/engine/planted_clock": "time",
        "core/ledger/planted_database": "apsw",
        "core/rules/planted_engine": "sqlalchemy",
        "core/model/planted_form": "pydantic",
        "core/simulation/planted_loop": "asyncio",
        "intake/planted_reader": "os",
    },
    "strangers": {
        "channels/planted_friend": "tocsin.channels.planted_pal",
        "sources/planted_friend": "tocsin.sources.planted_pal",
        "stores/planted_friend": "tocsin.stores.planted_pal",
    },
    "doors": {
        "runtime/planted_aiohttp": "aiohttp",
        "runtime/planted_aiosmtplib": "aiosmtplib",
        "runtime/planted_apsw": "apsw",
        "runtime/planted_click": "click",
        "runtime/planted_cryptography": "cryptography",
        "runtime/planted_fastapi": "fastapi",
        "runtime/planted_rich": "rich",
        "runtime/planted_sqlalchemy": "sqlalchemy",
        "runtime/planted_sqlite3": "sqlite3",
        "runtime/planted_starlette": "starlette",
        "runtime/planted_uvicorn": "uvicorn",
        "channels/planted_aiohttp": "aiohttp",
        "sources/planted_duckdb": "duckdb",
        "sources/planted_sqlglot": "sqlglot",
        "cli/planted_apsw": "apsw",
    },
    "cycles": {"runtime/planted_hen": "tocsin.runtime.planted_egg"},
    "one-place": {
        "cli/planted_chooser": "tocsin.stores",
        "web/planted_chooser": "tocsin.channels",
        "web/planted_asker": "tocsin.sources",
        "web/planted_clock": "tocsin.runtime.world",
    },
}
PALS = {
    "channels/planted_pal": "",
    "sources/planted_pal": "",
    "stores/planted_pal": "",
    "ports_user/__init__": "",
    "runtime/planted_egg": "import tocsin.runtime.planted_hen\n",
}


def judge(folder: Path) -> tuple[int, str]:
    """Run lint-imports on the package in this folder: its exit code, and what it says."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    command += ["--no-cache", "--no-logo", f"--config={ROOT / 'pyproject.toml'}"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "", "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> dict[str, str]:
    """What lint-imports says of a copy of the tree with every plant in it: contract id -> its complaint."""
    folder = tmp_path_factory.mktemp("planted")
    copy = folder / "tocsin"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for plants in PLANTS.values():
        for name, imported in plants.items():
            path = copy / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"import {imported}\n")
    for name, code in PALS.items():
        (copy / f"{name}.py").write_text(code)
    (copy / "runtime" / "world.py").touch()

    code, said = judge(folder)
    assert code == 1, said
    ids = {contract["name"]: name for name, contract in CONTRACTS.items()}
    heads = re.split(r"^({})\n-+$".format("|".join(map(re.escape, ids))), said, flags=re.MULTILINE)[1:]
    return {ids[name]: complaint for name, complaint in zip(heads[::2], heads[1::2], strict=True)}


def test_the_tree_as_it_is_keeps_every_contract():
    code, said = judge(PACKAGE.parent)

    assert code == 0, said
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in said


def test_every_contract_is_tried():
    assert PLANTS.keys() == CONTRACTS.keys()


def trace(contract: str, plant: str) -> str:
    """How the complaint about a broken contract names this plant."""
    if plant == "ports_user/planted_homeless":
        return "not listed as layers:\n\n- tocsin.ports_user"
    if contract == "cycles":
        return ".planted_hen -> .planted_egg"
    return f"tocsin.{plant.replace('/', '.')} -> {PLANTS[contract][plant]} (l.1)"


@pytest.mark.parametrize(("contract", "plant"), [(name, plant) for name in PLANTS for plant in PLANTS[name]])
def test_a_planted_import_breaks_its_contract(broken, contract, plant):
    assert trace(contract, plant) in broken[contract]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_broken_contract_says_what_to_do_instead(broken, contract):
    assert CONTRACTS[contract]["broken_contract_guidance"] in broken[contract]
