"""Generated runs and what is in them: the same for the same seed, and as odd as life is."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from exporter.demo.conduit import SimulatedConduit
from exporter.demo.directory import Scenario
from exporter.demo.generator import Disorder, GeneratedRuns, RunProfile
from exporter.demo.guests import GUESTS, PRIVATE_MARKS
from exporter.demo.ids import NumberedIds
from exporter.demo.runs import SECOND_NS, RunContent, SimRun
from exporter.demo.scenario import DEMO_TOKEN, busy_week, hospitality
from tests.fakes import START_NS, FakeClock

HOUR_S = 3600.0
AGENT = "ag77generated"


def generated(seed: int = 1, **over: Any) -> GeneratedRuns:
    profile = RunProfile(runs_per_hour=600, **over)
    return GeneratedRuns(agent_id=AGENT, seed=seed, start_ns=START_NS, profile=profile)


def arrived(runs: GeneratedRuns, seconds: float = HOUR_S) -> list[SimRun]:
    """The runs of the first `seconds`, whole."""
    arrivals = list(runs.arrivals(START_NS + round(seconds * SECOND_NS)))
    return [runs.run(one.number) for one in arrivals]


def hotel(seed: int = 1, **over: Any) -> SimulatedConduit:
    clock = FakeClock()
    scenario = hospitality(seed=seed, start_ns=clock.now_ns(), **{"history_s": 7200.0, **over})
    return SimulatedConduit(now_ns=clock.now_ns, scenario=scenario)


def contents(conduit: SimulatedConduit) -> Iterator[tuple[SimRun, RunContent]]:
    """Every visible run with its content."""
    for agent_id in conduit.data.agents:
        for run_id in conduit.data.run_ids(agent_id):
            yield conduit.data.run(run_id), conduit.data.content(run_id)


def items_of(content: RunContent) -> list[Any]:
    items = json.loads(content.tool_trace) if content.tool_trace is not None else []
    assert isinstance(items, list)
    return items


def written(content: RunContent) -> str:
    """All free text of a run, JSON escapes undone."""
    trace = json.dumps(items_of(content), ensure_ascii=False)
    return "\n".join((content.response or "", content.reflection or "", trace))


@pytest.mark.parametrize(
    "scenario",
    [
        lambda seed: hospitality(seed=seed, start_ns=START_NS, history_s=1800.0),
        lambda seed: busy_week(seed=seed, start_ns=START_NS - 1800 * SECOND_NS, agents=6),
    ],
)
def test_a_scenario_is_decided_by_its_seed(scenario: Callable[[int], Scenario]) -> None:
    """Two simulations of one seed show the same, byte for byte; another seed shows another."""

    def shown(seed: int) -> list[Any]:
        conduit = SimulatedConduit(now_ns=FakeClock().now_ns, scenario=scenario(seed))
        workspaces = list(conduit.data.workspaces.values())
        agents = [state.agent.fields() for state in conduit.data.agents.values()]
        return [workspaces, agents, list(contents(conduit))]

    once, again, other = shown(1), shown(1), shown(2)
    assert once == again
    assert once[2]
    assert not {run.id for run, _ in once[2]} & {run.id for run, _ in other[2]}


def test_a_run_is_the_same_in_whatever_order_it_is_looked_at() -> None:
    """Nothing is drawn when a run is read: neither order nor repetition changes it."""
    forwards, backwards = generated(), generated()
    expected = arrived(forwards)
    numbers = range(len(expected))
    list(backwards.arrivals(START_NS + round(HOUR_S * SECOND_NS)))
    assert [backwards.run(number) for number in reversed(numbers)] == expected[::-1]
    assert [forwards.run(number) for number in numbers] == expected


def test_arrivals_do_not_depend_on_how_often_one_looks() -> None:
    """The runs of an hour are the same second by second or all at once."""
    at_once, by_second = generated(), generated()
    seconds = range(1, round(HOUR_S) + 1)
    found = [one for at in seconds for one in by_second.arrivals(START_NS + at * SECOND_NS)]
    assert found == list(at_once.arrivals(START_NS + round(HOUR_S * SECOND_NS)))
    assert all(one.created_ns < other.created_ns for one, other in pairwise(found))


def test_ids_lead_back_to_their_numbers() -> None:
    """No two runs share an id, and only an agent's own ids are read."""
    ours, theirs = NumberedIds(rng=Random(1)), NumberedIds(rng=Random(2))
    names = [ours.id_of(number) for number in range(5000)]
    assert len(set(names)) == 5000
    assert [ours.number_of(name) for name in names] == list(range(5000))
    assert names != sorted(names)
    assert all(len(name) == 32 and name.startswith("ar77") for name in names)
    strangers = [theirs.id_of(0), "", "ar77", names[0][:-1], names[0] + "0", names[0][:-1] + "!"]
    assert [ours.number_of(name) for name in strangers] == [None] * len(strangers)


