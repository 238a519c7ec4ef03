"""A real Prometheus on loopback with samples that are already there, and nothing that it scrapes.

    with a_prometheus(directory, lines) as url:
        ...

lines: OpenMetrics, with the moments of the samples.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

# It ends its server once its standard input ends: when we close it, or are no more.
KEEPER = """
import subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
sys.stdin.read()
server.terminate()
try:
    server.wait(20)
except subprocess.TimeoutExpired:
    server.kill()
"""


def why_not() -> str:
    """Say why there is none, "" if there is one."""
    for name in ("prometheus", "promtool"):
        if shutil.which(name) is None:
            return f"{name} is not installed"
    return ""


@contextlib.contextmanager
def a_prometheus(directory: Path, lines: Iterable[str], *options: str) -> Iterator[str]:
    """Run a server that knows these samples; give its address."""
    samples, data = directory / "samples", directory / "prometheus"
    samples.write_text("".join(f"{line}\n" for line in (*lines, "# EOF")))
    made = subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "--max-block-duration=8760h", "openmetrics", str(samples),
         str(data)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    (directory / "prometheus.yml").write_text("{}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = directory / "prometheus.log"
    with log.open("wb") as said:
        keeper = subprocess.Popen(
            [sys.executable, "-c", KEEPER, "prometheus", f"--config.file={directory / 'prometheus.yml'}",
             f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=100y",
             f"--web.listen-address=127.0.0.1:{port}", *options],
            stdin=subprocess.PIPE, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not _is_ready(url):
            assert keeper.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield url
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()
        keeper.wait(60)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
