"""Runs of one agent from a seed: when they arrive and end, what they cost, how they went.

The same seed gives the same runs, whoever asks and in whatever order. Only three numbers of a run
are kept; the rest is worked out again from seed and number whenever it is looked at, so that a week
of 200,000 runs fits in a few megabytes.
"""

import hashlib
import random
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from exporter.demo.ids import NumberedIds, random_id
from exporter.demo.runs import FAR_FUTURE_NS, MS_NS, SECOND_NS, Arrival, RunContent, SimRun

_NEVER: Final = -1
_HOUR_NS: Final = 3600 * SECOND_NS
_PICO: Final = 10**12  # money is worked out in whole pico-dollars
_CONTACTS: Final = 256
FLAT_DAY: Final = (1.0,) * 24
HOTEL_DAY: Final = (
    *(0.3, 0.2, 0.15, 0.15, 0.2, 0.35, 0.6, 0.9),
    *(1.2, 1.4, 1.4, 1.3, 1.2, 1.2, 1.4, 1.6),
    *(1.7, 1.6, 1.5, 1.4, 1.2, 1.0, 0.7, 0.5),
)

T = TypeVar("T")
ContentWriter = Callable[[SimRun, random.Random], RunContent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disorder:
    """Shares of runs that do not behave: each ratio is of all runs, 0 to 1."""

    long_ratio: float = 0.0
    long_s: tuple[float, float] = (600.0, 6 * 3600.0)
    stuck_ratio: float = 0.0
    late_ratio: float = 0.0
    late_s: tuple[float, float] = (1.0, 30.0)
    deleted_ratio: float = 0.0
    deleted_after_s: tuple[float, float] = (60.0, 24 * 3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProfile:
    """How the runs of an agent look; weights need not add up to one.

    Prices are whole pico-dollars a token; both None is an internal agent, whose cost is null.
    `created_step_ms` above 1 makes runs with equal creation times.
    """

    runs_per_hour: float
    day: Sequence[float] = FLAT_DAY
    created_step_ms: int = 1
    duration_s: tuple[float, float, float] = (2.0, 6.0, 60.0)  # least, usual, most
    failed_ratio: float = 0.03
    errors: tuple[str, ...] = ("The model provider did not answer in time",)
    dispositions: Mapping[str | None, float] = field(default_factory=lambda: {"resolved": 1.0})
    input_tokens: tuple[int, int] = (600, 9000)
    output_tokens: tuple[int, int] = (20, 900)
    input_price: int | None = 3_100_000
    output_price: int | None = 15_300_000
    unmeasured_ratio: float = 0.01
    trace_ids: Mapping[str | None, float] = field(
        default_factory=lambda: {None: 1, "hex16": 4, "hex32": 4, "uuid": 1}
    )
    trigger_ids: tuple[str, ...] = ()
    has_contact: bool = True
    write_content: ContentWriter = field(default=lambda _run, _rng: RunContent())
    disorder: Disorder = field(default_factory=Disorder)


class GeneratedRuns:
    """A `RunSource`: an endless stream of one agent's runs, from `start_ns` on."""

    def __init__(self, *, agent_id: str, seed: int, start_ns: int, profile: RunProfile) -> None:
        self._agent_id = agent_id
        self._profile = profile
        self._rng = random.Random(f"{seed}/{agent_id}")
        self._ids = NumberedIds(rng=self._rng)
        self._digest = hashlib.blake2b(f"{seed}/{agent_id}".encode(), digest_size=32)
        self._created = array("q")
        self._completed = array("q")
        self._failed = _tabled(
            {True: profile.failed_ratio, False: 1 - profile.failed_ratio},
        )
        self._unmeasured = _tabled(
            {True: profile.unmeasured_ratio, False: 1 - profile.unmeasured_ratio}
        )
        self._dispositions = _tabled(profile.dispositions)
        self._trace_styles = _tabled(profile.trace_ids)
        self._cost_styles = _tabled({"exact": 12, "summed": 3, "tiny": 0.5, "zero": 0.5})
        self._contacts = tuple(random_id("co77", self._rng) for _ in range(_CONTACTS))
        self._conversations = tuple(random_id("cv77", self._rng) for _ in range(_CONTACTS))
        self._latest: tuple[int, SimRun] | None = None
        self._next_ns = self._after(start_ns)

    @property
    def next_ns(self) -> int:
        return self._next_ns

    def end(self) -> None:
        """Let no further run arrive."""
        self._next_ns = FAR_FUTURE_NS

    def arrivals(self, until_ns: int) -> Iterator[Arrival]:
        while self._next_ns <= until_ns:
            yield self._arrive(self._next_ns)

    def run_id(self, number: int) -> str:
        return self._ids.id_of(number)

    def number_of(self, run_id: str) -> int | None:
        number = self._ids.number_of(run_id)
        return number if number is not None and number < len(self._created) else None

    def run(self, number: int) -> SimRun:
        if self._latest is None or self._latest[0] != number:
            self._latest = number, self._work_out(number)
        return self._latest[1]

    def content(self, number: int) -> RunContent:
        rng = random.Random(int.from_bytes(self._bytes_of(number)[:8], "big"))
        return self._profile.write_content(self.run(number), rng)

    def _work_out(self, number: int) -> SimRun:
        profile = self._profile
        digest = self._bytes_of(number)
        created_ns, completed_ns = self._created[number], self._completed[number]
        length_ns = completed_ns - created_ns
        ended = completed_ns != _NEVER
        failed = self._failed[digest[0]]
        tokens: tuple[int, int] | None = None
        if not self._unmeasured[digest[1]]:
            tokens = (
                _between(profile.input_tokens, digest[2] << 8 | digest[3]),
                _between(profile.output_tokens, digest[4] << 8 | digest[5]),
            )
        return SimRun(
            id=self._ids.id_of(number),
            agent_id=self._agent_id,
            created_ns=created_ns,
            running_ns=created_ns
            + (min(length_ns // 8, 2 * SECOND_NS) * digest[6] >> 8 if ended else SECOND_NS),
            completed_ns=completed_ns if ended else None,
            status="failed" if failed else "completed",
            backend_run_id="run_" + digest[24:28].hex(),
            disposition=None if failed else self._dispositions[digest[7]],
            error=profile.errors[digest[8] % len(profile.errors)] if failed else None,
            duration_ns=length_ns if ended and digest[9] > 1 else None,
            input_tokens=tokens[0] if tokens else None,
            output_tokens=tokens[1] if tokens else None,
            cost=self._cost(tokens, digest),
            trace_id=_trace_id(self._trace_styles[digest[12]], digest),
            contact_id=self._contacts[digest[13]] if profile.has_contact else None,
            conversation_id=self._conversations[digest[13]] if profile.has_contact else None,
            trigger_id=(
                profile.trigger_ids[digest[14] % len(profile.trigger_ids)]
                if profile.trigger_ids
                else None
            ),
        )

    def _bytes_of(self, number: int) -> bytes:
        digest = self._digest.copy()
        digest.update(number.to_bytes(8, "big"))
        return digest.digest()

    def _arrive(self, at_ns: int) -> Arrival:
        rng, disorder = self._rng, self._profile.disorder
        step_ns = self._profile.created_step_ms * MS_NS
        created_ns = at_ns // step_ns * step_ns
        least, usual, most = self._profile.duration_s
        length_s = rng.triangular(least, most, usual)
        completed_ns: int | None = None
        fate = rng.random()
        if fate >= disorder.stuck_ratio:
            if fate < disorder.stuck_ratio + disorder.long_ratio:
                length_s = rng.uniform(*disorder.long_s)
            completed_ns = created_ns + round(length_s * 1000) * MS_NS
        visible_ns, deleted_ns = at_ns, None
        if disorder.late_ratio and rng.random() < disorder.late_ratio:
            visible_ns += round(rng.uniform(*disorder.late_s) * SECOND_NS)
        if disorder.deleted_ratio and rng.random() < disorder.deleted_ratio:
            deleted_ns = visible_ns + round(rng.uniform(*disorder.deleted_after_s) * SECOND_NS)
        number = len(self._created)
        self._created.append(created_ns)
        self._completed.append(_NEVER if completed_ns is None else completed_ns)
        self._next_ns = self._after(at_ns)
        return Arrival(number, created_ns, completed_ns, visible_ns, deleted_ns)

    def _after(self, at_ns: int) -> int:
        busy = self._profile.day[at_ns // _HOUR_NS % 24]
        return at_ns + 1 + int(self._rng.expovariate(self._profile.runs_per_hour * busy) * _HOUR_NS)

    def _cost(self, tokens: tuple[int, int] | None, digest: bytes) -> str | None:
        prices = self._profile.input_price, self._profile.output_price
        if tokens is None or prices[0] is None or prices[1] is None:
            return None
        read, wrote = tokens[0] * prices[0], tokens[1] * prices[1]
        match self._cost_styles[digest[10]]:
            case "summed":  # the last digits of a sum of doubles, as a JavaScript backend shows it
                return repr(read / _PICO + wrote / _PICO)
            case "tiny":
                return f"{digest[11] + 1}e-9"
            case "zero":
                return "0"
        whole, fraction = divmod(read + wrote, _PICO)
        return f"{whole}.{fraction:012d}".rstrip("0").rstrip(".")


def _tabled(weights: Mapping[T, float]) -> tuple[T, ...]:
    """The choices as a table for one random byte, each at least once if it has any weight.

    One byte is a coarse measure, which is the point: looking up is all that a draw costs.
    """
    chosen = {value: weight for value, weight in weights.items() if weight > 0}
    total = sum(chosen.values())
    table: list[T] = []
    for value, weight in sorted(chosen.items(), key=lambda pair: pair[1]):
        table += [value] * max(1, round(256 * weight / total))
    return (*table, *(table[-1:] * 256))[:256]


def _between(bounds: tuple[int, int], draw: int) -> int:
    """A number between the bounds from 16 random bits; small ones are commoner than large ones."""
    low, high = bounds
    return low + (high - low) * (draw * draw >> 16) // 65536


def _trace_id(style: str | None, digest: bytes) -> str | None:
    text = digest[16:32].hex()
    match style:
        case "hex16":
            return text[:16]
        case "hex32":
            return text
        case "uuid":
            return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return style
