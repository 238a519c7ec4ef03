"""The API does what its description says, and nothing that it does not: a short run of `make fuzz`."""

from pathlib import Path

from tests.fuzz.fuzz import fuzz


def test_a_fuzzer_finds_nothing_in_a_short_run(tmp_path: Path) -> None:
    well, said = fuzz(tmp_path, seconds=20, seed=1)

    assert well, said
