"""Bad weather: whatever happens, nothing accepted is lost, everybody is told, and the record says so."""

from tests.simulation.storm import play


def test_nothing_is_lost_in_any_weather(seed: int) -> None:
    play(seed)
