"""Where the project lies, and which files are part of it."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "tocsin"
MADE_HERE = {".venv", ".git", "__pycache__", ".hypothesis", "htmlcov", "dist", "tocsin-data", "uv.lock"}


def settings() -> dict[str, Any]:
    """The `[tool]` tables of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]


def files() -> list[Path]:
    """Every file of the project: what git tracks or would track; without git, what was not made here."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        paths = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [
            path
            for path in ROOT.rglob("*")
            if not MADE_HERE & {*path.relative_to(ROOT).parts}
            and not any(part.endswith("_cache") for part in path.relative_to(ROOT).parts)
        ]
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())
