"""What to send next, and what becomes of traces, from the outcomes so far.

Pure but for the jitter it is handed. Three kinds of trouble are told apart:

- *overload or outage* (`Unavailable`): the same request again, later and later.
- *a request at fault* (`Invalid`): half of it next time, down to the single trace, which is
  rejected. Every part that was taken meanwhile is settled at once, so nothing hangs on the rest.
- *a destination that refuses* (`Refused`): single traces, seldom. A trace that was refused becomes
  a suspect, and another one is tried in its place. Once another was taken, each suspect is tried
  again by itself: taken, the destination was at fault and has been mended; refused again, the
  trace is at fault and is parked, and the rest goes on without it.

The protocol's rule is to drop what is refused for good. We keep it: the usual reason is a wrong
header or path, and what an operator mends within a day must not cost a day of traces.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from exporter.delivery.backoff import PROBE, RETRY, at_least
from exporter.delivery.outbox import Delivered, Parked, PendingTrace, Rejected, Verdict
from exporter.delivery.outcome import Accepted, Invalid, Outcome, Refused, Unavailable

# So many answers in a row that ask to try again, and the trace itself may be the reason.
_SUSPICIOUS_AFTER: Final = 4
# So many different traces refused, and the destination is at fault whatever the next one does.
_MOST_SUSPECTS: Final = 8
_PARKED_REFUSED_S: Final = 3600.0
_PARKED_UNANSWERED_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an outcome means: verdicts to record, spans to count, and how long to wait then.

    `unpark`: the destination was at fault, so what was parked may be taken now.
    """

    verdicts: tuple[Verdict, ...] = ()
    spans_delivered: int = 0
    spans_rejected: int = 0
    unpark: bool = False
    wait_s: float = 0.0


@dataclass(slots=True)
class Triage:
    """The state of one destination, and what follows from it."""

    rng: random.Random
    max_traces: int
    problem: str | None = None
    refusing: bool = False
    failures: int = 0
    _limit: int = field(init=False)
    # Sequence numbers of traces that failed alone, in the order in which they did.
    _suspects: dict[int, None] = field(init=False, default_factory=dict)
    # Another trace was taken since: each suspect gets its hearing.
    _hearing: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._limit = self.max_traces

    @property
    def most_wanted(self) -> int:
        """How many of the oldest due traces `choose` wants to see."""
        return self._limit + len(self._suspects)

    @property
    def stretch(self) -> int:
        """How many requests' bytes of due traces `choose` wants to see: past every suspect."""
        return 1 + len(self._suspects)

    def choose(self, due: Sequence[PendingTrace]) -> Sequence[PendingTrace]:
        """Which of the oldest due traces make the next request."""
        if not self._suspects:
            return due[: self._limit]
        suspects = [one for one in due if one.seq in self._suspects]
        others = [one for one in due if one.seq not in self._suspects]
        if self._hearing:
            if suspects:
                return suspects[:1]
            # They are settled or parked by other means.
            self._acquit()
            return others[:1]
        if others and len(self._suspects) < _MOST_SUSPECTS:
            return others[:1]
        return due[:1]

    def learn(self, sent: Sequence[PendingTrace], outcome: Outcome, *, now_ns: int) -> Decision:
        """What follows from the outcome of a request with `sent` in it."""
        if isinstance(outcome, Accepted):
            return self._accepted(sent, outcome)
        if isinstance(outcome, Unavailable):
            return self._unavailable(sent, outcome, now_ns)
        if isinstance(outcome, Refused):
            return self._refused(sent, outcome.reason, now_ns)
        return self._invalid(sent, outcome, now_ns)

    def _accepted(self, sent: Sequence[PendingTrace], outcome: Accepted) -> Decision:
        self.failures = 0
        self._limit = min(self.max_traces, 2 * self._limit)
        mended = any(one.seq in self._suspects for one in sent)
        if mended:
            self._acquit()
        self._hearing = bool(self._suspects)
        if not self._suspects:
            self.problem, self.refusing = None, False
        spans = sum(one.spans for one in sent)
        rejected = min(spans, outcome.rejected_spans)
        verdicts: list[Verdict] = [Delivered(one.seq) for one in sent]
        if rejected and (rejected == spans or len(sent) == 1):
            # Partial success must not be sent again: the protocol says so.
            verdicts = [Rejected(one.seq, outcome.message) for one in sent]
        return Decision(
            verdicts=tuple(verdicts),
            spans_delivered=spans - rejected,
            spans_rejected=rejected,
            unpark=mended,
        )

    def _invalid(self, sent: Sequence[PendingTrace], outcome: Invalid, now_ns: int) -> Decision:
        if len(sent) > 1:
            self._limit = len(sent) // 2
            return Decision()
        if not outcome.certain:
            # Whatever stands in between may have said it of every request.
            return self._refused(sent, outcome.reason, now_ns)
        one = sent[0]
        self._suspects.pop(one.seq, None)
        if self._hearing and not self._suspects:
            self._acquit()
        return Decision(verdicts=(Rejected(one.seq, outcome.reason),), spans_rejected=one.spans)

    def _refused(self, sent: Sequence[PendingTrace], reason: str, now_ns: int) -> Decision:
        if len(sent) > 1:
            self._limit = 1
            self.problem, self.refusing = reason, True
            return Decision()
        if self._hearing:
            return self._park(sent[0], reason, now_ns, _PARKED_REFUSED_S)
        self.problem, self.refusing = reason, True
        self.failures += 1
        self._limit = 1
        self._suspects[sent[0].seq] = None
        return Decision(wait_s=PROBE.wait_s(self.failures, self.rng))

    def _unavailable(
        self, sent: Sequence[PendingTrace], outcome: Unavailable, now_ns: int
    ) -> Decision:
        self.failures += 1
        asked_s = outcome.retry_after_s
        wait_s = RETRY.wait_s(self.failures, self.rng)
        if asked_s is not None:
            wait_s = max(wait_s, at_least(asked_s, self.rng))
        # Whether it arrived is not known: the same bytes again.
        self._limit = len(sent)
        if outcome.answered and asked_s is None:
            if self._hearing:
                return self._park(sent[0], outcome.reason, now_ns, _PARKED_UNANSWERED_S)
            if self.failures >= _SUSPICIOUS_AFTER:
                # A request may be too much for the time it has, or one trace of it be the reason.
                self._limit = max(1, len(sent) // 2)
                if len(sent) == 1:
                    self._suspects[sent[0].seq] = None
        self.problem, self.refusing = outcome.reason, False
        return Decision(wait_s=wait_s)

    def _park(self, one: PendingTrace, reason: str, now_ns: int, seconds: float) -> Decision:
        self._suspects.pop(one.seq, None)
        self.failures = 0
        if not self._suspects:
            self._acquit()
        until_ns = now_ns + round(seconds * 1e9)
        return Decision(verdicts=(Parked(one.seq, until_ns, reason),))

    def _acquit(self) -> None:
        """No trace is under suspicion any more."""
        self._suspects.clear()
        self._hearing = False
        self.problem, self.refusing = None, False
