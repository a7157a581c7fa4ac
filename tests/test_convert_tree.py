"""A trace as a tree that a person reads."""

from decimal import Decimal

from exporter.convert.tree import render_tree
from tests.convert_support import convert_json, example, trace_of
from tests.factories import make_run

DOCUMENTED = """\
trace 00000000000000000f9c2b1d8a7e4f36
  id from Conduit's 0f9c2b1d8a7e4f36, padded
invoke_agent Front desk
│    time                            2026-04-03 03:14:15.000 to 03:14:19.213 UTC, 4.213 s (measured)
│    kind                            client
│    status                          unset
│    gen_ai.operation.name           invoke_agent
"""


def tree_of(*items: object, **run: object) -> list[str]:
    return render_tree(trace_of(*items, run=make_run(**run))).splitlines()  # type: ignore[arg-type]


def test_the_documented_run_reads_well() -> None:
    """Its id and where it comes from, its time with day and length, then what is known."""
    tree = render_tree(convert_json({"data": example()}, agent_name="Front desk"))

    assert tree.startswith(DOCUMENTED)
    assert "└─ execute_tool get_reservation\n     time" in tree
    assert "an instant (synthetic: drawn, not measured)" in tree
    assert "\n│    conduit.run.cost_usd            0.0121\n" in tree


def test_where_the_trace_id_comes_from_is_said() -> None:
    """Given, padded, or derived and why."""
    whole = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
    assert tree_of(trace_id=whole)[1] == "  id as Conduit gives it"
    assert tree_of(trace_id="0f9c2b1d8a7e4f36")[1] == "  id from Conduit's 0f9c2b1d8a7e4f36, padded"
    assert tree_of(trace_id="run 7")[1] == (
        "  id derived from workspace and run: Conduit's run 7 is none"
    )
    assert tree_of(trace_id=None)[1] == "  id derived from workspace and run: Conduit gives none"


def test_a_measured_tool_is_read_against_its_run() -> None:
    """From when to when without the day, unless it is another one."""
    item = {"name": "pay", "started_at": "2026-04-03T03:04:16Z", "duration_ms": 1500.25}
    line = next(line for line in tree_of(item) if "(measured)" in line and "03:04:16" in line)

    assert (
        line.split("  ")[-1].strip() == "03:04:16.000 to 03:04:17.500250 UTC, 1.500250 s (measured)"
    )


def test_a_failure_says_why() -> None:
    """The description stands behind the status."""
    lines = tree_of(status="failed", error="No answer\nfrom the model")
    assert any(line.strip().startswith("status") and "error: No answer" in line for line in lines)
    lines = tree_of({"name": "pay", "status": "failed"})
    assert any(line.strip().split() == ["status", "error"] for line in lines)


def test_what_a_terminal_would_obey_is_shown() -> None:
    """An id with an escape in it neither colours nor turns the line."""
    tree = render_tree(trace_of(run=make_run(conversation_id="a\x1b[31m\u202eb\nc")))

    assert "\x1b" not in tree
    assert r"a\x1b[31m\u202eb\nc" in tree


def test_numbers_and_truths_are_written_for_people() -> None:
    """A cost is never 1e-07, a truth is true."""
    lines = tree_of(cost_usd=Decimal("1e-7"), time_adjusted=True)

    assert any(line.endswith("  0.0000001") for line in lines)
    assert any("conduit.time_adjusted" in line and line.endswith("  true") for line in lines)
