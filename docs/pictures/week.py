# ruff: noqa: INP001 (part of a program, no package)
"""A week of the demo in a Prometheus: the whole exporter in simulated time, scraped as it passes.

Only time, Conduit and the disk are simulated; it takes seconds. Nothing here runs for users.
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from exporter.simulator.hotel import DEMO_TOKEN, hospitality
from tests.alert_rules import FOLDER as RULES
from tests.real.prometheus import Prometheus, promtool
from tests.simulation.scenarios import DAY_S, HOUR_S
from tests.simulation.world import World

SCRAPE_S = 290.0  # below the five minutes for which Prometheus holds a sample
# How busy a hotel's agents are, hour by hour of a day in UTC.
DAY = [0.15] * 5 + [0.4, 0.8, 1.3, 1.7, 1.8, 1.6, 1.4]
DAY += [1.3, 1.5, 1.9, 2.1, 1.9, 1.6, 1.4, 1.2, 0.9, 0.6, 0.4, 0.2]
SETTINGS = {
    "OTEL_TRACES_EXPORTER": "none",
    "EXPORTER_POLL_INTERVAL": "5m",
    "EXPORTER_MONTHLY_BUDGET_USD": "250",
}


@contextmanager
def week_in_prometheus(folder: Path, *, metrics: str) -> Iterator[tuple[Prometheus, float]]:
    """A Prometheus that holds the metrics whose names stand in the text; and its present."""
    scenario = partial(hospitality, seed=1, history_s=0, rate=0.03, day=DAY)
    world = World(
        scenario=lambda start_ns: scenario(start_ns=start_ns), token=DEMO_TOKEN, settings=SETTINGS
    )
    lines: defaultdict[str, list[str]] = defaultdict(list)

    async def scrape(_: World, *, lasting_s: float) -> None:
        for _scrape in range(round(lasting_s / SCRAPE_S)):
            await world.sleep(SCRAPE_S)
            at_s = world.clock.now_ns() / 1e9
            for (name, labels), value in world.samples().items():
                if re.sub(r"_(bucket|count|sum)$", "", name) in metrics:
                    text = ",".join(f'{label}="{word}"' for label, word in sorted(labels))
                    series = f'{name}{{job="conduit-exporter",instance="conduit-exporter",{text}}}'
                    lines[series].append(f"{series} {value} {at_s:.3f}\n")

    # Polled rarely for most of it, which is what its processor time depends on.
    world.run(partial(scrape, lasting_s=8 * DAY_S + 11 * HOUR_S))
    world.environ["EXPORTER_POLL_INTERVAL"] = "15s"
    world.run(partial(scrape, lasting_s=HOUR_S / 2))
    until_s = world.clock.now_ns() / 1e9
    text = folder / "week.om"
    text.write_text("".join(line for series in lines.values() for line in series) + "# EOF\n")
    prometheus = Prometheus(folder, targets=[])
    make = ("tsdb", "create-blocks-from")
    try:
        _checked(*make, "--max-block-duration=300h", "openmetrics", text, folder / "data")
        text.unlink()
        prometheus.start()
        # What the alerts read besides: a few hours of the recording rules.
        window = (f"--start={until_s - 2 * HOUR_S:.0f}", f"--end={until_s:.0f}")
        rules = RULES / "conduit-exporter.rules.yaml"
        _checked(
            *make,
            "rules",
            *window,
            f"--url={prometheus.url}",
            f"--output-dir={folder / 'rules'}",
            rules,
        )
        prometheus.stop()
        for block in (folder / "rules").iterdir():
            shutil.move(block, folder / "data" / block.name)
        prometheus.start()
        yield prometheus, until_s
    finally:
        prometheus.stop()


def _checked(*arguments: str | Path) -> None:
    result = promtool(*arguments, timeout_s=300)
    if result.returncode != 0:
        raise SystemExit(result.stdout + result.stderr)
