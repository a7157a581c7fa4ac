"""Alerts as files: made from one table, tested, explained and linked to what exists."""

import re
import runpy

import pytest

from exporter.conduit.models import TERMINAL_STATUSES
from tests.alert_rules import ALERTMANAGER_FILE, CASE_FILES, FOLDER, ROOT, alerts, load

RUNBOOKS = ROOT / "docs/RUNBOOKS.md"
WAKING = {
    "ConduitExporterDown",
    "ConduitExporterAbsent",
    "ConduitTokenRefused",
    "ConduitApiDown",
    "ConduitOutboxFull",
    "ConduitLedgerUnwritable",
    "ConduitFailureRatioHigh",
    "ConduitAgentFailsAlways",
    "ConduitBudgetUsed",
}


def _sections() -> dict[str, str]:
    """The text of each runbook by its heading."""
    parts = re.split(r"^## (\w+)\n", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_committed_rules_are_what_the_table_makes() -> None:
    """Nobody has edited the rule files by hand, nor forgotten to write them."""
    made = runpy.run_path(str(FOLDER / "make_rules.py"))["files"]()
    assert {path.name: path.read_text() for path in FOLDER.glob("*s.yaml")} == made


def test_alerts_can_link_to_runbooks_elsewhere() -> None:
    """Whoever keeps a copy of the runbooks names its address, and every alert leads there."""
    made = runpy.run_path(str(FOLDER / "make_rules.py"))["files"]("https://wiki/runbooks")
    urls = re.findall(r"runbook_url: (\S+)", "".join(made.values()))
    assert urls
    assert {url.partition("#")[0] for url in urls} == {"https://wiki/runbooks"}


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    """An alert without both would be one that nobody has ever seen at work."""
    firing: set[str] = set()
    silent: set[str] = set()
    for path in CASE_FILES:
        for test in load(path)["tests"]:
            for check in test.get("alert_rule_test", ()):
                (firing if check.get("exp_alerts") else silent).add(check["alertname"])
    assert (firing, silent) == (set(alerts()), set(alerts()))


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    """A runbook_url leads to a heading that exists; no runbook speaks of an alert that is gone."""
    assert list(_sections()) == list(dict.fromkeys(_sections()))
    assert set(_sections()) == set(alerts())
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook_url"].endswith(f"/docs/RUNBOOKS.md#{name.lower()}")


def test_every_runbook_says_how_to_find_out_and_how_to_mend() -> None:
    """Each section has its four parts, and commands or queries under the third."""
    for name, text in _sections().items():
        parts = re.findall(r"^\*\*(Means|Costs|Find out|Mend)\.\*\*", text, re.MULTILINE)
        assert parts == ["Means", "Costs", "Find out", "Mend"], name
        assert "```" in text.partition("**Find out.**")[2].partition("**Mend.**")[0], name


def test_every_alert_links_to_a_dashboard_that_exists() -> None:
    """The uid in a dashboard_url is that of a committed dashboard, with the variables it sets."""
    dashboards = {
        board["uid"]: {variable["name"] for variable in board["templating"]["list"]}
        for board in map(load, (ROOT / "deploy/grafana").glob("*.json"))
    }
    for name, rule in alerts().items():
        url = rule["annotations"]["dashboard_url"]
        uid = re.match(r"/d/([\w-]+)", url)
        assert uid is not None, name
        assert set(re.findall(r"var-(\w+)=", url)) <= dashboards[uid[1]], name


def test_only_these_alerts_wake_somebody() -> None:
    """A new critical alert is a decision, not an accident."""
    assert {n for n, r in alerts().items() if r["labels"]["severity"] == "critical"} == WAKING


def test_labels_are_steady() -> None:
    """A value in a label would make a new alert at each evaluation; texts have all four parts."""
    for name, rule in alerts().items():
        assert rule["labels"]["component"] == "conduit-exporter", name
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, name
        assert "{{" not in "".join(rule["labels"].values()), name
        assert set(rule["annotations"]) == {
            "summary",
            "description",
            "runbook_url",
            "dashboard_url",
        }, name


@pytest.mark.parametrize("side", ["source_matchers", "target_matchers"])
def test_inhibitions_name_alerts_that_exist(side: str) -> None:
    """A renamed alert cannot leave an inhibition behind that silences nothing, or everything."""
    for rule in load(ALERTMANAGER_FILE)["inhibit_rules"]:
        names = [m for m in rule[side] if m.startswith("alertname")]
        assert names, rule
        pattern = names[0].partition('"')[2].rstrip('"')
        matched = {name for name in alerts() if re.fullmatch(pattern, name)}
        assert matched, rule
        assert pattern == "Conduit.+" or matched == set(pattern.split("|")), rule
        assert rule["equal"], rule


def test_steps_of_a_runbook_can_be_taken_beside_the_exporter() -> None:
    """The page of runs lists what has ended; what needs the ledger says how to get hold of it."""
    texts = [RUNBOOKS.read_text(), *(r["annotations"]["description"] for r in alerts().values())]
    linked = re.findall(r"/runs\?\S*status=(\w+)", "\n".join(texts))
    assert set(linked) <= set(TERMINAL_STATUSES)
    for name, text in _sections().items():
        if re.search(r"\b(backfill|replay|reconcile)\b", text):
            assert "(OPERATING.md#run-a-command-on-the-ledger)" in text, name
