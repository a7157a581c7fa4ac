"""Runs of one agent from a seed: when they arrive and end, what they cost, how they went.

The same seed gives the same runs, however often the time is asked for.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from exporter.simulator.runs import MS_NS, SECOND_NS, RunContent, SimRun

_HOUR_NS: Final = 3600 * SECOND_NS
_FAILED: Final = 0.03
_UNMEASURED: Final = 0.01
# Money is worked out in whole pico-dollars; of a token that is read, and one that is written.
_PICO: Final = 10**12
_PRICES: Final = 3_100_000, 15_300_000
_TRACE_IDS: Final = {None: 1, "hex16": 4, "hex32": 4, "uuid": 1}
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"

FLAT_DAY: Final = (1.0,) * 24

T = TypeVar("T")
ContentWriter = Callable[[SimRun, random.Random], RunContent]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProfile:
    """How the runs of an agent look; weights need not add up to one.

    An agent that is not priced is an internal one, whose cost is null.
    """

    runs_per_hour: float
    day: Sequence[float] = FLAT_DAY  # how busy each hour is
    duration_s: tuple[float, float, float] = (2.0, 6.0, 60.0)  # min, usual, max
    errors: tuple[str, ...] = ("The model provider did not answer in time",)
    dispositions: Mapping[str | None, float] = field(default_factory=lambda: {"resolved": 1.0})
    input_tokens: tuple[int, int] = (600, 9000)
    output_tokens: tuple[int, int] = (20, 900)
    is_priced: bool = True
    trigger_ids: tuple[str, ...] = ()
    has_contact: bool = True
    write_content: ContentWriter = field(default=lambda _run, _rng: RunContent())


class GeneratedRuns:
    """An endless stream of one agent's runs, from `start_ns` on."""

    def __init__(self, *, agent_id: str, seed: int, start_ns: int, profile: RunProfile) -> None:
        self._agent_id = agent_id
        self._seed = seed
        self._profile = profile
        self.rng = random.Random(f"{seed}/{agent_id}")
        self.next_ns = self._next_after(start_ns)

    def arrivals(self, until_ns: int) -> Iterator[SimRun]:
        """Make all runs created up to this time; each comes once, in order of creation."""
        while self.next_ns <= until_ns:
            at_ns, self.next_ns = self.next_ns, self._next_after(self.next_ns)
            yield self.new_run(at_ns)

    def content(self, run: SimRun) -> RunContent:
        """The content of a run, the same at every call."""
        return self._profile.write_content(run, random.Random(f"{self._seed}/{run.id}"))

    def new_run(self, at_ns: int) -> SimRun:
        """A run that is created at this time, or a little before."""
        rng, profile = self.rng, self._profile
        created_ns = at_ns // MS_NS * MS_NS
        length_ns = self.new_length_ns()
        completed_ns = None if length_ns is None else created_ns + length_ns
        failed = rng.random() < _FAILED
        tokens: tuple[int, int] | None = None
        if rng.random() >= _UNMEASURED:
            tokens = rng.randint(*profile.input_tokens), rng.randint(*profile.output_tokens)
        return SimRun(
            id=random_id("ar77", rng),
            agent_id=self._agent_id,
            created_ns=created_ns,
            running_ns=created_ns + min(2 * SECOND_NS, (length_ns or SECOND_NS) // 8),
            completed_ns=completed_ns,
            status="failed" if failed else "completed",
            backend_run_id=f"run_{rng.getrandbits(32):08x}",
            disposition=None if failed else _chosen(profile.dispositions, rng),
            error=rng.choice(profile.errors) if failed else None,
            duration_ns=length_ns if rng.random() > 0.01 else None,  # noqa: PLR2004 - now and then
            input_tokens=tokens and tokens[0],
            output_tokens=tokens and tokens[1],
            cost=self._cost(tokens),
            trace_id=_trace_id(_chosen(_TRACE_IDS, rng), rng),
            contact_id=random_id("co77", rng) if profile.has_contact else None,
            conversation_id=random_id("cv77", rng) if profile.has_contact else None,
            trigger_id=rng.choice(profile.trigger_ids) if profile.trigger_ids else None,
        )

    def new_length_ns(self) -> int | None:
        """How long a run takes; None for one that never ends."""
        low_s, usual_s, high_s = self._profile.duration_s
        return round(self.rng.triangular(low_s, high_s, usual_s) * 1000) * MS_NS

    def _next_after(self, at_ns: int) -> int:
        busy = self._profile.day[at_ns // _HOUR_NS % 24]
        return at_ns + 1 + int(self.rng.expovariate(self._profile.runs_per_hour * busy) * _HOUR_NS)

    def _cost(self, tokens: tuple[int, int] | None) -> str | None:
        """Most costs are exact; some have the last digits of a sum of doubles, are tiny or zero."""
        style = self.rng.random()
        if tokens is None or not self._profile.is_priced:
            return None
        read, wrote = tokens[0] * _PRICES[0], tokens[1] * _PRICES[1]
        if style < 0.03:  # noqa: PLR2004 - a share
            return "0"
        if style < 0.06:  # noqa: PLR2004 - a share
            return f"{tokens[1]}e-9"
        if style < 0.25:  # noqa: PLR2004 - a share
            return repr(read / _PICO + wrote / _PICO)
        whole, fraction = divmod(read + wrote, _PICO)
        return f"{whole}.{fraction:012d}".rstrip("0").rstrip(".")


def random_id(prefix: str, rng: random.Random) -> str:
    """An id of Conduit's form: a prefix and 28 characters."""
    return prefix + "".join(rng.choices(_ALPHABET, k=28))


def _chosen(weights: Mapping[T, Any], rng: random.Random) -> T:
    return rng.choices(tuple(weights), tuple(weights.values()))[0]


def _trace_id(style: str | None, rng: random.Random) -> str | None:
    text = f"{rng.getrandbits(128):032x}"
    match style:
        case "hex16":
            return text[:16]
        case "hex32":
            return text
        case "uuid":
            return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return style
