"""What to send next and what becomes of traces, from the outcomes so far.

- *The moment is at fault* (`Unavailable`): the same request again, with exponential backoff.
- *The content is at fault* (`Invalid`): half of the request next time, down to the single trace.
  What was taken meanwhile is settled at once.
- *The destination is at fault* (`Refused`): single traces, seldom, nothing dropped. The protocol
  would drop them, but the usual reason is a header or path that an operator mends within a day.

A trace that fails alone while others are taken is at fault itself, whatever the status said, and a
destination that takes none may say the same of each. So it becomes a suspect, and another trace is
tried in its place. Once another was taken, each suspect is tried once more: taken, the destination
was at fault and has been mended; failing again, the trace is parked or rejected, and the rest goes
on without it. It sends nothing and records nothing.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from exporter.delivery.outcome import Accepted, Invalid, Outcome, Refused, Unavailable
from exporter.ledger.records import Settlement, StoredTrace, TraceState

# After so many answers in a row that ask to try again, the trace itself may be the reason.
_MAX_RETRIES: Final = 4
# With so many suspects the destination is at fault, whatever it says to the next one.
_MAX_SUSPECTS: Final = 8
_PARKED_REFUSED_S: Final = 3600.0
_PARKED_UNAVAILABLE_S: Final = 600.0

# First and longest wait: for an overloaded or absent backend, for one that refuses everything.
_RETRY_S: Final = (1.0, 60.0)
_PROBE_S: Final = (10.0, 300.0)
_MAX_DOUBLINGS: Final = 32
# Clients that were told the same moment by the same backend come back a little apart.
_SPREAD: Final = 0.1
_MAX_SPREAD_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an outcome means: results to record, spans to count, and how long to wait then.

    `unpark`: the destination was at fault, so what was parked may be taken now.
    """

    results: tuple[Settlement, ...] = ()
    spans_delivered: int = 0
    spans_rejected: int = 0
    unpark: bool = False
    wait_s: float = 0.0


