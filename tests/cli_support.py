"""What tests of commands share: calls that show no traceback."""

from click.testing import CliRunner, Result

from exporter.cli.commands import cli


def invoke(*arguments: str, **environ: str) -> Result:
    """Call the command line; whatever happens, no traceback is shown."""
    result = CliRunner().invoke(cli, arguments, env=environ)
    assert "Traceback" not in result.output, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
