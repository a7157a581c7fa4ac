"""Worlds drawn from seeds: settings, lists, faults and deaths in every combination.

`python -m tests.simulation.swarm FIRST LAST` lives through as many as there is time for.
"""

from pathlib import Path

import pytest

from tests.simulation.swarm import draw, live


@pytest.mark.parametrize("seed", range(12))
def test_a_world_drawn_from_a_seed_loses_nothing(tmp_path: Path, seed: int) -> None:
    """Every run that is listed at the end is counted once and traced once, and bytes are kept."""
    live(draw(seed), tmp_path)


def test_a_seed_draws_the_same_world_again() -> None:
    """What went wrong once can be looked at."""
    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
