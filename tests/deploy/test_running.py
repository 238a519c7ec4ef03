"""What we give to systemd, Docker and Kubernetes names what there is: files, routes, options, versions, a user."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tocsin.cli.main import main
from tocsin.web.admission import OPEN_ROUTES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "tocsin.service"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes" / "tocsin.yaml"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def kubernetes() -> dict[str, Any]:
    """Give what is applied, by kind; of the services the last."""
    return {one["kind"]: one for one in yaml.safe_load_all(KUBERNETES.read_text())}


def test_systemd_knows_every_word_of_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    unit = tmp_path / "tocsin.service"
    unit.write_text(UNIT.read_text().replace("/opt/tocsin/bin/tocsin", "/bin/true"))

    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stderr

    assert [line for line in said.splitlines() if unit.name in line] == []


@pytest.mark.parametrize(
    "arguments",
    [
        re.search(r"^ExecStart=\S+ (.*)$", UNIT.read_text(), re.MULTILINE)[1].split(),  # type: ignore[index]
        ["serve", "--data", "/data", "--host", "0.0.0.0"],
        kubernetes()["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["args"],
    ],
    ids=["systemd", "docker", "kubernetes"],
)
def test_serve_takes_what_it_is_started_with(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, [*arguments, "--help"]).exit_code == 0


def test_the_image_begins_as_was_tried() -> None:
    assert 'CMD ["serve", "--data", "/data", "--host", "0.0.0.0"]' in DOCKERFILE


def test_probes_ask_what_there_is() -> None:
    (container,) = kubernetes()["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    probes = [container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")]

    assert set(probes) == set(OPEN_ROUTES)
    assert "http://127.0.0.1:8780/readyz" in DOCKERFILE


def test_the_image_takes_the_versions_of_the_lock() -> None:
    taken = re.search(r"grep -oE '([^']+)' requirements.lock", DOCKERFILE)
    assert taken is not None
    lock = (ROOT / "requirements.lock").read_text()
    pinned = {line.split("==")[0] for line in re.findall(taken[1], lock, re.MULTILINE)}
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [
        re.match(r"[A-Za-z0-9._-]+", one)[0]  # type: ignore[index]
        for one in [*wanted["dependencies"], *wanted["optional-dependencies"]["postgres"]]
    ]

    assert set(names) <= pinned


def test_nobody_is_root() -> None:
    spec = kubernetes()["StatefulSet"]["spec"]["template"]["spec"]

    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    assert re.search(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)[1] == str(
        spec["securityContext"]["runAsUser"]
    )  # type: ignore[index]
    assert "User=tocsin" in UNIT.read_text()
    nodes = yaml.safe_load(COMPOSE.read_text())["services"]
    assert all(
        nodes[name]["read_only"] and nodes[name]["cap_drop"] == ["ALL"] for name in ("node-a", "node-b")
    )


def test_what_is_mounted_is_there_and_what_is_waited_for_exists() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())
    made_later = {"tocsin-token"}
    for name, service in compose["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (COMPOSE.parent / source).exists() or Path(source).name in made_later, (
                    f"{name}: {source}"
                )
            else:
                assert source in compose["volumes"], f"{name}: {source}"
        for other in service.get("depends_on", ()):
            assert other in compose["services"], f"{name} waits for {other}"


def test_the_configuration_of_the_example_is_sound() -> None:
    said = CliRunner().invoke(main, ["config", "check", str(DEPLOY / "compose" / "tocsin.yaml")])

    assert said.exit_code == 0, said.output
