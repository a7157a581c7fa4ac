"""Pages of the simulated Conduit while its data changes: both kinds of cursor, and their end."""

import json
from itertools import chain
from typing import Any

import pytest

from exporter.demo.answers import SimResponse
from exporter.demo.conduit import SimulatedConduit
from exporter.demo.cursors import TOP_KEY, Cursor, CursorKind, Place, decode_cursor, encode_cursor
from exporter.demo.runs import SECOND_NS, SimRun
from tests.demo_support import (
    AG1,
    AG2,
    ask,
    ids_of,
    parsed,
    runs_path,
    sim_run,
    small_conduit,
    walk,
)
from tests.fakes import START_NS, FakeClock

KINDS: tuple[CursorKind, ...] = ("offset", "keyset")
OLDEST_FIRST = [f"ar77{at:02d}" for at in range(12)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def run_at(number: int, **over: Any) -> SimRun:
    """The run with this number, created that many seconds after the first."""
    created_ns = START_NS - (60 - number) * SECOND_NS
    return sim_run(f"ar77{number:02d}", created_ns=created_ns, **over)


def twelve_runs(clock: FakeClock, kind: CursorKind, **over: Any) -> SimulatedConduit:
    return small_conduit(clock, *map(run_at, range(12)), cursors=kind, **over)


def next_of(response: SimResponse) -> str:
    cursor = parsed(response)["next_cursor"]
    assert isinstance(cursor, str)
    return cursor


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1, 5, 12, 100])
def test_pages_show_each_run_once_newest_first(
    clock: FakeClock, kind: CursorKind, limit: int
) -> None:
    """Whatever the page size, a list that rests is read whole; the last page has no cursor."""
    pages = list(walk(twelve_runs(clock, kind), runs_path(), limit=limit))
    assert list(chain(*pages)) == OLDEST_FIRST[::-1]
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert pages[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_has_more_says_what_the_cursor_says(clock: FakeClock, kind: CursorKind) -> None:
    """A full last page is a last page."""
    conduit = twelve_runs(clock, kind)
    more, last = (parsed(ask(conduit, runs_path(), f"limit={limit}")) for limit in (11, 12))
    assert (more["has_more"], more["next_cursor"] is None) == (True, False)
    assert (last["has_more"], last["next_cursor"]) == (False, None)


@pytest.mark.parametrize(
    ("kind", "second"),
    [("offset", ["ar7709", "ar7708", "ar7707"]), ("keyset", ["ar7708", "ar7707", "ar7706"])],
)
def test_a_run_that_arrives_shifts_offsets_alone(
    clock: FakeClock, kind: CursorKind, second: list[str]
) -> None:
    """Counted rows come again when a new one pushes them down."""
    conduit = twelve_runs(clock, kind)
    pages = walk(conduit, runs_path(), limit=3)
    assert next(pages) == ["ar7711", "ar7710", "ar7709"]
    conduit.data.add_run(run_at(12))
    assert next(pages) == second


@pytest.mark.parametrize(
    ("kind", "second"),
    [("offset", ["ar7707", "ar7706", "ar7705"]), ("keyset", ["ar7708", "ar7707", "ar7706"])],
)
def test_a_run_that_goes_hides_another_from_offsets_alone(
    clock: FakeClock, kind: CursorKind, second: list[str]
) -> None:
    """Counted rows are passed over when one above them is deleted."""
    conduit = twelve_runs(clock, kind)
    pages = walk(conduit, runs_path(), limit=3)
    next(pages)
    conduit.data.delete_run("ar7710")
    assert next(pages) == second


def test_a_keyset_goes_on_below_a_row_that_is_gone(clock: FakeClock) -> None:
    """The last row shown need not be there any more."""
    conduit = twelve_runs(clock, "keyset")
    pages = walk(conduit, runs_path(), limit=3)
    next(pages)
    conduit.data.delete_run("ar7709")
    assert next(pages) == ["ar7708", "ar7707", "ar7706"]


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_one_moment_are_ordered_by_id(clock: FakeClock, kind: CursorKind) -> None:
    """Equal creation times come in one order, on one page or on several."""
    names = ["ar77c", "ar77a", "ar77d", "ar77b"]
    conduit = small_conduit(clock, *map(sim_run, names), cursors=kind)
    for limit in (1, 3, 4):
        pages = walk(conduit, runs_path(), limit=limit)
        assert list(chain(*pages)) == ["ar77d", "ar77c", "ar77b", "ar77a"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", ["accepted", "running", "completed", "failed"])
def test_a_status_filters_before_rows_are_counted(
    clock: FakeClock, kind: CursorKind, status: str
) -> None:
    """A filtered list is paged by its own rows."""
    later_ns = clock.now_ns() + 60 * SECOND_NS
    kinds: list[dict[str, Any]] = [
        {"completed_ns": None, "running_ns": later_ns},
        {"completed_ns": None},
        {"status": "completed"},
        {"status": "failed"},
    ]
    runs = [run_at(number, **kinds[number % 4]) for number in range(12)]
    conduit = small_conduit(clock, *runs, cursors=kind)
    wanted = ("accepted", "running", "completed", "failed").index(status)
    pages = list(walk(conduit, runs_path(), limit=2, status=status))
    assert list(chain(*pages)) == OLDEST_FIRST[wanted::4][::-1]
    assert [len(page) for page in pages] == [2, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_ends_leaves_the_list_of_those_running(
    clock: FakeClock, kind: CursorKind
) -> None:
    """A list by status follows the time."""
    run = run_at(0, completed_ns=START_NS + 5 * SECOND_NS, status="failed")
    conduit = small_conduit(clock, run, cursors=kind)
    assert ids_of(ask(conduit, runs_path(), "status=running")) == [run.id]
    clock.advance(5)
    assert ids_of(ask(conduit, runs_path(), "status=running")) == []
    assert ids_of(ask(conduit, runs_path(), "status=failed")) == [run.id]


def test_a_late_row_appears_where_it_belongs(clock: FakeClock) -> None:
    """A list that lags shows a run late, in its order of creation."""
    conduit = twelve_runs(clock, "offset")
    conduit.data.delete_run("ar7709")
    conduit.data.add_run(run_at(9), visible_ns=clock.now_ns() + 3 * SECOND_NS)
    path = f"{runs_path()}/ar7709"
    assert "ar7709" not in ids_of(ask(conduit, runs_path()))
    assert ask(conduit, path).status == 404
    clock.advance(3)
    assert ids_of(ask(conduit, runs_path())) == OLDEST_FIRST[::-1]
    assert ask(conduit, path).status == 200


def test_cursors_live_for_ever_unless_told_otherwise(clock: FakeClock) -> None:
    """The documentation knows no end of a cursor."""
    conduit = twelve_runs(clock, "offset")
    cursor = next_of(ask(conduit, runs_path(), "limit=3"))
    clock.advance(30 * 24 * 3600)
    assert len(ids_of(ask(conduit, runs_path(), f"cursor={cursor}"))) == 9


@pytest.mark.parametrize("kind", KINDS)
def test_an_expired_cursor_is_gone(clock: FakeClock, kind: CursorKind) -> None:
    """410, counted against the limit, after its life; a new reading gives a cursor that works."""
    conduit = twelve_runs(clock, kind, cursor_life_s=60.0)
    old = next_of(ask(conduit, runs_path(), "limit=3"))
    clock.advance(60)
    renewed = next_of(ask(conduit, runs_path(), f"limit=3&cursor={old}"))
    clock.advance(1)
    refused = ask(conduit, runs_path(), f"limit=3&cursor={old}")
    assert refused.status == 410
    assert json.loads(refused.body) == {"error": "The cursor has expired"}
    assert ask(conduit, runs_path(), f"limit=3&cursor={renewed}").status == 200
    assert sum(conduit.asked.admitted.values()) == 4


def test_a_cursor_says_nothing_that_a_client_could_lean_on(clock: FakeClock) -> None:
    """The same place gives another text a second later, so nobody may compare or make them."""
    conduit = twelve_runs(clock, "offset")
    texts = []
    for _ in range(3):
        texts.append(next_of(ask(conduit, runs_path(), "limit=3")))
        clock.advance(1)
    assert len(set(texts)) == 3
    assert not any(AG1 in text for text in texts)


def test_a_steady_cursor_is_the_same_text_for_the_same_place(clock: FakeClock) -> None:
    """As most APIs have them: an answer that says the same is the same to the byte."""
    conduit = twelve_runs(clock, "offset", steady_cursors=True)
    first = ask(conduit, runs_path(), "limit=3")
    clock.advance(1)
    assert ask(conduit, runs_path(), "limit=3").body == first.body


@pytest.mark.parametrize("place", [0, 7, 10**12, TOP_KEY, (START_NS, "ar77a"), (START_NS, "ar/77")])
def test_a_cursor_is_read_back_for_its_own_list_only(place: Place) -> None:
    """Place and time survive; another list finds nothing in it."""
    text = encode_cursor(f"{AG1}/", Cursor(place, START_NS))
    assert decode_cursor(f"{AG1}/", text) == Cursor(place, START_NS)
    assert decode_cursor(f"{AG2}/", text) is None


@pytest.mark.parametrize("text", ["", "=", "a", "AAAA", "\u00e9", "bm9wZQ==", "fHx8", "\ud800"])
def test_nonsense_is_no_cursor(text: str) -> None:
    """What nobody gave out leads nowhere, and breaks nothing."""
    assert decode_cursor(f"{AG1}/", text) is None
