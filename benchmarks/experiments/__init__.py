"""All experiments, in the order of the report."""

from benchmarks.experiments import burst, dispatch, ingest, latency, scaling, volume
from benchmarks.trial import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    *ingest.EXPERIMENTS,
    latency.EXPERIMENT,
    burst.EXPERIMENT,
    volume.EXPERIMENT,
    dispatch.EXPERIMENT,
    *scaling.EXPERIMENTS,
)
