"""What was said on a leg: recordings of RTP as it comes, and of prompts that a real FreeSWITCH plays."""

from __future__ import annotations

import random
import socket
import struct
import wave
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.rtp import SILENCE, Audio, Heard, Recording, decode, encode, heard, read_prompts, read_wav
from tests.support.sip import Answer, Carrier
from tests.support.switch import Switch

PCMU, PCMA, EVENT = 0, 8, 101
SOUNDS = Path(__file__).resolve().parents[2] / "fsroute" / "sounds"
LANGUAGES = ("de", "en")


def packet(sequence: int, stamp: int, payload: bytes, kind: int = PCMA) -> bytes:
    return struct.pack("!BBHII", 0x80, kind, sequence & 0xFFFF, stamp & 0xFFFFFFFF, 1) + payload


def record(*packets: bytes, codec: int = PCMA) -> Recording:
    """What an Audio makes of these datagrams."""
    audio = Audio("127.0.0.1")
    audio.learn(f"c=IN IP4 127.0.0.1\r\nm=audio 9 RTP/AVP {codec} {EVENT}\r\n")
    with audio.socket, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for data in packets:
            other.sendto(data, (audio.ip, audio.port))
            audio.receive()
    return audio.recording


def noise(seed: int, count: int, loudest: int = 0x7FFF) -> array[int]:
    source = random.Random(seed)  # noqa: S311 - a sound, not a secret
    return array("h", (source.randint(-loudest, loudest) for _ in range(count)))


def write_wav(path: Path, samples: Sequence[int]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))


# --- recordings -------------------------------------------------------------------------------------------


def frames(audio: bytes) -> list[bytes]:
    return [audio[at : at + 160] for at in range(0, len(audio), 160)]


def test_packets_are_put_in_order_once_each_across_the_end_of_both_counters() -> None:
    parts = [bytes([number]) * 160 for number in range(6)]
    sent = [packet(0xFFFE + n, 0xFFFFFF00 + 160 * n, parts[n]) for n in range(6)]
    found = record(*(sent[n] for n in (1, 0, 0, 3, 2, 5, 1, 4)))
    assert [(p.sequence - 0xFFFE, p.stamp - 0xFFFFFF00, p.payload) for p in found.packets] == [
        (n, 160 * n, parts[n]) for n in range(6)
    ]
    assert (found.gaps, found.samples) == ((), decode(PCMA, b"".join(parts)))


def test_lost_packets_are_told_and_pressed_keys_are_not_lost_packets() -> None:
    silent = SILENCE[PCMA]
    key = struct.pack("!BBH", 5, 10, 160)
    found = record(
        packet(10, 1000, silent),
        packet(11, 1160, key, EVENT),
        packet(12, 1320, silent),
        packet(15, 1800, silent),
        packet(17, 2120, silent),
    )
    assert found.gaps == ((100.0, 2), (140.0, 1))
    assert len(found.samples) == 4 * 160


def test_nothing_was_received() -> None:
    assert (record().packets, record().gaps, len(record().samples), heard(record(), {"a": noise(1, 200)})) == ((), (), 0, ())


def test_a_prompt_is_heard_wherever_it_begins() -> None:
    prompts = {"a": noise(1, 400), "b": noise(2, 320)}
    said = array("h", [*[0] * 100, *prompts["b"], *prompts["a"], *[3] * 80, *prompts["b"]])
    for codec in (PCMA, PCMU):
        parts = frames(encode(codec, said))
        found = record(*(packet(n, 160 * n, part, codec) for n, part in enumerate(parts)), codec=codec)
        assert heard(found, prompts) == (
            Heard(12.5, 52.5, "b"),
            Heard(52.5, 102.5, "a"),
            Heard(112.5, 152.5, "b"),
        )


@pytest.mark.parametrize("change", ["lost", "late", "another value"])
def test_a_prompt_that_was_not_whole_is_not_heard(change: str) -> None:
    prompts = {"a": noise(1, 480), "b": noise(2, 480)}
    parts = frames(encode(PCMA, [*prompts["a"], *prompts["b"]]))
    sent = [packet(n, 160 * n, part) for n, part in enumerate(parts)]
    if change == "lost":
        del sent[1]
    elif change == "late":
        sent[2:] = [packet(n, 160 * n + 160, part) for n, part in enumerate(parts)][2:]
    else:
        sent[1] = packet(1, 160, bytes([parts[1][0] ^ 1, *parts[1][1:]]))
    assert [found.name for found in heard(record(*sent), prompts)] == ["b"]


def test_time_that_was_skipped_is_left_out_and_a_lost_packet_is_not() -> None:
    prompts = {"a": noise(1, 480), "b": noise(2, 480)}
    parts = frames(encode(PCMA, [*prompts["a"], *[0] * 160, *prompts["b"]]))
    late = [packet(n, 160 * (n + (n >= 1) + 2 * (n >= 5)), part) for n, part in enumerate(parts)]
    assert heard(record(*late), prompts) == ()
    assert heard(record(*late).without_skips, prompts) == (Heard(0, 60, "a"), Heard(80, 140, "b"))
    del late[5]
    found = record(*late).without_skips
    assert (heard(found, prompts), found.gaps) == ((Heard(0, 60, "a"),), ((160, 1),))


