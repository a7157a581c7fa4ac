"""A whole exporter in a simulated world: Conduit, a trace backend, a disk, and time itself.

Real are sync, ledger, conversion and delivery; simulated are the clock, the API behind httpx's
transport and the backend behind the sender. A death abandons the loop where it stands and copies
what the disk holds; the next life opens the copy. Only this module knows how an exporter is made.
"""

import asyncio
import random
import shutil
import tempfile
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from exporter.app.assembly import Exporter
from exporter.app.daemon import _retain
from exporter.app.replay import replay
from exporter.app.single import complete_pass, reconcile
from exporter.settings.loading import load
from exporter.simulator.conduit import CursorKind
from exporter.simulator.data import Scenario
from exporter.sync.discovery import BackfillRange, Scope
from tests.fakes import START_NS
from tests.simulation.backend import SimulatedBackend
from tests.simulation.conduit import ScriptedConduit
from tests.simulation.disk import SimulatedDisk
from tests.simulation.loop import Killed, VirtualClock, VirtualLoop, run_virtually
from tests.simulation.scenarios import DAY_S, TOKEN
from tests.simulation.transport import SimulatedTransport

P = ParamSpec("P")
R = TypeVar("R")
Script = Callable[["World"], Coroutine[Any, Any, R]]
Story = Callable[Concatenate["World", P], Coroutine[Any, Any, None]]
# A sample of /metrics: its name and labels.
SampleKey = tuple[str, frozenset[tuple[str, str]]]


class StageEnded(Exception):
    """A stage of the exporter ended by itself, which ends the process."""


