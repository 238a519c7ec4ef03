"""What we give to Prometheus and Grafana fits what Tocsin tells: names, labels, runbooks, and a real Prometheus."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.cli.running import serving

from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState
from tocsin.runtime.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "tocsin-rules.yml"
RULES_TEST = DEPLOY / "prometheus" / "tocsin-rules-test.yml"
SCRAPE = DEPLOY / "prometheus" / "scrape.yml"
DASHBOARD = DEPLOY / "grafana" / "tocsin.json"
RUNBOOKS = DEPLOY.parent / "docs" / "metrics.md"

ENDINGS = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
OF_EVERY_PROCESS = {
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
}
OF_PROMETHEUS = {"job", "instance", "le"}
VALUES = {
    "state": {*IncidentState, *DeliveryState, "withheld"},
    "status": {*DeliveryState, "retry"},
    "outcome": {"sent", "failed", "withheld"},
    "job": {"tocsin"},
}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[str]:
    """Give every question that the rules and the dashboard ask."""
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    asked += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    asked += [rule["expr"] for rule in rules()]
    return asked


def series() -> dict[str, set[str]]:
    """Give the labels of every series that there is, by name."""
    ours = {
        made.name + ending: set(made.labels) | OF_PROMETHEUS
        for made in Metrics().listed
        for ending in ENDINGS[made.type]
    }
    return ours | {name: set(OF_PROMETHEUS) for name in (*OF_EVERY_PROCESS, "up")}


def test_only_metrics_and_labels_that_exist_are_asked_for() -> None:
    known = series()
    for asked in expressions():
        for name, labels in re.findall(r"\b((?:tocsin|process)_\w+|up)\b(?:\{([^}]*)\})?", asked):
            assert name in known, asked
            for label, value in re.findall(r'(\w+)\s*[!=]~?\s*"([^"]*)"', labels):
                assert label in known[name], f"{label} of {name} in {asked}"
                allowed = VALUES.get(label)
                assert allowed is None or set(value.split("|")) <= allowed, f"{label}={value} in {asked}"


def test_every_metric_is_looked_at_by_a_rule_or_a_panel() -> None:
    asked = " ".join(expressions()) + DASHBOARD.read_text()
    unseen = [made.name for made in Metrics().listed if made.name not in asked]

    assert unseen == ["tocsin_store_up"]  # /readyz and tocsin_ready say it sooner.


def test_every_rule_says_what_is_wrong_and_where_to_read_on() -> None:
    headings = {
        line.lstrip("# ").strip().lower()
        for line in RUNBOOKS.read_text().splitlines()
        if line.startswith("#")
    }
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert len(rule["annotations"]["summary"]) > 30
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/metrics.md"
        assert anchor == rule["alert"].lower()
        assert anchor in headings, f"docs/metrics.md has no section {rule['alert']}"


def test_every_rule_is_tried() -> None:
    tried = RULES_TEST.read_text()

    assert [rule["alert"] for rule in rules() if rule["alert"] not in tried] == []


PANEL = {
    "type": "object",
    "required": ["id", "type", "title", "gridPos"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "type": {"enum": ["row", "stat", "timeseries"]},
        "title": {"type": "string", "minLength": 2},
        "gridPos": {
            "type": "object",
            "required": ["x", "y", "w", "h"],
            "properties": {
                "x": {"type": "integer", "minimum": 0, "maximum": 23},
                "y": {"type": "integer", "minimum": 0},
                "w": {"type": "integer", "minimum": 1, "maximum": 24},
                "h": {"type": "integer", "minimum": 1},
            },
        },
        "targets": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["refId", "datasource", "expr"],
                "properties": {
                    "expr": {"type": "string", "minLength": 1},
                    "datasource": {"$ref": "#/$defs/source"},
                },
            },
        },
    },
    "if": {"properties": {"type": {"const": "row"}}},
    "else": {"required": ["targets", "datasource", "fieldConfig", "options"]},
}
BOARD = {
    "$defs": {
        "source": {
            "type": "object",
            "required": ["type", "uid"],
            "properties": {"type": {"const": "prometheus"}, "uid": {"const": "${datasource}"}},
        }
    },
    "type": "object",
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time"],
    "properties": {
        "uid": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,40}$"},
        "title": {"type": "string", "minLength": 1},
        "schemaVersion": {"type": "integer", "minimum": 36},
        "panels": {"type": "array", "minItems": 1, "items": PANEL},
        "templating": {"type": "object", "required": ["list"]},
        "time": {"type": "object", "required": ["from", "to"]},
    },
    "not": {"required": ["id"]},  # Of one Grafana's database; elsewhere it would replace another board.
}


def test_the_dashboard_has_the_form_that_grafana_takes() -> None:
    board = json.loads(DASHBOARD.read_text())

    jsonschema.Draft202012Validator(BOARD).validate(board)

    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    places: set[tuple[int, int]] = set()
    for panel in panels():
        grid = panel["gridPos"]
        covered = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert max(x for x, _ in covered) < 24
        assert not places & covered, f"{panel['title']} lies upon another panel"
        places |= covered
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(letters)) == len(letters)


needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)


@needs_promtool
@pytest.mark.parametrize(
    "arguments", [["check", "rules", str(RULES)], ["test", "rules", str(RULES_TEST)]], ids=["check", "test"]
)
def test_promtool_finds_the_rules_good(arguments: list[str]) -> None:
    ran = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=RULES.parent
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "SUCCESS" in ran.stdout


@contextlib.contextmanager
def scraping(directory: Path, target: str, token: str) -> Iterator[str]:
    """Run a real Prometheus with our job and our rules, only faster; give its address."""
    config = yaml.safe_load(SCRAPE.read_text())
    (job,) = config["scrape_configs"]
    job["static_configs"][0]["targets"] = [target]
    job["scrape_interval"] = "200ms"
    job["scrape_timeout"] = "200ms"
    secret = directory / "token"
    secret.write_text(token)
    job["authorization"]["credentials_file"] = str(secret)
    config["global"] = {"evaluation_interval": "200ms"}
    config["rule_files"] = [str(RULES)]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = (directory / "log").open("w")
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=log,
        stderr=log,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def asked(url: str, path: str, **query: str) -> dict[str, Any]:
    text = urllib.parse.urlencode(query)
    with urllib.request.urlopen(f"{url}{path}?{text}", timeout=10) as answer:
        read: dict[str, Any] = json.load(answer)
    assert read["status"] == "success", read
    return read["data"]  # type: ignore[no-any-return]


def value_of(url: str, query: str) -> float | None:
    try:
        result = asked(url, "/api/v1/query", query=query)["result"]
    except (urllib.error.URLError, ConnectionError):
        return None  # It is not up yet.
    return float(result[0]["value"][1]) if result else None


@needs_prometheus
def test_a_real_prometheus_reads_a_real_server(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        target = server.url.removeprefix("http://")
        with scraping(tmp_path, target, server.token) as url:
            end = time.monotonic() + 30
            while value_of(url, 'tocsin_ready{job="tocsin"}') != 1:
                assert time.monotonic() < end, (tmp_path / "log").read_text()
                time.sleep(0.05)

            assert value_of(url, "tocsin_unaccounted_intents") == 0
            assert value_of(url, "count(tocsin_build_info{version!='', python!='', sqlite!=''})") == 1
            assert (value_of(url, "tocsin_disk_free_bytes") or 0) > 0
            (seen,) = asked(url, "/api/v1/targets")["activeTargets"]
            assert (seen["health"], seen["lastError"]) == ("up", "")
            for question in expressions():
                made = question.replace("$instance", ".*").replace("$__rate_interval", "1m")
                asked(url, "/api/v1/query", query=made)
            while not all(rule["health"] == "ok" for rule in _rules_of(url)):
                assert time.monotonic() < end, _rules_of(url)
                time.sleep(0.05)
            while asked(url, "/api/v1/alerts")["alerts"]:  # Before the first look there was nothing to see.
                assert time.monotonic() < end, asked(url, "/api/v1/alerts")
                time.sleep(0.05)


def _rules_of(url: str) -> list[dict[str, Any]]:
    return [rule for group in asked(url, "/api/v1/rules")["groups"] for rule in group["rules"]]
