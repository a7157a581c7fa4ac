"""Masking of personal data: what is found, in which disguise, and what is left alone."""

import html
import json
import re
from urllib.parse import quote

import pytest

from exporter.convert.content import content_json, content_text
from exporter.convert.redaction import CUT_MARK, MAX_TEXT, mask, mask_id, mask_number
from exporter.settings.values import parse_patterns


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to jane.doe+x@mail.example.com.", "Write to [email]."),
        ("jürgen@hôtel.example", "[email]"),
        ("a@b.co,c@d.org", "[email],[email]"),
        ("mailto:jane@example.com", "mailto:[email]"),
        ("jane\uff20example.com", "[email]"),
        ("jane\u200b@exam\u00adple.com", "[email]"),
        ("+49 171 2345678", "[phone]"),
        ("call (555) 123-4567 now", "call [phone] now"),
        ("555-123-4567", "[phone]"),
        ("01712345678", "[phone]"),
        ("00491712345", "[phone]"),
        ("Tel.030-1234567", "Tel.[phone]"),
        ("Tel: 491712345678", "Tel: [phone]"),
        ("https://wa.me/15551234567", "https://wa.me/[phone]"),
        ("wa.me/491712345678?text=hi", "wa.me/[phone]?text=hi"),
        ("whatsapp:+491712345678", "whatsapp:+[phone]"),
        ("me+491712345678", "me[phone]"),
        ("4111 1111 1111 1111", "[card]"),
        ("4111_1111_1111_1111", "[card]"),
        ("4111/1111/1111/1111", "[card]"),
        ("4111-1111-1111-1111 12/27 123", "[card] [phone]"),
        ("4111111111111111", "[card]"),
        ("378282246310005", "[card]"),
        ("12 4111 1111 1111 1111", "12 [card]"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    """Addresses, phone and card numbers in their usual forms."""
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        *("plain", "x@y", "2026-04-05", "03/04/2026", "2026-04-03T03:14:15.000Z", "14:30"),
        *("res_123456789012", "ar77c0dy0mgdpzmqz6tesry8w184002s", "order 12345678", "12.50 USD"),
        *("192.168.100.200", "1234567.89", "1,234,567.89", "4111111111111112", "room 204"),
        *("0" * 16, "100% sure &amp; C:\\new", "\\u0041 \\ud83d", "%zz%4"),
    ],
)
def test_other_texts_are_left_alone(text: str) -> None:
    """Dates, prices, ids and numbers that fail the check digit stay, as they were written."""
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (r"jane\u0040example.com", "[email]"),
        (r"jos\u00e9@example.com", "[email]"),
        (r"jane\x40example.com", "[email]"),
        (r"\ud83c\udfe8 jane@example.com it\'s", "🏨 [email] it's"),
        (r"call\n+49 171\n2345678", "call\n[phone]"),
        ("to=jane%40example.com&n=1", "[email]&n=1"),
        ("jane%2540example.com", "[email]"),
        ("%2B49%20171%202345678", "[phone]"),
        ("jane&#64;example.com", "[email]"),
        ("jane&#x40;example&period;com", "[email]"),
        ("jane&commat;example.com", "[email]"),
        ("&#52;111 1111 1111 1111", "[card]"),
        (json.dumps({"to": json.dumps("jos\u00e9@example.com")}), '{"to": ""[email]""}'),
    ],
)
def test_disguised_data_is_masked_in_the_decoded_text(text: str, masked: str) -> None:
    """Escapes of any kind, one in another, are read as a person reads them in the end."""
    assert mask(text) == masked


def test_json_inside_json_is_masked_at_every_depth() -> None:
    """Whatever is written into a string, however often, with whichever escapes."""
    secrets = ("josé@example.com", "+49 171 2345678", "4111 1111 1111 1111")
    for wrap in (json.dumps, quote, html.escape, str):
        text = wrap(" | ".join(secrets))
        for _ in range(3):
            text = json.dumps({"in": text})
            for written in (content_json(text, patterns=()), content_text(text, patterns=())):
                assert "example" not in written
                assert not re.search(r"\d{4}", written), written


def test_numbers_are_masked_as_cards_only() -> None:
    """A JSON number that may be a time stays; one that is a card number does not."""
    assert mask_number("4111111111111111") == "[card]"
    assert mask_number("01712345678") == "01712345678"
    assert mask_number("4111111111111111.5") == "4111111111111111.5"
    assert mask_number("123456", (re.compile("34"),)) == "12[masked]56"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("jane.doe@example.com", "[email]"),
        ("jane%40example.com", "[email]"),
        ("491712345678@s.whatsapp.net", "[email]"),
        ("conv:jane@example.com:7", "conv:[email]:7"),
        ("+49 171 2345678", "[phone]"),
        ("+491712345678", "[phone]"),
        ("15551234567", "[phone]"),
        ("491712345678", "[phone]"),
        ("whatsapp:+491712345678", "whatsapp:+[phone]"),
        ("tel:0301234567", "tel:[phone]"),
        ("(555) 123-4567", "[phone]"),
        ("guest/+49 (171) 2345678", "guest/[phone]"),
        ("wa_15551234567", "wa_[phone]"),
    ],
)
def test_an_id_that_is_an_address_is_masked(text: str, masked: str) -> None:
    """Where guests write by mail or phone, their address may be a conversation's id."""
    assert mask_id(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        *("ar77c0dy0mgdpzmqz6tesry8w184002s", "run_9f3a1c7e", "sess_4b21e9", "0f9c2b1d8a7e4f36"),
        *("11111111-2222-3333-4444-555555555555", "01890a5d-ac96-774b-bcce-b302099a8057"),
        *("4711", "1234567890123456789", "4111111111111111", "a%20b", "user@tenant", "2026-04-03"),
        *("conv-20260403-123456", "ticket-12345678901", "v1.2.3-20260403.1200"),
    ],
)
def test_other_ids_stay_as_they_are(text: str) -> None:
    """An id that is none is what finds a run again: UUIDs and long numbers are no phone numbers."""
    assert mask_id(text) == text


def test_operator_patterns_come_first_and_see_both_texts() -> None:
    """What a pattern finds is masked whole, even across an address; an empty match is nothing."""
    patterns = (re.compile(r"Jane \S+"), re.compile(r"(?=BK)|BK-\d{6}"))

    assert mask("Jane j@example.com BK-123456", patterns) == "[masked] [masked]"
    assert mask("BK%2D123456", patterns) == "[masked]"
    assert mask("50%25 off", (re.compile("%25"),)) == "50[masked] off"


def test_masking_goes_before_cutting() -> None:
    """A number across the limit is masked whole: no half of it is shown."""
    text = content_text("x" * 1_985 + " 4111 1111 1111 1111", patterns=())

    assert "4111" not in text


def test_of_an_endless_text_the_head_is_masked_and_marked() -> None:
    """What lies across the end of what is looked at is not shown at all."""
    secret = "BEGIN " + "k" * 100 + " END"
    text = "." * (MAX_TEXT - 50) + secret

    masked = mask(text, (re.compile("BEGIN k* END"),))

    assert masked.endswith("." + CUT_MARK)
    assert "k" not in masked


def test_no_text_makes_an_operators_pattern_slow() -> None:
    """A pattern that would keep a backtracking matcher busy for years ends at once."""
    patterns = parse_patterns("(a+)+b")

    assert mask("a" * MAX_TEXT, patterns) == "a" * MAX_TEXT
    assert mask("aaab", patterns) == "[masked]"
