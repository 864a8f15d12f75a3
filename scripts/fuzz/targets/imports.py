"""The text of `fsroute verify import`: every line is a number or block in E.164, or is named as wrong in one line."""

from __future__ import annotations

from fsroute.numbers.phone_number import is_e164
from fsroute.verification import eligibility
from scripts.fuzz.given import Given, in_linear_time, is_one_line

PIECES = (
    *"0123456789+,#; \n\r\t\0-",
    *(
        "+492214710100",
        "+492214710199",
        "\n+49221471",
        "+492214710100,+492214710199\n",
        "# a comment\n",
        "+49221",
        "02214710100",
    ),
    *("\n\n", "\ufeff", "\u2028", "\u00e4", "\uff11", "+1", "+4917", "a"),
)
COUNTRIES = ("DE", "AT", "US", "IT", "GB")


def check(data: bytes) -> None:
    given = Given(data)
    country, text = given.choice(COUNTRIES), given.text(PIECES) + given.text(PIECES)
    with in_linear_time():
        found, wrong = eligibility.read_import(text, country)
    lines = text.split("\n")
    for line in found:
        assert is_e164(line.first), line
        assert is_e164(line.last), line
        assert line.first <= line.last, line
        assert line.first in lines[line.line - 1], line
    for _, why in wrong:
        assert is_one_line(why), why
    assert len({line.first for line in found}) == len(found) <= eligibility.MAX_LINES
    read = {line.line for line in found} | {count for count, _ in wrong}
    if len(found) < eligibility.MAX_LINES:
        assert read == {count for count, line in enumerate(lines, 1) if line.partition("#")[0].strip()}
