# ruff: noqa: INP001 - a script, part of no package
"""Puts the rules of deploy/prometheus into PrometheusRules, word for word.

    python deploy/kubernetes/components/rules/make.py

Kustomize cannot put a file into a resource. Writes beside itself, and needs nothing but Python.
"""

import textwrap
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent.parent / "prometheus"
NAMES = ("conduit-exporter.rules.yaml", "conduit-exporter.alerts.yaml")


def prometheus_rule(name: str) -> str:
    """The resource that holds the rules of a file."""
    rules = (SOURCES / name).read_text()
    return (
        f"# Made by make.py of deploy/prometheus/{name}.\n"
        "apiVersion: monitoring.coreos.com/v1\n"
        "kind: PrometheusRule\n"
        f"metadata:\n  name: {name.removesuffix('.yaml').replace('.', '-')}\n"
        f"spec:\n{textwrap.indent(rules, '  ')}"
    )


if __name__ == "__main__":
    for each in NAMES:
        (HERE / each).write_text(prometheus_rule(each))
