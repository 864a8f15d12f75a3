"""What a verification says, and that the prompts for it are there."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsroute.verification import prompts
from fsroute.verification.delivery import Message
from fsroute.verification.voice_call import LONGEST_CALL_S, SOUNDS

CODES = st.text("0123456789", min_size=1, max_size=prompts.MAX_DIGITS)
LANGUAGES = st.sampled_from(prompts.LANGUAGES)

GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
"""The characters of 3GPP TS 23.038, of which 160 fit into one SMS. With any other it would be 70."""

LONGEST_NUMBER = "+491234567890123"


def test_a_reading_in_whole() -> None:
    assert prompts.reading("207", "de") == (
        (1000, "de/intro", 400, "de/2", 500, "de/0", 500, "de/7"),
        (400, "de/again", 400, "de/2", 500, "de/0", 500, "de/7", 400, "de/goodbye"),
    )


@given(CODES, LANGUAGES)
def test_each_part_reads_the_whole_code_with_silence_between_its_digits(code: str, language: str) -> None:
    for part in prompts.reading(code, language):
        names = [item.rpartition("/")[2] for item in part if isinstance(item, str)]
        assert "".join(name for name in names if name in prompts.DIGITS) == code
        assert all(isinstance(item, int) for item in part[::2])


@given(CODES, LANGUAGES)
def test_only_prompts_that_there_are_are_read(code: str, language: str) -> None:
    for part in prompts.reading(code, language):
        for item in part:
            assert isinstance(item, int) or (SOUNDS / f"{item}.wav").is_file()


def test_a_part_fits_into_what_freeswitch_plays_as_one() -> None:
    assert max(len(part) for part in prompts.reading("9" * prompts.MAX_DIGITS, "de")) <= 128


@pytest.mark.parametrize("code", ["", "1" * (prompts.MAX_DIGITS + 1), "12 4", "1/2", "../x", "٣", "²", "1\n"])
def test_a_code_is_digits(code: str) -> None:
    with pytest.raises(ValueError, match=r"\Aa code must be 1 to 16 digits\Z"):
        prompts.reading(code, "de")


@pytest.mark.parametrize("language", ["", "fr", "DE", "de/../en"])
def test_an_unknown_language_is_refused(language: str) -> None:
    for speak in (lambda: prompts.reading("1", language), lambda: prompts.sms_text("+49", "1", 10, language)):
        with pytest.raises(ValueError, match=r"must be one of de, en\Z"):
            speak()


SMS = {
    "de": "123456 ist der Code, mit dem die Rufnummer +491713920042 bestätigt wird. Er gilt 10 Minuten. "
    "Nicht angefordert? Bitte nicht weitergeben.",
    "en": "123456 is the code to verify the phone number +491713920042. It is valid for 10 minutes. "
    "Not requested? Do not pass it on.",
}


@pytest.mark.parametrize(("language", "text"), SMS.items(), ids=SMS.keys())
def test_the_text_of_an_sms(language: str, text: str) -> None:
    assert prompts.sms_text("+491713920042", "123456", 10, language) == text


@pytest.mark.parametrize(("minutes", "german", "english"), [(1, "1 Minute", "1 minute"), (2, "2 Minuten", "2 minutes")])
def test_one_minute_is_one(minutes: int, german: str, english: str) -> None:
    assert f" Er gilt {german}. " in prompts.sms_text("+49", "1", minutes, "de")
    assert f" valid for {english}. " in prompts.sms_text("+49", "1", minutes, "en")


@given(CODES.filter(lambda code: len(code) <= 8), LANGUAGES, st.integers(0, 1440))
def test_the_text_fits_into_one_sms(code: str, language: str, minutes: int) -> None:
    text = prompts.sms_text(LONGEST_NUMBER, code, minutes, language)
    assert len(text) <= 160
    assert set(text) <= GSM


# --- the files --------------------------------------------------------------------------------------------


def test_every_language_has_every_prompt_and_nothing_else() -> None:
    files = {str(path.relative_to(SOUNDS)) for path in SOUNDS.rglob("*") if path.is_file()}
    assert files == {f"{language}/{name}.wav" for language in prompts.LANGUAGES for name in prompts.NAMES}


def prompt_files() -> list[Path]:
    return sorted(SOUNDS.rglob("*.wav"))


def samples(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getcomptype()) == (1, 2, 8000, "NONE")
        return bytes(file.readframes(file.getnframes()))


@pytest.mark.parametrize("path", prompt_files(), ids=[f"{path.parent.name}-{path.stem}" for path in prompt_files()])
def test_a_prompt_is_as_the_telephone_plays_it(path: Path) -> None:
    """8 kHz, 16 bit, mono: nothing is to be converted. Whole packets of 20 ms. Speech from its first to its last packet."""
    played = samples(path)
    loudness = [
        max(abs(int.from_bytes(played[i : i + 2], "little", signed=True)) for i in range(start, start + 320, 2))
        for start in range(0, len(played), 320)
        if len(played) % 320 == 0
    ]
    assert loudness, "no whole packets"
    assert 8_000 < max(loudness) < 24_000  # audible, and not clipped by G.711 or a loud line
    assert max(loudness[:3]) > 100
    assert max(loudness[-3:]) > 100


def test_the_prompts_of_a_language_differ() -> None:
    assert len({samples(path) for path in prompt_files()}) == len(prompt_files())


@pytest.mark.parametrize("language", prompts.LANGUAGES)
def test_a_call_is_long_enough_for_the_longest_code(language: str) -> None:
    seconds = []
    for digit in prompts.DIGITS:
        items = [item for part in prompts.reading(digit * prompts.MAX_DIGITS, language) for item in part]
        silence = sum(item for item in items if isinstance(item, int)) / 1000
        speech = sum(len(samples(SOUNDS / f"{item}.wav")) for item in items if isinstance(item, str)) / 16_000
        seconds.append(silence + speech)
    assert 30 < max(seconds) < LONGEST_CALL_S * 3 / 4


def test_the_prompts_are_small() -> None:
    assert sum(path.stat().st_size for path in prompt_files()) < 600_000


def test_a_message_has_a_language_that_there_are_prompts_in() -> None:
    """schema.sql lists the languages as well."""
    schema = (SOUNDS.parent / "schema.sql").read_text("utf-8")
    listed = ", ".join(f"'{language}'" for language in prompts.LANGUAGES)
    assert f"CHECK (language IN ({listed}))" in schema
    assert "language" in Message.__dataclass_fields__
