"""Head pages: what was read before is not read again, and what changed always is."""

import asyncio
from typing import Any

import httpx

from exporter.models import HeadPage
from tests.conduit_support import AGENT, WORKSPACE, converse, documented_run, json_answer, page_of


def row(run_id: str, **over: Any) -> dict[str, Any]:
    return documented_run() | {"id": run_id} | over


def head_of(*rows: dict[str, Any]) -> httpx.Response:
    return json_answer(page_of(*rows))


def read(*answers: httpx.Response, forget: bool = False) -> list[HeadPage]:
    """The head read once for each answer, each time with what the one before gave."""
    talk = converse(*answers)

    async def all_of_them() -> list[HeadPage]:
        found: list[HeadPage] = []
        known: HeadPage | None = None
        for _ in answers:
            known = await talk.client.head_page(
                workspace_id=WORKSPACE, agent_id=AGENT, limit=10, known=known
            )
            found.append(known)
            if forget:
                known = HeadPage(None, None, known.read)
        return found

    return asyncio.run(all_of_them())


def test_the_same_answer_again_is_not_parsed() -> None:
    """Its digest tells, and what was read of it is kept for the next one."""
    first, second = read(head_of(row("ar1")), head_of(row("ar1")))

    assert first.page is not None
    assert second.page is None
    assert second.digest == first.digest
    assert second.read == first.read


def test_a_row_that_is_the_same_is_the_same_run() -> None:
    """Only what is new is read; the order is the page's."""
    old, new = row("ar1"), row("ar2")
    first, second = read(head_of(old), head_of(new, old))

    assert first.page is not None
    assert second.page is not None
    assert [run.id for run in second.page.rows] == ["ar2", "ar1"]
    assert second.page.rows[1] is first.page.rows[0]


def test_a_row_that_changed_in_any_field_is_read_again() -> None:
    """A cost that is corrected, a status that moves on."""
    first, second = read(
        head_of(row("ar1", status="running")),
        head_of(row("ar1", status="completed")),
    )

    assert first.page is not None
    assert second.page is not None
    assert first.page.rows[0].status == "running"
    assert second.page.rows[0].status == "completed"


def test_an_answer_that_is_to_be_read_again_is() -> None:
    """Whoever misses a run on a page counts it missed at every reading."""
    first, second = read(head_of(row("ar1")), head_of(row("ar1")), forget=True)

    assert second.page is not None
    assert second.page == first.page


def test_rows_that_cannot_be_read_are_read_every_time() -> None:
    """Nothing of them is remembered as understood."""
    broken = row("ar1") | {"created_at": "never"}
    first, second = read(head_of(broken), head_of(broken, {"id": ["odd"]}, row("ar2")))

    assert first.read == {}
    assert second.page is not None
    assert [one.run_id for one in second.page.unreadable] == ["ar1", None]
    assert list(second.read) == ["ar2"]