def test_a_run_not_yet_made_is_unknown() -> None:
    """An id of the future is nobody's."""
    runs = generated()
    made = arrived(runs)
    assert runs.number_of(made[-1].id) == len(made) - 1
    assert runs.number_of(runs.run_id(len(made))) is None


def test_rate_and_history_are_as_asked() -> None:
    """A run every four seconds at rate 1, from the beginning of the history on."""
    count = len(list(contents(hotel())))
    assert 0.9 < count / (7200 / 4) < 1.1
    assert 0.85 < len(list(contents(hotel(rate=0.5)))) / (7200 / 8) < 1.15
    assert list(contents(hotel(history_s=0.0))) == []


def test_runs_are_as_unequal_as_in_life() -> None:
    """Outcomes, prices, trace ids and measurements: all that the schema allows occurs."""
    runs = [run for run, _ in contents(hotel())]
    ended = [run for run in runs if run.ended(START_NS)]
    failed = [run for run in ended if run.status == "failed"]
    assert 0.01 < len(failed) / len(ended) < 0.08
    assert all(run.error and run.disposition is None for run in failed)
    assert {run.disposition for run in ended} == {
        *("escalated", "escalation_and_answer", "resolved", "unresolved", "no_op", "proactive"),
        None,
    }
    assert {run.trace_id is None or len(run.trace_id) for run in runs} == {True, 16, 32, 36}
    assert any(run.input_tokens is None for run in ended)
    assert any(run.duration_ns is None for run in ended)
    costs = [run.cost for run in ended if run.cost is not None]
    assert any(len(cost) > 16 for cost in costs)
    assert any("e" in cost for cost in costs)
    assert "0" in costs


def test_internal_agents_have_no_price_and_no_guest() -> None:
    """They are billed in credits: their cost is null, and nothing personal is near them."""
    conduit = hotel()
    (internal,) = (
        state.agent.id for state in conduit.data.agents.values() if "Internal" in str(state.agent)
    )
    runs = [(run, content) for run, content in contents(conduit) if run.agent_id == internal]
    assert runs
    for run, content in runs:
        assert run.cost is None
        assert run.contact_id is None
        assert content.response is None
        assert content.reflection is None


def test_guests_are_written_to_in_their_languages() -> None:
    """Accents, other scripts, right-to-left text, emoji and line breaks are in the replies."""
    replies = "\n".join(content.response or "" for _, content in contents(hotel()))
    assert all(
        word in replies
        for word in ("Dear ", "Guten Tag", "Bonjour", "añadido", "è pronta", "Dzień")
    )
    assert all(mark in replies for mark in ("様", "مرحبا", "🥐", "!\n", "\n¡"))


def test_every_reply_and_reflection_carries_a_private_mark() -> None:
    """A leak of either can be seen, whoever the guest was."""
    replies, reflections = 0, 0
    for _, content in contents(hotel()):
        for text in (content.response, content.reflection):
            assert text is None or any(mark in text for mark in PRIVATE_MARKS), text
        replies += content.response is not None
        reflections += content.reflection is not None
    assert replies > 500
    assert reflections > 1000


def test_every_guests_marks_occur() -> None:
    """Names, e-mail addresses, phone and card numbers of all guests are somewhere."""
    everything = "\n".join(written(content) for _, content in contents(hotel()))
    assert [mark for mark in PRIVATE_MARKS if mark not in everything] == []
    assert len({guest.email for guest in GUESTS}) == len(GUESTS)


def test_nothing_personal_is_anybodys() -> None:
    """Addresses and numbers are those that are reserved for examples."""
    for guest in GUESTS:
        assert guest.email.endswith(".example")
        assert guest.phone.startswith("+1 202 555 01")
        assert guest.card in ("4111 1111 1111 1111", "5555 5555 5555 4444", "3782 822463 10005")


def shape_of(item: Any) -> str:
    """The kind of an item: its JSON type, and for an object the key that tells the spelling."""
    if isinstance(item, dict):
        for key in ("tool_name", "tool", "function", "started_at", "name"):
            if key in item:
                return key if item[key] else f"{key} without a name"
        return "object without a name" if item else "empty object"
    if isinstance(item, list) and item and isinstance(item[0], str):
        return "list with a name"
    if isinstance(item, str):
        return "bare name" if item.isidentifier() else "prose"
    return type(item).__name__


def test_tool_items_have_every_shape_in_small_numbers() -> None:
    """The documented item is the commonest; each other spelling and JSON type occurs."""
    shapes = Counter(
        shape_of(item) for _, content in contents(hotel()) for item in items_of(content)
    )
    assert set(shapes) == {
        *("name", "tool_name", "tool", "function", "started_at", "bare name", "list with a name"),
        *("NoneType", "int", "float", "bool", "list", "prose"),
        *("empty object", "object without a name", "name without a name"),
    }
    total = shapes.total()
    assert 0.4 < shapes["name"] / total < 0.7
    assert shapes["NoneType"] / total < 0.05
    odd = ("int", "float", "bool", "list", "prose", "empty object")
    assert sum(shapes[one] for one in odd) / total < 0.02