class Triage:
    """The state of one destination; `problem` says why it takes nothing, None while it does."""

    def __init__(self, *, rng: random.Random, max_traces: int) -> None:
        self.problem: str | None = None
        self._rng = rng
        self._max_traces = max_traces
        self._batch_size = max_traces
        self._failures = 0
        # Numbers of traces that failed alone.
        self._suspects: set[int] = set()
        # The destination has taken another trace since, so each suspect is tried once more.
        self._is_rechecking = False

    @property
    def window(self) -> tuple[int, int]:
        """How many of the oldest due traces `choose` wants to see, in how many requests' bytes."""
        return self._batch_size + len(self._suspects), 1 + len(self._suspects)

    def choose(self, due: Sequence[StoredTrace]) -> Sequence[StoredTrace]:
        """Which of the oldest due traces make the next request."""
        suspects = [one for one in due if one.no in self._suspects]
        others = [one for one in due if one.no not in self._suspects]
        if not self._suspects:
            return due[: self._batch_size]
        if self._is_rechecking:
            if suspects:
                return suspects[:1]
            self._clear_suspects()  # they are no longer due
            return others[:1]
        if others and len(self._suspects) < _MAX_SUSPECTS:
            return others[:1]
        return due[:1]

    def learn(self, sent: Sequence[StoredTrace], outcome: Outcome, *, now_ns: int) -> Decision:
        """What follows from the outcome of a request with `sent` in it."""
        match outcome:
            case Accepted():
                return self._accepted(sent, outcome)
            case Unavailable():
                return self._unavailable(sent, outcome, now_ns)
            case Invalid():
                return self._invalid(sent, outcome)
            case Refused():
                return self._refused(sent, outcome.reason, now_ns)

    def _accepted(self, sent: Sequence[StoredTrace], outcome: Accepted) -> Decision:
        self._failures = 0
        self._batch_size = min(self._max_traces, 2 * self._batch_size)
        mended = any(one.no in self._suspects for one in sent)
        if mended or not self._suspects:
            self._clear_suspects()
        else:
            self._is_rechecking = True
        spans = sum(one.spans for one in sent)
        rejected = min(spans, outcome.rejected_spans)
        results = [Settlement(one.no, TraceState.DELIVERED) for one in sent]
        if rejected and (rejected == spans or len(sent) == 1):
            # Never sent again: the specification forbids it after a partial success.
            results = [_rejected(one, outcome.message) for one in sent]
        return Decision(
            results=tuple(results),
            spans_delivered=spans - rejected,
            spans_rejected=rejected,
            unpark=mended,
        )

    def _invalid(self, sent: Sequence[StoredTrace], outcome: Invalid) -> Decision:
        if len(sent) > 1:
            self._batch_size = len(sent) // 2
            return Decision()
        (one,) = sent
        if not self._is_rechecking:
            return self._suspect(one, outcome.reason)
        self._give_up(one)
        return Decision(results=(_rejected(one, outcome.reason),), spans_rejected=one.spans)

    def _refused(self, sent: Sequence[StoredTrace], reason: str, now_ns: int) -> Decision:
        if len(sent) > 1:
            self.problem, self._batch_size = reason, 1
            return Decision()
        if self._is_rechecking:
            return self._park(sent[0], reason, now_ns, _PARKED_REFUSED_S)
        return self._suspect(sent[0], reason)

    def _unavailable(
        self, sent: Sequence[StoredTrace], outcome: Unavailable, now_ns: int
    ) -> Decision:
        self._failures += 1
        asked_s = outcome.retry_after_s
        # Whether it arrived is not known: the same bytes again.
        self._batch_size = len(sent)
        if outcome.answered and asked_s is None:
            if self._is_rechecking:
                return self._park(sent[0], outcome.reason, now_ns, _PARKED_UNAVAILABLE_S)
            if self._failures >= _MAX_RETRIES:
                # A request may be too much for the time it has, or one trace of it be the reason.
                self._batch_size = max(1, len(sent) // 2)
                if len(sent) == 1:
                    self._suspects.add(sent[0].no)
        self.problem = outcome.reason
        wait_s = self._backoff_s(*_RETRY_S)
        if asked_s is not None:
            spread_s = min(asked_s * _SPREAD, _MAX_SPREAD_S)
            wait_s = max(wait_s, asked_s + self._rng.uniform(0.0, spread_s))
        return Decision(wait_s=wait_s)

    def _suspect(self, one: StoredTrace, reason: str) -> Decision:
        """The trace or the destination is at fault: try another one, later."""
        self.problem = reason
        self._failures += 1
        self._batch_size = 1
        self._suspects.add(one.no)
        return Decision(wait_s=self._backoff_s(*_PROBE_S))

    def _park(self, one: StoredTrace, reason: str, now_ns: int, seconds: float) -> Decision:
        self._failures = 0
        self._give_up(one)
        until_ns = now_ns + round(seconds * 1e9)
        return Decision(results=(Settlement(one.no, TraceState.PENDING, until_ns, reason),))

    def _give_up(self, one: StoredTrace) -> None:
        self._suspects.discard(one.no)
        if self._is_rechecking and not self._suspects:
            self._clear_suspects()

    def _clear_suspects(self) -> None:
        self._suspects.clear()
        self._is_rechecking = False
        self.problem = None

    def _backoff_s(self, first_s: float, max_s: float) -> float:
        """Exponential with jitter: between a half and all of a bound that doubles."""
        bound_s = min(max_s, first_s * 2 ** min(self._failures - 1, _MAX_DOUBLINGS))
        return self._rng.uniform(bound_s / 2, bound_s)


def _rejected(one: StoredTrace, reason: str) -> Settlement:
    return Settlement(one.no, TraceState.REJECTED, reason=reason)
