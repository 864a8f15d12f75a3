"""Every input that `make fuzz` keeps still holds: the corpus of each target, and each input that once broke something."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.fuzz import corpus, fuzz
from scripts.fuzz.corpus import KEPT, KINDS, MAX_BYTES, TARGETS, check_of
from scripts.fuzz.given import Given


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_holds(target: str) -> None:
    inputs = corpus.read(target, "corpus")
    assert inputs
    check = check_of(target)
    for data in (b"", *inputs):
        check(data)


CRASHES = [(target, data) for target in TARGETS for data in corpus.read(target, "crashes")]


@pytest.mark.parametrize(("target", "data"), CRASHES, ids=[f"{target}-{data!r}"[:60] for target, data in CRASHES])
def test_what_broke_once_holds(target: str, data: bytes) -> None:
    check_of(target)(data)


def test_the_kept_inputs_are_small_and_of_targets() -> None:
    assert {path.name for path in KEPT.iterdir()} <= {f"{target}.{kind}" for target in TARGETS for kind in KINDS}
    assert all(path.stat().st_size <= MAX_BYTES for path in KEPT.glob("*.corpus"))


def test_one_input_is_repeated_without_atheris(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "crash"
    file.write_bytes(b"\x00\n\x00")
    assert fuzz.main(["--repeat", str(file), "frames"]) == 0
    assert capsys.readouterr().out == f"frames: the input {file} holds\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["frame"], "no target frame"),
        (["--seconds", "0"], "--seconds takes 1 or more"),
        (["--repeat", "x"], "--repeat takes one TARGET"),
    ],
)
def test_wrong_arguments_start_nothing(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        fuzz.main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_kept_inputs_are_read_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "KEPT", tmp_path)
    inputs = [b"\x00'\"\n\\", b"", b"#"]
    assert corpus.write("any", inputs) == len(inputs)
    assert corpus.read("any", "corpus") == sorted(inputs, key=len)
    assert corpus.read("any", "crashes") == []
    assert corpus.write("any", (bytes([number]) * 100 for number in range(200))) < 200


def test_the_same_bytes_give_the_same_values() -> None:
    data = bytes([1, 2, 0, 3, 0, 129]) + b"\xc3\xa4" + bytes([224 + 2, 7])
    given = Given(data)
    assert (given.flag(), given.choice("abc"), given.number(0, 0)) == (True, "c", 0)
    assert given.text(["x", "y"]) == "x\u00e4" + "\u00e4" * 4
    assert given.rest() == b"\x07"
    assert (given.number(3, 9), given.number(0, 1000), given.text(["x"])) == (3, 0, "")


def test_repetitions_end_at_the_limit() -> None:
    assert Given(bytes([3, 0, 224 + 15, 224 + 15])).text(["x"], most=1000) == "x" * 1000
