"""What to send next, and what becomes of traces."""

import random
from collections.abc import Callable

import pytest

from exporter.delivery.outcome import Accepted, Invalid, Outcome, Refused, Unavailable
from exporter.delivery.triage import Triage
from exporter.ledger.records import StoredTrace, TraceState
from tests.factories import SECOND_NS
from tests.fakes import START_NS


def pending(seq: int, spans: int = 2) -> StoredTrace:
    return StoredTrace(seq, seq.to_bytes(16), b"payload-%d" % seq, spans, None)


class Destination:
    """An outbox and a backend in a few lines: settles what the triage decides."""

    def __init__(
        self, count: int, answer: Callable[[list[int]], Outcome], *, max_traces: int = 8
    ) -> None:
        self.triage = Triage(rng=random.Random(1), max_traces=max_traces)
        self.waiting = {seq: pending(seq) for seq in range(1, count + 1)}
        self.answer = answer
        self.sent: list[list[int]] = []
        self.delivered: list[int] = []
        self.rejected: dict[int, str] = {}
        self.parked: dict[int, int] = {}
        self.waits: list[float] = []

    def step(self) -> bool:
        due = [one for seq, one in sorted(self.waiting.items()) if seq not in self.parked]
        due = due[: self.triage.window[0]]
        if not due:
            return False
        chosen = list(self.triage.choose(due))
        names = [one.no for one in chosen]
        self.sent.append(names)
        decision = self.triage.learn(chosen, self.answer(names), now_ns=START_NS)
        for result in decision.results:
            if result.state is TraceState.DELIVERED:
                self.delivered.append(result.no)
                del self.waiting[result.no]
            elif result.state is TraceState.REJECTED:
                self.rejected[result.no] = result.reason or ""
                del self.waiting[result.no]
            else:
                self.parked[result.no] = result.parked_until_ns or 0
        if decision.unpark:
            self.parked.clear()
        self.waits.append(decision.wait_s)
        return True

    def run(self, max_steps: int = 200) -> None:
        while max_steps and self.step():
            max_steps -= 1


def refuses(*poison: int, outcome: Outcome) -> Callable[[list[int]], Outcome]:
    return lambda names: outcome if set(names) & set(poison) else Accepted()


@pytest.mark.parametrize("poison", [(1,), (5,), (19,), (3, 4), (1, 19), (7, 8, 9)])
def test_an_invalid_trace_is_rejected_alone(poison: tuple[int, ...]) -> None:
    """A request at fault is halved down to the traces that are; the others get through."""
    backend = Destination(20, refuses(*poison, outcome=Invalid("400: bad span")))
    backend.run()
    assert sorted(backend.rejected) == sorted(poison)
    assert sorted(backend.delivered) == [one for one in range(1, 21) if one not in poison]
    assert backend.triage.problem is None


def test_a_destination_that_calls_every_trace_invalid_rejects_none() -> None:
    """As with a header that it misses: nothing else is taken either."""
    backend = Destination(20, lambda _: Accepted())
    backend.run(1)
    backend.answer = lambda _: Invalid("400: missing dataset header")
    backend.run(60)
    assert not backend.rejected
    assert len(backend.waiting) == 12
    assert backend.triage.problem == "400: missing dataset header"
    backend.answer = lambda _: Accepted()
    backend.run()
    assert sorted(backend.delivered) == list(range(1, 21))


@pytest.mark.parametrize("poison", [(1,), (5,), (11,), (1, 2), (3, 9)])
@pytest.mark.parametrize(
    ("outcome", "parked_s"), [(Refused("500"), 3600), (Unavailable("504: timeout"), 600)]
)
def test_a_trace_that_alone_is_not_taken_is_parked(
    poison: tuple[int, ...], outcome: Outcome, parked_s: int
) -> None:
    """A backend that fails at one trace, or never answers it, takes all the others."""
    backend = Destination(12, refuses(*poison, outcome=outcome))
    backend.run()
    assert sorted(backend.parked) == sorted(poison)
    assert set(backend.parked.values()) == {START_NS + parked_s * SECOND_NS}
    assert sorted(backend.delivered) == [one for one in range(1, 13) if one not in poison]
    assert backend.triage.problem is None


