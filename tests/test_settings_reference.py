"""The list of all settings, and the texts that are made of it."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from pydantic_settings import SettingsConfigDict

from exporter.errors import ConfigError
from exporter.settings import reference as reference_module
from exporter.settings.field import Group
from exporter.settings.loading import load
from exporter.settings.model import Settings
from exporter.settings.otlp import OtlpSettings
from exporter.settings.reference import example_env, reference, settings_to_markdown


def test_every_setting_is_listed_once_and_explained() -> None:
    """In the order of the groups, each with words, none with words that break a table."""
    rows = reference()
    names = [row.name for row in rows]
    assert sorted(names) == sorted(
        {str(f.validation_alias) for f in Settings.model_fields.values()}
    )
    order = [group.value for group in Group]
    assert [row.group for row in rows] == sorted((row.group for row in rows), key=order.index)
    for row in rows:
        assert row.description
        assert not row.description.endswith(".")
        assert "|" not in row.description + row.default
        assert row.description.isprintable()


def test_defaults_are_what_the_model_does() -> None:
    """A default that is a value can be given, and changes nothing."""
    token = {"CONDUIT_API_TOKEN": "cdt_live_0123456789"}
    valued = {row.name: row.default for row in reference() if row.default == row.example != ""}
    assert load({**token, **valued}).model_dump(exclude=set(OtlpSettings.model_fields)) == load(
        token
    ).model_dump(exclude=set(OtlpSettings.model_fields))
    assert len(valued) >= 15


def test_every_example_is_a_good_value(tmp_path: Path) -> None:
    """What stands behind the # of the example file can be used as it stands, each line alone."""
    lines = [
        line.removeprefix("#")
        for line in example_env().splitlines()
        if re.match(r"#[A-Z_]+=.", line)
    ]
    assert len(lines) >= 30
    file = tmp_path / "config.env"
    for line in lines:
        token = "" if line.startswith("CONDUIT_API_TOKEN_FILE") else "CONDUIT_API_TOKEN=cdt_0123\n"
        file.write_text(token + line)
        assert isinstance(load({}, file), Settings)


def test_the_example_file_can_be_copied(tmp_path: Path) -> None:
    """Only the token is missing in it, and every setting has its line."""
    file = tmp_path / "config.env"
    file.write_text(example_env())
    with pytest.raises(ConfigError) as caught:
        load({}, file)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["CONDUIT_API_TOKEN"]
    file.write_text(example_env().replace("API_TOKEN=\n", "API_TOKEN=cdt_0123\n"))
    assert load({}, file) == load({"CONDUIT_API_TOKEN": "cdt_0123"})
    for row in reference():
        assert len(re.findall(rf"^#?{row.name}=", example_env(), re.MULTILINE)) == 1
    assert max(map(len, example_env().splitlines())) <= 100


def test_the_tables_show_a_value_as_code_and_words_as_words() -> None:
    """A default that can be typed is told from one that is described."""
    lines = settings_to_markdown().splitlines()
    assert "| `EXPORTER_LEASE` | `15s` |" in "\n".join(lines)
    assert "| `EXPORTER_REPLICA` | the host name |" in "\n".join(lines)
    groups = [line.strip("*") for line in lines if line.startswith("**")]
    assert groups == [group.value for group in Group]


@pytest.mark.parametrize(
    ("arguments", "written"), [([], settings_to_markdown()), (["example"], example_env())]
)
def test_the_module_writes_both_texts(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    written: str,
) -> None:
    """`python -m exporter.settings.reference` makes README's tables, `example` the file."""
    monkeypatch.setattr(sys, "argv", ["reference", *arguments])
    runpy.run_path(str(reference_module.__file__), run_name="__main__")
    assert capsys.readouterr().out == written


def test_a_field_of_another_make_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that says nothing about itself is the developer's mistake."""

    class Odd(OtlpSettings):
        model_config = SettingsConfigDict(extra="forbid")
        odd: str = "x"

    monkeypatch.setattr(reference_module, "Settings", Odd)
    with pytest.raises(TypeError, match="is not declared with `setting`"):
        reference()
