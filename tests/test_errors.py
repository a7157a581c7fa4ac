"""Foreign text inside our own messages."""

import pytest

from exporter.errors import quote


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  a\r\n b\t", "a b"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "..."),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202egnp", r"\u202egnp"),
        ("b\ud800", r"b\ud800"),
        ("Übergröße", "Übergröße"),
        ("a" * 65_536, "a" * 200 + "..."),
    ],
)
def test_foreign_text_is_one_short_printable_line(text: str, shown: str) -> None:
    """Nothing in it can write a line of its own or turn the terminal red."""
    assert quote(text) == shown


def test_a_quote_holds_no_secret_and_no_piece_of_one() -> None:
    """Secrets go before anything is cut."""
    assert quote("bad token tok_secret!", ["tok_secret"]) == "bad token [hidden]!"
    assert "tok" not in quote("x" * 196 + "tok_secret", ["tok_secret"])
