"""What may be asked of Conduit next: one request each, with its reason in words.

Plain values: the plan makes them, the state keeps who is at what, the reader carries them out.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from exporter.ledger.records import Gap, Priority

# A page holds at most so many runs (documented limit of `limit`).
PAGE_MAX: Final = 100


class Purpose(StrEnum):
    """What a request is spent on; the values are those of the metric's label."""

    AGENTS = "agents"
    HEAD = "head"
    GAP = "gap"
    IN_FLIGHT = "in_flight"
    DETAIL = "detail"
    LOOKBACK = "lookback"
    SECOND_READING = "second_reading"
    BACKFILL = "backfill"


class Kind(StrEnum):
    """Kinds of endpoints; each can be down while the others answer."""

    AGENTS = "list of agents"
    RUNS = "lists of runs"
    RUN = "single runs"


class Reading(IntEnum):
    """The readings of an agent's list that there are once each; gaps have positive numbers."""

    HEAD = -1
    SWEEP = -2
    AGAIN = -3


# What a failure is evidence against, within an agent: a reading, a gap by its number, or a run by
# its id. HEAD stands for the list itself.
Target = int | str


@dataclass(frozen=True, slots=True)
class ReadAgents:
    """The next page of the workspace's agents."""

    reason: str
    purpose: Purpose = Purpose.AGENTS
    kind: Kind = Kind.AGENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPage:
    """The next page of a reading of an agent's list of runs; `gap` where it is that of a gap."""

    agent: str
    target: int
    purpose: Purpose
    reason: str
    gap: Gap | None = None
    limit: int = PAGE_MAX
    kind: Kind = Kind.RUNS


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRun:
    """One run whole; its `target` is its id."""

    agent: str
    target: str
    priority: Priority
    reason: str
    purpose: Purpose = Purpose.DETAIL
    kind: Kind = Kind.RUN


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is worth a request before this moment, unless something changes."""

    until_s: float


Request = ReadAgents | ReadPage | ReadRun