def test_packets_of_another_kind_are_no_audio() -> None:
    prompts = {"a": noise(1, 320)}
    first, second = frames(encode(PCMA, prompts["a"]))
    assert heard(record(packet(0, 0, first), packet(1, 160, second, EVENT)), prompts) == ()
    between = record(packet(0, 0, first), packet(1, 160, b"\0\0\0\0", EVENT), packet(2, 160, second))
    assert heard(between, prompts) == (Heard(0, 40, "a"),)


def test_prompts_that_cannot_be_told_apart_are_refused() -> None:
    whole = noise(1, 480)
    with pytest.raises(ValueError, match=r"^b: is part of another prompt$"):
        heard(record(), {"a": whole, "b": whole[10:200]})
    with pytest.raises(ValueError, match=r"^b: is part of another prompt$"):
        heard(record(), {"b": whole, "c": whole})
    with pytest.raises(ValueError, match=r"^b: is silence$"):
        heard(record(), {"a": whole, "b": array("h", [1] * 480)})


def test_a_wav_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, [0, 1, -1, 0x7FFF, -0x8000])
    assert read_wav(path) == array("h", [0, 1, -1, 0x7FFF, -0x8000])
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 8000), struct.pack("<I", 16000)))
    with pytest.raises(ValueError, match=r"a\.wav: not 8 kHz, mono, 16 bit$"):
        read_wav(path)


@pytest.mark.parametrize("codec", [PCMA, PCMU])
def test_g711_keeps_every_sample_within_a_step(codec: int) -> None:
    samples = range(-0x8000, 0x8000)
    levels = decode(codec, encode(codec, samples))
    assert decode(codec, encode(codec, levels)) == levels
    assert [s for s, level in zip(samples, levels, strict=True) if abs(s - level) > max(16, abs(s) / 16)] == []
    assert list(levels) == sorted(levels)
    assert len(set(levels)) == {PCMA: 256, PCMU: 255}[codec]


# --- as FreeSWITCH plays them -----------------------------------------------------------------------------

Play = Callable[[str, int], Recording]


@pytest.fixture
def play(running_switch: Switch) -> Iterator[Play]:
    """Has FreeSWITCH call somebody, play something to its end and hang up."""
    with Carrier(running_switch.external, behaviour=Answer()) as callee:

        def placed(what: str, codec: int) -> Recording:
            options = f"{{absolute_codec_string={'PCMU' if codec == PCMU else 'PCMA'}}}"
            to = f"sofia/external/sip:1@{callee.address[0]}:{callee.address[1]}"
            assert running_switch.api(f"bgapi originate {options}{to} &playback({what})").startswith("+OK")
            call = callee.wait_invite()
            assert call.wait_end(30) == "bye received"
            assert call.audio.recording.gaps == ()
            return call.audio.recording

        yield placed
        running_switch.wait_idle()


@pytest.mark.parametrize("codec", [PCMA, PCMU])
def test_freeswitch_codes_every_sample_as_we_do(play: Play, tmp_path: Path, codec: int) -> None:
    """Codes only rise or fall over the samples, so what is right on both sides of each step is right everywhere."""
    codes = encode(codec, range(-0x8000, 0x8000))
    steps = [at - 0x8000 for at in range(1, 0x10000) if codes[at] != codes[at - 1]]
    samples = array("h", [-0x8000, *(side for step in steps for side in (step - 1, step)), 0x7FFF])
    write_wav(tmp_path / "steps.wav", [*samples, *[0] * (-len(samples) % 160)])  # a file ends with a whole packet
    found = play(f"{tmp_path}/steps.wav", codec)
    assert heard(found, {"steps": samples}) == (Heard(0, 2 * 256 / 8, "steps"),)


def test_files_are_joined_without_a_sample_lost_or_added(play: Play, tmp_path: Path) -> None:
    prompts = {f"r{count}": noise(count, count) for count in (1600, 1601, 1680, 1759)}
    for name, samples in prompts.items():
        write_wav(tmp_path / f"{name}.wav", samples)
    files = [f"{tmp_path}/{name}.wav" for name in ("r1601", "r1600", "r1759")]
    found = play(f"file_string://{'!'.join([*files, 'silence_stream://100', *files[:1]])}", PCMA)
    expected = [("r1601", 250), ("r1600", 250 + 1601 / 8), ("r1759", 250 + 3201 / 8), ("r1601", 350 + 4960 / 8)]
    assert heard(found, prompts) == tuple(Heard(at, at + len(prompts[name]) / 8, name) for name, at in expected)


def prompts_of(language: str) -> dict[str, array[int]]:
    found = read_prompts(SOUNDS / language)
    if not found:
        pytest.skip(f"NOT RUN: the prompts in RTP: no files in fsroute/sounds/{language}")
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_prompts_are_whole_packets_and_all_different(language: str) -> None:
    prompts = prompts_of(language)
    assert {*"0123456789", "intro", "again", "goodbye"} <= prompts.keys()
    assert [name for name, samples in prompts.items() if len(samples) % 160] == []
    assert heard(record(), prompts) == ()


@pytest.mark.parametrize(("language", "codec"), [("de", PCMA), ("en", PCMU)])
def test_all_digits_are_told_apart_in_the_order_in_which_they_are_played(play: Play, language: str, codec: int) -> None:
    prompts = prompts_of(language)
    digits = "27489510632"
    parts = [f"{SOUNDS}/{language}/{name}.wav" for name in (*digits, "goodbye")]
    found = play("file_string://" + "!silence_stream://20!".join(parts), codec)
    names = [found.name for found in heard(found, prompts)]
    assert names == [*digits, "goodbye"]
