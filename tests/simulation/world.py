"""A whole exporter in a simulated world: Conduit, a trace backend, a disk, and time itself.

Real are sync, ledger, conversion and delivery; simulated are the clock, the API behind httpx's
transport and the backend behind the sender. A crash abandons the loop where it stands and copies
what the disk would hold; the next life opens the copy.
"""

import asyncio
import random
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from exporter.app.assembly import Exporter
from exporter.clock import Clock
from exporter.demo.conduit import SimulatedConduit
from exporter.demo.cursors import CursorKind
from exporter.demo.directory import Scenario
from exporter.demo.transport import SimulatedTransport
from exporter.ledger import families
from exporter.settings.loading import load
from exporter.sync.roster import Scope
from tests.fakes import START_NS
from tests.simulation.backend import SimulatedBackend
from tests.simulation.disk import SimulatedDisk
from tests.simulation.loop import Killed, VirtualClock, VirtualLoop, run_virtually

R = TypeVar("R")
Script = Callable[["World"], Any]


class World:
    """One simulated deployment, which outlives the exporter's processes."""

    def __init__(
        self,
        folder: Path,
        *,
        scenario: Callable[[int], Scenario],
        token: str,
        seed: int = 1,
        settings: Mapping[str, str] | None = None,
        limit: int = 120,
        latency_s: tuple[float, float] = (0.02, 0.3),
        cursors: CursorKind = "offset",
        cursor_life_s: float | None = None,
        steady_cursors: bool = False,
    ) -> None:
        self.seed = seed
        self.lives = 0
        self.folder = folder
        self.loop: VirtualLoop
        self.clock = VirtualClock(start_ns=START_NS)
        self.rng = random.Random(seed)
        self.conduit = SimulatedConduit(
            now_ns=self.clock.now_ns,
            scenario=scenario(START_NS),
            requests_per_minute=limit,
            cursors=cursors,
            cursor_life_s=cursor_life_s,
            steady_cursors=steady_cursors,
        )
        self.backend = SimulatedBackend(clock=self.clock, rng=random.Random(seed + 1))
        self.disk = SimulatedDisk()
        self.latency_s = latency_s
        self.environ = {
            "CONDUIT_API_TOKEN": token,
            "CONDUIT_BASE_URL": "https://api.conduit.ai",
            "EXPORTER_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
            **(settings or {}),
        }
        self.exporter: Exporter | None = None
        self.count_delays: list[float] = []
        self.trace_delays: list[float] = []

    def run(self, script: Script, *, killed_at: int | None = None) -> Any:
        """Let an exporter live while `script` runs; then stop it in an orderly way."""
        self.lives += 1
        self.loop = VirtualLoop(self.seed + self.lives)
        self.loop.killed_at = killed_at
        self.clock.begin(self.loop)
        try:
            return run_virtually(self.loop, self._live(script), on_killed=self._bury)
        finally:
            self.clock.end()

    def open(self, *, scope: Scope | None = None, once: bool = False) -> Exporter:
        """An exporter of this world, not started."""
        exporter = Exporter(
            load(self.environ),
            clock=self.clock,
            rng=random.Random(self.rng.random()),
            transport=SimulatedTransport(
                self.conduit, clock=self.clock, rng=self.rng, latency_s=self.latency_s
            ),
            sender=self.backend,
            executor=self.disk,
            scope=scope,
            once=once,
        )
        self._listen(exporter)
        return exporter

    def run_alone(self, errand: Callable[[Exporter], Awaitable[R]], **how: Any) -> R:
        """Let an exporter do one thing, as a command does, and close it; `how` goes to `open`."""

        async def live() -> R:
            exporter = self.exporter = self.open(**how)
            try:
                return await errand(exporter)
            finally:
                await exporter.close()

        self.lives += 1
        self.loop = VirtualLoop(self.seed + self.lives)
        self.clock.begin(self.loop)
        try:
            return run_virtually(self.loop, live(), on_killed=self._bury)
        finally:
            self.clock.end()

    def run_until_death_at_commit(
        self, script: Script, *, before: int | None = None, after: int | None = None
    ) -> bool:
        """Let an exporter live until a commit, counted from its start; False if it ended first."""
        calls = self.disk.calls
        self.disk.killed_before = None if before is None else calls + before
        self.disk.killed_after = None if after is None else calls + after
        try:
            self.run(script)
        except Killed:
            return True
        finally:
            self.disk.killed_before = self.disk.killed_after = None
        return False

    async def _live(self, script: Script) -> Any:
        exporter = self.exporter = self.open()
        stop = asyncio.Event()
        stages = [asyncio.create_task(exporter.sync.run())]
        if exporter.delivery is not None:
            stages.append(asyncio.create_task(exporter.delivery.run(stop)))
        try:
            return await script(self)
        finally:
            exporter.sync.stop()
            stop.set()
            await asyncio.gather(*stages)
            self.disk.is_honest = True
            await exporter.close()
            self.disk.is_honest = False

    def _listen(self, exporter: Exporter) -> None:
        """Keep the delays as they are, besides the histograms."""
        count, trace = exporter.instruments.counted, exporter.instruments.delivered

        def counted(delay_s: float) -> None:
            self.count_delays.append(delay_s)
            count(delay_s)

        def delivered(delay_s: float) -> None:
            self.trace_delays.append(delay_s)
            trace(delay_s)

        exporter.instruments.counted = counted  # type: ignore[method-assign]
        exporter.instruments.delivered = delivered  # type: ignore[method-assign]

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await self.clock.sleep(seconds)

    def sums(self) -> dict[str, Any]:
        """The exporter's totals, added up over all agents and labels."""
        assert self.exporter is not None
        found: dict[str, Any] = {}
        for key, value in self.exporter.ledger.totals.items():
            found[key.family] = found.get(key.family, 0) + value
        return found

    def run_killed(self, script: Script, *, at_step: int) -> bool:
        """Let an exporter live until it is killed; False if the script ended before that.

        What the disk holds at the moment of death is what the next life finds.
        """
        try:
            self.run(script, killed_at=at_step)
        except Killed:
            return True
        return False

    def _bury(self) -> None:
        """Take what the disk holds at this moment to where the next life will look for it."""
        old = Path(self.environ["EXPORTER_LEDGER"].removeprefix("sqlite:///"))
        new = self.folder / f"life-{self.lives}"
        new.mkdir()
        for file in old.parent.glob(f"{old.name}*"):
            shutil.copy(file, new / file.name)
        self.environ["EXPORTER_LEDGER"] = f"sqlite:///{new / old.name}"


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]


__all__ = ["Clock", "World", "families", "percentile"]
