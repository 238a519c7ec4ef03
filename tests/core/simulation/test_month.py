"""A recorded month: the same policy changes nothing in it, and a stricter limit what a recount by hand says.

TOCSIN_TEST_MONTH_INPUTS says how many inputs it has; without it, enough to see that it works.
"""

import bisect
import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import msgspec
from tests.core.simulation.month import Month, month_policy, record
from tests.support.builders import MINUTE, NINE, SECOND, a_policy, an_alert

from tocsin.core.model.policy import Policy, RateLimit
from tocsin.core.simulation.lookahead import Parts
from tocsin.core.simulation.what_if import what_if
from tocsin.intake.native import received

INPUTS = int(os.environ.get("TOCSIN_TEST_MONTH_INPUTS", "20000"))
SEED = int(os.environ.get("TOCSIN_TEST_MONTH_SEED", "1"))
ROOT = Path(__file__).parents[3]


class Kept:
    """A recorded month in a file, so that not all of it is in memory."""

    def __init__(self, path: Path, entries) -> None:
        self.path = path
        self.size = 0
        with path.open("wb") as file:
            for parts in entries:
                self.size += 1
                for part in parts:
                    file.write(len(part).to_bytes(4, "little"))
                    file.write(part)

    def read(self):
        with self.path.open("rb") as file:
            for _ in range(self.size):
                yield tuple(file.read(int.from_bytes(file.read(4), "little")) for _ in range(3))


def test_the_same_policy_changes_nothing_in_a_month_and_meets_the_record(tmp_path):
    month = Kept(tmp_path / "month", record(month_policy(), INPUTS, seed=SEED))

    report = what_if(month.read, month_policy())

    decided = sum(report.inputs.values())
    print(f"{month.size} entries, {decided} inputs: {report.inputs}")
    assert decided >= 0.7 * INPUTS
    assert report.is_same
    assert report.effect.found == report.drift.found == 0
    assert report.effect.same == report.drift.same > INPUTS // 50
    assert report.critical == ()
    assert report.left_out.nothing.again == report.left_out.conflicts.again == 0


def test_two_processes_give_the_same_bytes_under_any_hash_seed_and_zone():
    program = (
        "import msgspec, sys\n"
        "from tests.core.simulation.month import month_policy, record\n"
        "from tocsin.core.simulation.what_if import what_if\n"
        "entries = list(record(month_policy(), 1500, seed=7))\n"
        "sys.stdout.buffer.write(msgspec.json.encode(what_if(lambda: entries, month_policy(limit=1), zone='Asia/Tokyo')))\n"
    )
    said = []
    for seed, zone in (("1", "UTC"), ("2", "America/New_York")):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "TZ": zone,
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        }
        ran = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, check=True
        )
        said.append(ran.stdout)

    assert said[0] == said[1]
    assert json.loads(said[0])["effect"]["differing"] > 0


# A stricter limit, recounted


class Telling(msgspec.Struct):
    """What a recount finds: told and withheld, as (rule, at) in order; and when digests come."""

    told: list[tuple[str, int]]
    withheld: list[tuple[str, int]]
    digests: list[tuple[str, int]]


def recount(openings: list[tuple[int, str, str]], limit: int) -> Telling:
    """Go through all openings with a sliding hour for each rule; by hand, and with nothing of Tocsin's.

    openings: (at, rule, severity); what is critical is told anyway, and counts for nothing.
    """
    found = Telling([], [], [])
    charged: dict[str, list[int]] = defaultdict(list)
    digest_due: dict[str, int] = {}
    digested: dict[str, int] = {}
    for at, rule, severity in sorted(openings):
        due = digest_due.get(rule)
        if due is not None and due < at:
            found.digests.append((rule, due))
            digested[rule] = due
            del digest_due[rule]
        if severity == "critical":
            found.told.append((rule, at))
            continue
        times = charged[rule]
        in_window = len(times) - bisect.bisect_right(times, at - 3600 * SECOND)
        if in_window < limit:
            times.append(at)
            found.told.append((rule, at))
        else:
            found.withheld.append((rule, at))
            if rule not in digest_due:
                after = digested[rule] + 30 * MINUTE if rule in digested else 0
                digest_due[rule] = max(at + 5 * MINUTE, after)
    found.digests += digest_due.items()
    return found


def flapping_policy(limit: int) -> Policy:
    """Each alert is an incident of its own, told once."""
    return a_policy(send_resolved=False, rate_limit=RateLimit(limit=limit))


def flapping(inputs: int, *, seed: int) -> tuple[list[Parts], list[tuple[int, str, str]]]:
    """Record a month in which alerts of a few rules begin, in bursts, and are over within the hour."""
    chance = random.Random(seed)
    house = Month(flapping_policy(10))
    openings: list[tuple[int, str, str]] = []
    over: list[tuple[int, str, int]] = []
    step = 30 * 86_400 * SECOND // (inputs // 2)
    for number in range(inputs // 2):
        pace = 10 if number // 50 % 3 else 190  # Three bursts of fifty, then a lull.
        house.until(house.at + 1 + chance.randrange(2 * step * pace // 100))
        rule = f"rule-{min(chance.randrange(12), chance.randrange(12))}"
        severity = chance.choice(("warning", "warning", "error", "critical"))
        _look(house, rule, severity, "firing", number)
        openings.append((house.at, rule, severity))
        over.append((house.at + chance.randrange(MINUTE, 60 * MINUTE), rule, number))
        over.sort()
        while over and over[0][0] <= house.at:
            _, rule, begun = over.pop(0)
            house.until(house.at + 1)
            _look(house, rule, "warning", "resolved", begun)
    for _, rule, begun in over:
        house.until(house.at + 1)
        _look(house, rule, "warning", "resolved", begun)
    house.until(house.at + 86_400 * SECOND)
    return house.parts, openings


def _look(house: Month, rule: str, severity: str, status: str, number: int) -> None:
    window = house.at - MINUTE, house.at
    house.look(received(an_alert(rule, severity, status, window=window, host=f"h{number}")), "api")


def test_a_stricter_limit_makes_exactly_the_differences_that_a_recount_gives():
    entries, openings = flapping(INPUTS, seed=SEED)
    before, after = recount(openings, 10), recount(openings, 4)
    assert len(before.withheld) > INPUTS // 50

    report = what_if(lambda: entries, flapping_policy(4), until=openings[-1][0] + 86_400 * SECOND)

    print(f"{len(entries)} entries, {len(openings)} openings, {len(after.withheld)} withheld")
    numbers = report.numbers
    assert numbers.kinds["opened"].recorded == numbers.kinds["opened"].again == len(before.told)
    assert numbers.kinds["opened"].candidate == len(after.told)
    assert numbers.withheld["rate_limited"].again == len(before.withheld)
    assert numbers.withheld["rate_limited"].candidate == len(after.withheld)
    assert numbers.kinds["digest"].again == len(before.digests)
    assert numbers.kinds["digest"].candidate == len(after.digests)
    told_before, told_after = dict.fromkeys(before.told), dict.fromkeys(after.told)
    differing = [one for one in told_before if one not in told_after] + [
        one for one in told_after if one not in told_before
    ]
    assert report.effect.found == report.effect.differing == len(differing)
    assert report.drift.found == 0
    shown = {(one.rule_id, one.before.opened_at) for one in report.effect.differences}
    assert shown <= set(differing)
    assert all(one.settings == ("rate_limit: 10 in 1h -> 4 in 1h",) for one in report.effect.differences)
    assert min(at for at, _, _ in openings) > NINE
    assert report.critical == ()
