"""The guide for auditors can be followed: its commands run as they stand there, in their order, and find what they must."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from tests.cli.inside import Operator, alert, fresh, run
from tests.support.server import Server

GUIDE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
SCRIPT = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.DOTALL))
TOOLS = ("curl", "unzip", "python3", "bash")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with fresh(tmp_path_factory.mktemp("audited")) as server:
        number = alert(server, "disk", message="Anna's disk")
        server.request("POST", f"/api/v1/incidents/{number}/resolve", {"note": "done"})
        erased = Operator(server)("ledger", "erase", "--subject", "Anna", "--reason", "letter 7")
        assert erased.code == 0, erased.err
        yield server


@pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason="the guide uses them")
def test_the_commands_of_the_guide_run_in_their_order(server: Server, tmp_path: Path) -> None:
    tocsin = Operator(server)
    token = tocsin("token", "create", "--name", "audit", "--role", "auditor").out.strip()
    vkey = tocsin("ledger", "keys").answer["keys"][0]["vkey"]
    (tmp_path / "key.txt").write_text(f"{vkey}\n")
    verifier = files("tocsin.runtime.export").joinpath("verify_ledger.py").read_bytes()
    (tmp_path / "verify_ledger.py").write_bytes(verifier)
    script = re.sub(r"^export TOCSIN_URL.*\n", "", SCRIPT, flags=re.MULTILINE)
    assert script != SCRIPT

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "TOCSIN_URL": f"http://127.0.0.1:{server.port}", "TOCSIN_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert vkey in done.stdout
    assert "The export is sound: no entry in it was changed, moved, added or removed." in done.stdout
    assert "which --key leads to" in done.stdout
    assert "\nagrees " in done.stdout
    assert "\nerased " in done.stdout
    assert '"type":"private_erased"' in done.stdout
    assert '"type":"incident_opened"' in done.stdout
    (kept,) = tmp_path.glob("checkpoint-*")
    more = {"incident-1.json": (), "growth.json": ("--checkpoint", kept), kept.name: ()}
    for name, options in more.items():
        said = run("ledger", "check", tmp_path / name, "--key", tmp_path / "key.txt", *options)
        assert said.code == 0, said.out + said.err
    assert json.loads((tmp_path / "growth.json").read_text())["hashes"] is not None


def test_what_must_not_be_said_of_it_is_said_only_to_be_denied() -> None:
    for page in ("ledger.md", "audit.md"):
        text = (Path(__file__).parents[2] / "docs" / page).read_text()
        for word in ("immutable", "tamper-proof", "unhackable", "exactly once"):
            for line in text.splitlines():
                assert word not in line or "Nobody should tell you" in line, (page, word)
