"""The order of measuring: round by round, the peer and ourselves by turns, noisy trials done again.

Both sides of a ratio thus see the same machine, whatever it was doing that minute.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.machine import Cores, wait_for_quiet
from benchmarks.subjects import Subject
from benchmarks.trial import Experiment, Measurement, Row, Scale, run_trial

NOISE_MAX = 0.10
"""Cores that others may use during a trial that counts."""

QUIET_WAIT_S = 20.0


@dataclass(frozen=True)
class Plan:
    """How to measure. attempts: how often a trial is made at most until it is quiet enough."""

    rounds: int
    attempts: int
    scale: Scale
    cores: Cores
    stores: Path


@dataclass
class Result:
    """All rounds of one experiment.

    measurements: subject name -> one per round, in order. discarded: trials that were too noisy.
    judged: whether the load was the whole one, which the bars are for. peer_absent: why the peer was not measured.
    """

    experiment: Experiment
    measurements: dict[str, list[Measurement]] = field(default_factory=dict)
    discarded: int = 0
    judged: bool = True
    peer_absent: str = ""

    @property
    def ours(self) -> str:
        return self.experiment.ours.name

    @property
    def peer(self) -> str:
        """The peer's name, "" if there is nobody to compare with."""
        return self.experiment.peer.name if self.experiment.peer is not None else ""

    def values(self, row: Row, subject: str) -> list[float]:
        """A row's figures, one per round that has one."""
        found = (measurement.figures.get(row.key) for measurement in self.measurements.get(subject, []))
        return [value for value in found if value is not None]

    def failures(self, subject: str) -> list[str]:
        """What went wrong, over all rounds, each thing once."""
        said = (why for measurement in self.measurements.get(subject, []) for why in measurement.failures)
        return list(dict.fromkeys(said))

    def noise(self) -> float:
        """The noisiest trial that counts, in cores."""
        return max((one.noise for many in self.measurements.values() for one in many), default=0.0)


@dataclass(frozen=True)
class Verdict:
    """A row's outcome.

    ours, peers: medians, None where there is none. score: what the bars are for, a ratio or our median.
    word: `aim reached`, `passes`, `below`, `failed`; or `no peer`, `not measured`, `quick`: not judged.
    """

    ours: float | None
    peers: float | None
    ratio: float | None
    score: float | None
    word: str


def judge(result: Result, row: Row) -> Verdict:
    """Hold a row's medians against its bars."""
    own, others = result.values(row, result.ours), result.values(row, result.peer)
    own_median = median(own) if own else None
    peer_median = median(others) if others else None
    ratio = own_median / peer_median if own_median and peer_median else None
    score = ratio if row.compare == "ratio" else own_median

    if result.failures(result.ours) or result.failures(result.peer):
        word = "failed"
    elif own_median is None:
        word = "not measured"
    elif not result.judged:
        word = "quick"
    elif score is None:
        word = "no peer"
    elif reaches(row, score, row.aim):
        word = "aim reached"
    elif reaches(row, score, row.at_least):
        word = "passes"
    else:
        word = "below"
    return Verdict(own_median, peer_median, ratio, score, word)


def reaches(row: Row, score: float, bar: float) -> bool:
    """Whether a score is as good as a bar, in the row's direction."""
    return score >= bar if row.better == "higher" else score <= bar


def run(
    experiment: Experiment,
    kinds: Sequence[type[Subject]],
    plan: Plan,
    result: Result,
    *,
    say: Callable[[str], None],
) -> None:
    """Measure all rounds of one experiment into `result`, so that what there is survives an interruption.

    say: is told a line per trial. Raises: DidNotStart.
    """
    rounds = min(plan.rounds, experiment.rounds_max)
    for number in range(rounds):
        # Who begins changes from round to round, so that neither always finds the warmer machine.
        for kind in kinds if number % 2 == 0 else kinds[::-1]:
            measurement = _quiet_trial(experiment, kind, plan, result, seed=f"r{number}", say=say)
            result.measurements.setdefault(kind.name, []).append(measurement)
            figures = ", ".join(f"{key} {value:,.2f}" for key, value in measurement.figures.items())
            failed = "" if not measurement.failures else f"  FAILED: {measurement.failures[0]}"
            say(f"  {experiment.name} {number + 1}/{rounds} {kind.name}: {figures}{failed}")
            if measurement.failures:
                return  # What is wrong once stays wrong; further rounds would only take their time.


def _quiet_trial(
    experiment: Experiment,
    kind: type[Subject],
    plan: Plan,
    result: Result,
    *,
    seed: str,
    say: Callable[[str], None],
) -> Measurement:
    """The first trial that was quiet enough, or that failed; when attempts run out, the quietest."""
    tried: list[Measurement] = []
    for attempt in range(plan.attempts):
        wait_for_quiet(busy_max=NOISE_MAX, until_s=QUIET_WAIT_S)
        measurement = run_trial(
            experiment, kind, scale=plan.scale, cores=plan.cores, stores=plan.stores, seed=f"{seed}a{attempt}"
        )
        if measurement.failures or measurement.noise <= NOISE_MAX:
            result.discarded += len(tried)
            return measurement
        tried.append(measurement)
        say(f"  {experiment.name} {kind.name}: others used {measurement.noise:.2f} cores meanwhile")
    result.discarded += len(tried) - 1
    return min(tried, key=lambda measurement: measurement.noise)
