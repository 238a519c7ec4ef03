"""The same inputs give the same ledger, byte for byte: over every store, in whatever place and language it runs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = {"PYTHONHASHSEED": "1", "TZ": "UTC", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
THERE = {
    "PYTHONHASHSEED": "4242",
    "TZ": "Pacific/Chatham",
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
}


def drive(store: str, world: dict[str, str], cwd: Path, seed: int) -> dict[str, Any]:
    cwd.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        **world,
    }
    program = [sys.executable, str(ROOT / "tests/reliability/drive.py"), store, str(cwd / "data"), str(seed)]
    done = subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_ledger_is_the_same_in_every_world(tmp_path: Path, seed: int) -> None:
    one = drive("sqlite", HERE, tmp_path / "here", seed)
    other = drive("memory", THERE, tmp_path / "thère", seed)

    assert one == other
    assert one["size"] > 300
    assert {"delivered", "dead", "withheld:suppressed", "withheld:rate_limited"} <= set(one["counts"]), one


def test_another_seed_gives_another_ledger(tmp_path: Path) -> None:
    one = drive("memory", HERE, tmp_path / "one", 1)
    other = drive("memory", HERE, tmp_path / "other", 2)

    assert one["root"] != other["root"]
