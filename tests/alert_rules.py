"""What stands in deploy/prometheus and deploy/alertmanager, read for the tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy/prometheus"
RULE_FILES = sorted(FOLDER.glob("*.rules.yaml")) + sorted(FOLDER.glob("*.alerts.yaml"))
CASE_FILES = sorted((FOLDER / "tests").glob("*.yaml"))
ALERTMANAGER_FILE = ROOT / "deploy/alertmanager/alertmanager.yml"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def rules() -> list[Mapping[str, Any]]:
    """Every rule of every file, recording rules as well."""
    return [
        rule for path in RULE_FILES for group in load(path)["groups"] for rule in group["rules"]
    ]


def alerts() -> dict[str, Mapping[str, Any]]:
    """Every alert by its name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}
