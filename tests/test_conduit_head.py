"""Head pages: what was read before is not read again, and what changed always is."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.conduit.decoding import decode_json
from exporter.conduit.head import read_head
from exporter.conduit.parsing import parse_page, parse_run
from exporter.errors import SourceMalformed
from exporter.models import HeadPage, Page, Run, Unreadable
from tests.conduit_support import AGENT, WORKSPACE, converse, documented_run, json_answer, page_of


def row(run_id: str, **over: Any) -> dict[str, Any]:
    return documented_run() | {"id": run_id} | over


def body_of(*rows: Any, cursor: str | None = None, more: bool = False) -> bytes:
    return json.dumps({"data": rows, "next_cursor": cursor, "has_more": more}).encode()


def parse(value: Any) -> Run | Unreadable:
    return parse_run(value, workspace_id=WORKSPACE, agent_id=AGENT)


def head(body: bytes, known: HeadPage | None = None) -> HeadPage:
    return read_head(body, decode=lambda: decode_json(body), parse_row=parse, known=known)


def whole(body: bytes) -> Page[Run]:
    return parse_page(decode_json(body), parse)


def page(read: HeadPage) -> Page[Run]:
    assert read.page is not None
    return read.page


def test_the_client_gives_what_the_answer_before_gave() -> None:
    """One request each, the second of them not read again."""
    talk = converse(json_answer(page_of(row("ar1"))), json_answer(page_of(row("ar1"))))

    async def twice() -> tuple[HeadPage, HeadPage]:
        ask = talk.client.head_page
        first = await ask(workspace_id=WORKSPACE, agent_id=AGENT, limit=10, known=None)
        return first, await ask(workspace_id=WORKSPACE, agent_id=AGENT, limit=10, known=first)

    first, second = asyncio.run(twice())
    assert [run.id for run in page(first).rows] == ["ar1"]
    assert second.page is None
    assert second.rows == first.rows


def test_the_same_rows_again_are_the_same_page_whatever_the_cursor_says() -> None:
    """A cursor may differ at each poll, with the time of day in it."""
    first = head(body_of(row("ar2"), row("ar1"), cursor="a", more=True))
    second = head(body_of(row("ar2"), row("ar1"), cursor="b", more=True), first)

    assert second.page is None
    assert second.rows == first.rows


def test_a_row_that_is_the_same_is_the_same_run() -> None:
    """Only what is new is read; the order is the page's."""
    first = head(body_of(row("ar1")))
    second = head(body_of(row("ar2"), row("ar1")), first)

    assert [run.id for run in page(second).rows] == ["ar2", "ar1"]
    assert page(second).rows[1] is page(first).rows[0]


def test_a_row_that_changed_in_any_field_is_read_again_and_no_other() -> None:
    """A cost that is corrected, a status that moves on."""
    old = [row("ar3"), row("ar2", status="running"), row("ar1")]
    first = head(body_of(*old))
    old[1] = row("ar2", status="completed")
    second = head(body_of(*old), first)

    assert [run.status for run in page(second).rows] == ["completed"] * 3
    assert page(second).rows[0] is page(first).rows[0]
    assert page(second).rows[2] is page(first).rows[2]


def test_a_row_that_is_gone_is_gone() -> None:
    """Deleted, or pushed off the page's end: what is left is no longer the same page."""
    first = head(body_of(row("ar3"), row("ar2"), row("ar1")))
    for rows in ([row("ar3"), row("ar1")], [row("ar3"), row("ar2")], [row("ar2"), row("ar1")]):
        body = body_of(*rows)
        assert page(head(body, first)) == whole(body)


def test_the_same_rows_with_more_behind_them_are_another_page() -> None:
    """Rows that came late may lie below."""
    first = head(body_of(row("ar1")))
    second = head(body_of(row("ar1"), cursor="c", more=True), first)

    assert not first.has_more
    assert page(second).next_cursor == "c"
    assert second.has_more


