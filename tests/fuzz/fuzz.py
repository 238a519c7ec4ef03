"""Fuzz: a real server against schemathesis, from the description that it serves itself. `make fuzz` runs it long.

python -m tests.fuzz.fuzz --minutes 10 [--seed 8127] [more options of `schemathesis run`]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.server import Server, SinkThread

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def fuzz(place: Path, *, seconds: int, seed: int, more: tuple[str, ...] = ()) -> tuple[bool, str]:
    """Start a server in a folder, fuzz it for about so long, and stop it. Gives whether all is well, and what was said."""
    with SinkThread() as sink:
        settings = {"TOCSIN_WEBHOOK_URL": sink.url("/hook"), "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8"}
        with Server(place / "data", settings) as server:
            said, code = _run(server, place, (f"--max-time={seconds}", f"--seed={seed}", *more))
            wrong = _aftermath(server)
    return code == 0 and not wrong, f"{said}\n{wrong}"


def _run(server: Server, place: Path, options: tuple[str, ...]) -> tuple[str, int]:
    description = place / "openapi.json"
    description.write_text(json.dumps(server.request("GET", "/api/v1/openapi.json")[2]))
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(HERE / "schemathesis.toml"),
        "run",
    ]
    done = subprocess.run(
        [*command, str(description), f"--url=http://127.0.0.1:{server.port}", *options],
        cwd=place,
        env={
            **os.environ,
            "FUZZ_TOKEN": server.token,
            "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
            "PYTHONPATH": str(ROOT),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout, done.returncode


def _aftermath(server: Server) -> str:
    """Say what is wrong with the server after all this, "" if it is well."""
    log = server.log.read_text()
    if server.is_dead:
        return f"The server died:\n{log[-4000:]}"
    status = server.request("GET", "/api/v1/me")[0]
    if status != 200:
        return f"The fuzzer's own token is answered {status}, so the rest of the run asked nothing."
    if "Traceback" in log:
        return f"The server logged a mistake:\n{log[log.index('Traceback') :][:4000]}"
    return ""


def main() -> int:
    """Fuzz for as long as was asked, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    asked, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="tocsin-fuzz-") as place:
        well, said = fuzz(Path(place), seconds=int(asked.minutes * 60), seed=asked.seed, more=tuple(more))
    print(said)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