def test_tool_traces_may_be_null_or_empty() -> None:
    """A run without a call has no list, or one without items."""
    traces = {content.tool_trace for _, content in contents(hotel())}
    assert {None, "[]"} <= traces


def test_what_is_said_of_the_tools_is_in_the_items() -> None:
    """For each item but null there is one (name, failed), in order; named ones bear the name."""
    failures = 0
    for run, content in contents(hotel()):
        items = [item for item in items_of(content) if item is not None]
        assert len(items) == len(content.tools)
        for item, (name, failed) in zip(items, content.tools, strict=True):
            text = json.dumps(item)
            assert name == "unknown" or f'"{name}"' in text
            said = any(mark in text for mark in ('"error"', '"is_error": true', '"success": false'))
            assert said == failed or ('"error": null' in text and not failed)
            failures += failed
        if run.status == "failed" and any(name != "unknown" for name, _ in content.tools):
            assert any(failed for _, failed in content.tools)
    assert failures > 50


def test_tool_times_lie_inside_their_run_one_after_the_other() -> None:
    """Where an item says when, it was while the run was under way."""
    seen = 0
    for run, content in contents(hotel(history_s=1800.0)):
        last = ""
        for item in items_of(content):
            if isinstance(item, dict) and "started_at" in item:
                assert last <= item["started_at"] <= item["completed_at"]
                last = item["completed_at"]
                seen += 1
            if isinstance(item, dict) and "start_time" in item:
                start_ns = item["start_time"] * 1_000_000
                end_ns = start_ns + item["duration_ms"] * 1_000_000
                assert run.completed_ns is not None
                assert run.created_ns - 1_000_000 < start_ns <= end_ns <= run.completed_ns
    assert seen > 100


def test_disorder_makes_runs_long_stuck_late_and_short_lived() -> None:
    """Each kind of misbehaviour occurs in about its share, and in no other run."""
    disorder = Disorder(long_ratio=0.1, stuck_ratio=0.1, late_ratio=0.2, deleted_ratio=0.1)
    runs = generated(disorder=disorder)
    arrivals = list(runs.arrivals(START_NS + 4 * round(HOUR_S) * SECOND_NS))
    count = len(arrivals)
    stuck = [one for one in arrivals if one.completed_ns is None]
    lengths = [
        one.completed_ns - one.created_ns for one in arrivals if one.completed_ns is not None
    ]
    late = [one for one in arrivals if one.visible_ns > one.created_ns + SECOND_NS]
    gone = [one for one in arrivals if one.deleted_ns is not None]
    for found, share in (
        (len(stuck), 0.1),
        (sum(length >= 600 * SECOND_NS for length in lengths), 0.1),
        (len(late), 0.2),
        (len(gone), 0.1),
    ):
        assert 0.8 < found / count / share < 1.2
    assert all(one.deleted_ns > one.visible_ns for one in gone if one.deleted_ns is not None)
    for one in stuck:
        assert runs.run(one.number).duration_ns is None
        assert runs.run(one.number).status_at(START_NS + (1 << 50)) == "running"


def test_order_is_the_default() -> None:
    """Without disorder every run ends within its longest time and nothing is late or deleted."""
    for one in generated().arrivals(START_NS + round(HOUR_S) * SECOND_NS):
        assert one.completed_ns is not None
        assert one.completed_ns - one.created_ns <= 61 * SECOND_NS
        assert one.deleted_ns is None


def test_runs_stay_in_flight_and_end_as_time_passes() -> None:
    """The hotel is never quiet: runs are under way at any moment, and every one of them ends."""
    clock = FakeClock()
    scenario = hospitality(seed=1, start_ns=clock.now_ns(), history_s=300.0)
    conduit = SimulatedConduit(now_ns=clock.now_ns, scenario=scenario)
    data = conduit.data
    before = {run.id for run, _ in contents(conduit)}
    in_flight = {run.id for run, _ in contents(conduit) if not run.ended(clock.now_ns())}
    assert in_flight
    clock.advance(120)
    assert all(data.run(run_id).ended(clock.now_ns()) for run_id in in_flight)
    later = {run.id: run for run, _ in contents(conduit)}
    assert before < set(later)
    assert any(not run.ended(clock.now_ns()) for run in later.values())


def test_a_busy_week_has_days_and_nights_and_unequal_agents() -> None:
    """Afternoons are busier than nights, and the first agent is far busier than the last."""
    scenario = busy_week(seed=1, start_ns=0, runs_a_week=20_000)
    hours: Counter[int] = Counter()
    counts = []
    for agent in scenario.agents:
        assert agent.runs is not None
        arrivals = list(agent.runs.arrivals(7 * 24 * 3600 * SECOND_NS))
        counts.append(len(arrivals))
        hours.update(one.created_ns // (3600 * SECOND_NS) % 24 for one in arrivals)
    assert 0.95 < sum(counts) / 20_000 < 1.05
    assert counts[0] > 20 * counts[-1]
    assert hours[16] > 4 * hours[3]
    assert set(scenario.tokens) == {DEMO_TOKEN}