def test_rows_that_cannot_be_read_are_read_every_time() -> None:
    """Nothing of them is remembered as understood."""
    broken = row("ar1") | {"created_at": "never"}
    first = head(body_of(broken))
    second = head(body_of(broken, {"id": ["odd"]}, row("ar2")), first)

    assert first.rows == ()
    assert [one.run_id for one in page(second).unreadable] == ["ar1", None]
    assert [one.run.id for one in second.rows] == ["ar2"]
    assert head(body_of(broken), head(body_of())).page is not None


AR1 = json.dumps(row("ar1")).encode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[]}',
        b'\xef\xbb\xbf{"data":[%s]}' % AR1,
        b'\n{ "data" :\t[ %s , %s ] , "has_more" : false }\n' % (AR1, AR1.replace(b"ar1", b"ar2")),
        b'{"has_more":false,"data":[%s]}' % AR1,
        b'{"data":[%s],"data":[%s]}' % (AR1, AR1.replace(b"ar1", b"ar2")),
        b'{"data":[%s],"data":[]}' % AR1,
        b'{"data":[%s,null,7,"x",[1],{}]}' % AR1,
        b'{"data":[%s],"next_cursor":"c","has_more":true}' % AR1,
        b'{"data":[%s]}' % AR1.replace(b"ar1", b"a\\u0000"),
        b'{"data":[%s]}' % AR1.replace(b"ar1", b"\\ud800"),
        b'{"data":[%s]}' % AR1.replace(b"ar1", b"\xff\xfe"),
        b'{"data":[%s]}' % AR1.replace(b"ar1", "Grüße ☀ 😀".encode()),
        b'{"data":[%s]}' % AR1.replace(b"4213", b"9" * 5000),
    ],
)
def test_a_page_is_the_same_however_it_is_read(body: bytes) -> None:
    """By rows or whole, with rows known or not."""
    expected = whole(body)
    first = head(body)
    assert page(first) == expected
    assert first.has_more == (expected.next_cursor is not None)
    second = head(body, first)
    assert second.page in (None, expected)
    assert second.rows == first.rows


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"data":',
        b'{"data":[',
        b'{"data":[%s' % AR1,
        b'{"data":[%s,' % AR1,
        b'{"data":[%s]' % AR1,
        b'{"data":[%s],' % AR1,
        b'{"data":[%s]} and more' % AR1,
        b'{"data":[%s,]}' % AR1,
        b'{"data":[%s,\x0b%s]}' % (AR1, AR1),
        b'{"data":[%s\xc2\xa0]}' % AR1,
        b'{"data":[%s]]}' % AR1,
        b'{"data":[%s],"has_more":true}' % AR1,
        b'{"data":[%s]}' % (b"[" * 100_000),
        b'{"data":{"a":%s}}' % AR1,
        b"<html>",
    ],
)
def test_what_is_no_page_is_malformed(body: bytes) -> None:
    """Whatever of it was known."""
    known = head(body_of(row("ar1")))
    for before in (None, known):
        with pytest.raises(SourceMalformed):
            head(body, before)


ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from(["ar1", "ar2", "ar3", "ar4"]),
        status=st.sampled_from(["running", "completed"]),
        total_cost=st.sampled_from([None, 0.1, 1]),
        error=st.sampled_from([None, '"},{"id":"ar9"}],"', "ü", "😀"]),
    ),
    max_size=5,
)


@given(
    pages=st.lists(ROWS, min_size=1, max_size=6),
    form=st.sampled_from([(",", ":", True), (", ", ": ", False), ("\n,\t", " : ", False)]),
)
def test_a_sequence_of_pages_is_read_as_each_alone(
    pages: list[list[dict[str, Any]]], form: tuple[str, str, bool]
) -> None:
    """Whatever came before: the same rows, and None only where they are those of before."""
    known: HeadPage | None = None
    before: Page[Run] | None = None
    for rows in pages:
        comma, colon, ascii_only = form
        text = json.dumps({"data": rows}, separators=(comma, colon), ensure_ascii=ascii_only)
        body = text.encode()
        read, expected = head(body, known), whole(body)
        assert (before if read.page is None else read.page) == expected
        assert tuple(one.run for one in read.rows) in (expected.rows, ())
        known, before = read, expected