class World:
    """One simulated deployment, which outlives the exporter's processes."""

    def __init__(
        self,
        *,
        scenario: Callable[[int], Scenario],
        token: str = TOKEN,
        seed: int = 1,
        settings: Mapping[str, str] | None = None,
        limit: int = 120,
        latency_s: tuple[float, float] = (0.02, 0.3),
        cursors: CursorKind = "offset",
        cursor_life_s: float | None = None,
        dead_cursor_status: int = 400,
        steady_cursors: bool = False,
    ) -> None:
        self.seed = seed
        self.lives = 0
        # In memory where that can be had: the disk is simulated.
        memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
        self.folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        weakref.finalize(self, shutil.rmtree, self.folder)
        self.loop: VirtualLoop
        self.clock = VirtualClock(start_ns=START_NS)
        self.rng = random.Random(seed)
        self.conduit = ScriptedConduit(
            now_ns=self.clock.true_ns,
            scenario=scenario(START_NS),
            requests_per_minute=limit,
            cursors=cursors,
            cursor_life_s=cursor_life_s,
            dead_cursor_status=dead_cursor_status,
            steady_cursors=steady_cursors,
        )
        self.requests = self.conduit.asked
        self.backend = SimulatedBackend(clock=self.clock, rng=random.Random(seed + 1))
        self.disk = SimulatedDisk()
        self.transport = SimulatedTransport(
            self.conduit, clock=self.clock, rng=self.rng, latency_s=latency_s
        )
        self.environ = {
            "CONDUIT_API_TOKEN": token,
            "CONDUIT_BASE_URL": "https://api.conduit.ai",
            "EXPORTER_LEDGER": f"sqlite:///{self.folder / 'ledger.db'}",
            # A quarter of the work that the default is, and as long.
            "EXPORTER_POLL_INTERVAL": "60s",
            **(settings or {}),
        }
        self.exporter: Exporter | None = None
        self._last_samples: dict[SampleKey, float] = {}

    # What an exporter shows

    def samples(self) -> dict[SampleKey, float]:
        """Every sample of a scrape now, or of the last moment of the last life."""
        if self.exporter is not None:
            self._last_samples = {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in self.exporter.metrics.snapshot().collect()
                for sample in family.samples
            }
        return self._last_samples

    def ready(self) -> bool:
        """Whether /-/ready answers 200."""
        assert self.exporter is not None
        return not self.exporter.not_ready()

    @property
    def lookback_from_ns(self) -> int:
        """From when on runs are counted: the look-back before the first start."""
        settings = load(self.environ)
        return START_NS - round(settings.lookback_s * 1e9)

    def ns_in(self, seconds: float) -> int:
        """The true time so many seconds from now; less than 0: before now."""
        return self.clock.true_ns() + round(seconds * 1e9)

    # Lives

    def run(self, script: Script[R], *, killed_at: int | None = None) -> R:
        """Let an exporter live while `script` runs; then stop it in an orderly way.

        Raises StageEnded if it ends before, and what the script raises.
        """
        return self._run(self._live(script), killed_at=killed_at)

    def run_for(self, seconds: float) -> None:
        """Let an exporter live so long."""
        self.run(lambda world: world.sleep(seconds))

    def run_once(self, *, within_s: float = DAY_S) -> int:
        """What the command `once` does; its exit code. Raises TimeoutError if it does not end."""
        return self._run_command(complete_pass, within_s=within_s)

    def run_backfill(
        self, *, since_s: float, until_s: float | None = None, within_s: float = DAY_S
    ) -> int:
        """What `backfill` does from so many seconds ago; its exit code."""
        now_ns = self.clock.now_ns()
        until_ns = None if until_s is None else now_ns - round(until_s * 1e9)
        backfill = BackfillRange(since_ns=now_ns - round(since_s * 1e9), until_ns=until_ns)
        return self._run_command(complete_pass, scope=self._scope(backfill), within_s=within_s)

    def run_reconcile(self, *, since_s: float, repair: bool) -> tuple[int, set[str]]:
        """What `reconcile` does; its exit code, and the runs that the ledger lacked."""
        since_ns = self.clock.now_ns() - round(since_s * 1e9)
        code, differences = self._run_command(
            lambda exporter: reconcile(
                exporter, since_ns=since_ns, repair=repair, stop=asyncio.Event()
            ),
            scope=self._scope(),
        )
        return code, {run_id for one in differences for run_id in (*one.missing, *one.late)}

    def run_replay(self, *, since_s: float) -> int:
        """What `replay` does; how many traces were sent again."""
        since_ns = self.clock.now_ns() - round(since_s * 1e9)
        report = self._run_command(
            lambda exporter: replay(
                exporter.gate,
                sender=self.backend,
                clock=self.clock,
                rng=self.rng,
                since_ns=since_ns,
                content=exporter.settings.capture_content,
                show=lambda _: None,
            )
        )
        return report.delivered

    def run_until_killed(
        self,
        script: Script[Any],
        *,
        at_step: int | None = None,
        before_commit: int | None = None,
        after_commit: int | None = None,
    ) -> bool:
        """Let an exporter live until kill -9, at a step or commit counted from its start.

        What the disk holds at the moment of death is what the next life finds. False if the script
        ended before.
        """
        calls = self.disk.calls
        self.disk.killed_before = before_commit and calls + before_commit
        self.disk.killed_after = after_commit and calls + after_commit
        try:
            self.run(script, killed_at=at_step)
        except Killed:
            return True
        finally:
            self.disk.killed_before = self.disk.killed_after = None
        return False

    def wait(self, seconds: float) -> None:
        """Let time pass while no exporter lives."""
        self.clock.wait(seconds)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await self.clock.sleep(seconds)

    def _run(self, life: Coroutine[Any, Any, R], *, killed_at: int | None = None) -> R:
        self.lives += 1
        self.loop = VirtualLoop(self.seed + self.lives)
        self.loop.killed_at = killed_at
        self.disk.kill = self.loop.kill
        self.clock.begin(self.loop)
        try:
            return run_virtually(self.loop, life, on_killed=self._bury)
        finally:
            self.clock.end()

    async def _live(self, script: Script[R]) -> R:
        exporter = self.exporter = self._open()
        stop = asyncio.Event()
        stages = [asyncio.create_task(stage) for stage in _stages(exporter, stop)]
        story = asyncio.create_task(script(self))
        try:
            await asyncio.wait((story, *stages), return_when=asyncio.FIRST_COMPLETED)
            for stage in stages:
                if stage.done():
                    raise StageEnded from stage.exception()
            return await story
        finally:
            story.cancel()
            await asyncio.gather(story, return_exceptions=True)
            self.samples()
            await self._end(exporter, stop, stages)
            self.exporter = None

    def _run_command(
        self,
        command: Callable[[Exporter], Coroutine[Any, Any, R]],
        *,
        scope: Scope | None = None,
        within_s: float = DAY_S,
    ) -> R:
        async def live() -> R:
            exporter = self.exporter = self._open(once=True, scope=scope)
            try:
                async with asyncio.timeout(within_s):
                    return await command(exporter)
            finally:
                self.samples()
                self.exporter = None
                await self._close(exporter)

        return self._run(live())

    def _scope(self, backfill: BackfillRange | None = None) -> Scope:
        lookback_s = load(self.environ).lookback_s
        return Scope(agents=None, lookback_s=lookback_s, scans=False, backfill=backfill)

    def _open(self, *, once: bool = False, scope: Scope | None = None) -> Exporter:
        return Exporter(
            load(self.environ),
            clock=self.clock,
            rng=random.Random(self.rng.random()),
            transport=self.transport,
            sender=None if self.environ.get("OTEL_TRACES_EXPORTER") == "none" else self.backend,
            executor=self.disk,
            scope=scope,
            once=once,
        )

    async def _end(
        self, exporter: Exporter, stop: asyncio.Event, stages: list[asyncio.Task[None]]
    ) -> None:
        exporter.sync.stop()
        stop.set()
        stages[-1].cancel()  # retention
        await asyncio.gather(*stages, return_exceptions=True)
        await self._close(exporter)

    async def _close(self, exporter: Exporter) -> None:
        self.disk.is_honest = True
        await exporter.close()
        self.disk.is_honest = False

    def _bury(self) -> None:
        """Take what the disk holds at this moment to where the next life will look for it."""
        old = Path(self.environ["EXPORTER_LEDGER"].removeprefix("sqlite:///"))
        new = self.folder / f"life-{self.lives}"
        new.mkdir()
        for file in old.parent.glob(f"{old.name}*"):
            shutil.copy(file, new / file.name)
        self.environ["EXPORTER_LEDGER"] = f"sqlite:///{new / old.name}"


def simulated(
    scenario: Callable[[int], Scenario], **options: Any
) -> Callable[[Story[P]], Callable[P, None]]:
    """Make a test of what is to happen in a world while one exporter lives in it.

    It takes what World takes.
    """

    def decorate(story: Story[P]) -> Callable[P, None]:
        @wraps(story)
        def test(*args: P.args, **kwargs: P.kwargs) -> None:
            world = World(scenario=scenario, **options)
            world.run(lambda _: story(world, *args, **kwargs))

        # What is left are fixtures and parameters.
        whole = signature(story)
        test.__signature__ = whole.replace(parameters=list(whole.parameters.values())[1:])  # type: ignore[attr-defined]  # as inspect documents it
        return test

    return decorate


def _stages(exporter: Exporter, stop: asyncio.Event) -> Iterator[Coroutine[Any, Any, None]]:
    """What the daemon runs."""
    yield exporter.sync.run()
    if exporter.delivery is not None:
        yield exporter.delivery.run(stop)
    yield _retain(exporter)