def test_a_destination_that_refuses_all_is_asked_seldom_and_with_single_traces() -> None:
    """Nothing is parked or rejected for a fault that is the destination's."""
    backend = Destination(20, lambda _: Refused("401: wrong header"))
    backend.run(50)
    assert not backend.parked
    assert not backend.rejected
    assert {len(names) for names in backend.sent[1:]} == {1}
    assert len({names[0] for names in backend.sent[1:]}) == 8, "several traces are tried"
    assert all(5.0 <= wait <= 300.0 for wait in backend.waits[1:])
    assert backend.triage.problem == "401: wrong header"


def test_waits_grow_with_failures_and_keep_retry_after() -> None:
    """Exponential with jitter, never shorter than what the backend asked for."""
    triage = Triage(rng=random.Random(1), max_traces=8)
    waits = [
        triage.learn([pending(1)], Unavailable("no route", answered=False), now_ns=0).wait_s
        for _ in range(40)
    ]
    assert max(waits[:2]) <= 2.0
    assert 10.0 < max(waits[10:]) <= 60.0
    asked = triage.learn([pending(1)], Unavailable("429", 120.0), now_ns=0).wait_s
    assert 120.0 <= asked <= 125.0


def test_an_outage_blames_no_trace() -> None:
    """A destination that is not reached says nothing about traces."""
    backend = Destination(6, lambda _: Unavailable("connection refused", answered=False))
    backend.run(30)
    assert backend.sent == [[1, 2, 3, 4, 5, 6]] * 30
    assert not backend.parked


@pytest.mark.parametrize(
    ("traces", "rejected", "state"),
    [
        (2, 1, TraceState.DELIVERED),
        (1, 1, TraceState.REJECTED),
        (2, 4, TraceState.REJECTED),
        (2, 99, TraceState.REJECTED),
    ],
)
def test_a_partial_success_is_settled_at_once(
    traces: int, rejected: int, state: TraceState
) -> None:
    """The specification forbids to send it again; which spans were meant is not told."""
    triage = Triage(rng=random.Random(1), max_traces=8)
    sent = [pending(one) for one in range(traces)]
    decision = triage.learn(sent, Accepted(rejected, "too old"), now_ns=0)
    assert [one.state for one in decision.results] == [state] * traces
    assert decision.spans_rejected == min(rejected, 2 * traces)
    assert decision.spans_delivered == 2 * traces - decision.spans_rejected


@pytest.mark.parametrize("seed", range(15))
def test_no_trace_is_ever_lost_or_stuck(seed: int) -> None:
    """Whatever mixture of answers comes, each trace ends delivered, rejected or parked."""
    rng = random.Random(seed)
    poison = {
        one: rng.choice(["invalid", "refused", "silent"]) for one in rng.sample(range(1, 41), 5)
    }
    outcomes: dict[str, Outcome] = {
        "invalid": Invalid("400"),
        "refused": Refused("500"),
        "silent": Unavailable("504"),
    }

    def answer(names: list[int]) -> Outcome:
        if rng.random() < 0.1:
            return Unavailable("reset", answered=rng.random() < 0.5)
        for name in names:
            if name in poison:
                return outcomes[poison[name]]
        return Accepted()

    backend = Destination(40, answer)
    for later in range(41, 641):
        # Life goes on: a trace can only be told from its destination by others that are taken.
        backend.step()
        backend.waiting[later] = pending(later)
    backend.run(2000)
    assert set(poison) <= {*backend.rejected, *backend.parked}
    # One that is parked in a moment of trouble is tried again.
    assert set(backend.rejected) <= {one for one, kind in poison.items() if kind == "invalid"}
    assert sorted([*backend.delivered, *backend.rejected, *backend.parked]) == list(range(1, 641))
    assert len(backend.parked) <= 5, "the unlucky ones besides the poison are few"
