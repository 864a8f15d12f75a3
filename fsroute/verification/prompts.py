"""The words of a verification: the prompts of a call in their order, and the text of an SMS. Pure.

The prompts are the files `sounds/LANGUAGE/NAME.wav`, which scripts/make-prompts.sh makes.
"""

from __future__ import annotations

LANGUAGES = ("de", "en")
"""Languages of the prompts and texts."""

DIGITS = "0123456789"

NAMES = (*DIGITS, "intro", "again", "goodbye")
"""The prompts of each language."""

MAX_DIGITS = 16
"""Longest code. FreeSWITCH plays up to 128 files and silences as one (file_string in mod_dptools.c)."""

HELLO_MS = 1000
"""Silence before the first word: the callee says hello and lifts the phone to the ear."""

DIGIT_MS = 500
"""Silence between two digits: time to write one down."""

PART_MS = 400
"""Silence between sentences."""

_MINUTES = {"de": ("Minute", "Minuten"), "en": ("minute", "minutes")}


def reading(code: str, language: str) -> tuple[tuple[str | int, ...], tuple[str | int, ...]]:
    """How a call reads a code, in two parts: what it is for and its digits one by one; the digits again, and goodbye.

    After the first part the callee knows the code. A text is a prompt (`de/7`), a number is milliseconds of
    silence. Raises ValueError for a code that is not 1 to 16 digits, or an unknown language.
    """
    _known(language)
    if not 1 <= len(code) <= MAX_DIGITS or not set(code) <= set(DIGITS):
        raise ValueError(f"a code must be 1 to {MAX_DIGITS} digits")  # without the code: it is a secret
    digits: list[str | int] = [f"{language}/{code[0]}"]
    for digit in code[1:]:
        digits += [DIGIT_MS, f"{language}/{digit}"]
    return (
        (HELLO_MS, f"{language}/intro", PART_MS, *digits),
        (PART_MS, f"{language}/again", PART_MS, *digits, PART_MS, f"{language}/goodbye"),
    )


def sms_text(number: str, code: str, minutes: int, language: str) -> str:
    """The message with a code. It fits into one SMS: 160 characters of the GSM alphabet.

    The code comes first: a phone previews the beginning of a message. Raises ValueError for an unknown
    language.
    """
    _known(language)
    valid = f"{minutes} {_MINUTES[language][minutes != 1]}"
    if language == "de":
        return (
            f"{code} ist der Code, mit dem die Rufnummer {number} bestätigt wird. Er gilt {valid}. "
            "Nicht angefordert? Bitte nicht weitergeben."
        )
    return (
        f"{code} is the code to verify the phone number {number}. It is valid for {valid}. Not requested? Do not pass it on."
    )


def _known(language: str) -> None:
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r}: must be one of {', '.join(LANGUAGES)}")
