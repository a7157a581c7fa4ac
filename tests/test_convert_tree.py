"""A trace as a tree that a person reads."""

from decimal import Decimal

from exporter.convert.tree import render_tree
from tests.convert_support import trace_of
from tests.factories import make_run


def tree_of(*items: object, **run: object) -> list[str]:
    return render_tree(trace_of(*items, run=make_run(**run))).splitlines()  # type: ignore[arg-type]


def test_branches_hold_their_lines_together() -> None:
    """All but the last child are followed by the trunk."""
    lines = tree_of({"name": "first"}, {"name": "second"})

    assert "├─ execute_tool first" in lines
    assert "└─ execute_tool second" in lines
    first, second = lines.index("├─ execute_tool first"), lines.index("└─ execute_tool second")
    assert all(line.startswith("│    ") for line in lines[first + 1 : second])
    assert all(line.startswith("     ") for line in lines[second + 1 :])
    assert all(line.startswith("     ") for line in tree_of()[2:])


def test_a_failure_says_why() -> None:
    """The description stands behind the status."""
    lines = tree_of(status="failed", error="No answer\nfrom the model")
    assert any(line.strip().startswith("status") and "error: No answer" in line for line in lines)
    lines = tree_of({"name": "pay", "status": "failed"})
    assert any(line.strip().split() == ["status", "error"] for line in lines)


def test_numbers_and_truths_are_written_for_people() -> None:
    """A cost is never 1e-07, a truth is true."""
    lines = tree_of(cost_usd=Decimal("1e-7"), time_adjusted=True)

    assert any(line.endswith("  0.0000001") for line in lines)
    assert any("conduit.time_adjusted" in line and line.endswith("  true") for line in lines)


def test_what_a_terminal_would_obey_is_shown() -> None:
    """An id with an escape in it neither colours nor turns the line."""
    tree = render_tree(trace_of(run=make_run(conversation_id="a\x1b[31m\u202eb\nc")))

    assert "\x1b" not in tree
    assert r"a\x1b[31m\u202eb\nc" in tree
