# ruff: noqa: INP001 - a script, part of no package
"""Makes the JSON schemas that kubeconform validates with, offline.

    kubernetes_schemas.py FOLDER_OF_SCHEMAS FOLDER_OF_CRDS OUTPUT_FOLDER VERSION...

Those of Kubernetes are the strict ones of a folder, their references made relative. Those of the
Prometheus Operator's custom resources are closed: a field that a resource does not have is an
error, as for the API server. Needs nothing but Python.
"""

import json
import sys
from pathlib import Path
from typing import Any


def closed(schema: Any) -> Any:
    """The schema with `additionalProperties: false` wherever it lists an object's properties."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def write_kubernetes(source: Path, output: Path) -> None:
    """Write each schema of a release under its own name."""
    output.mkdir(parents=True)
    for path in source.glob("*.json"):
        schema = json.loads(
            path.read_text().replace('"/api/_definitions.json', '"_definitions.json')
        )
        schema.pop("$id", None)  # it would turn the references into addresses of the web
        (output / path.name).write_text(json.dumps(schema))


def write_custom_resources(source: Path, output: Path) -> None:
    """Write `kind-group-version.json` for each version of PodMonitor and PrometheusRule."""
    for name in ("podmonitors", "prometheusrules"):
        spec = json.loads((source / f"{name}-crd.json").read_text())["spec"]
        group = spec["group"].partition(".")[0]
        for version in spec["versions"]:
            target = output / f"{spec['names']['singular']}-{group}-{version['name']}.json"
            target.write_text(json.dumps(closed(version["schema"]["openAPIV3Schema"])))


if __name__ == "__main__":
    schemas, resources, target = map(Path, sys.argv[1:4])
    for release in sys.argv[4:]:
        write_kubernetes(schemas / f"v{release}-local-strict", target / f"v{release}")
    write_custom_resources(resources, target)
