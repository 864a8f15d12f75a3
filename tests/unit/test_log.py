"""The log: its lines, and that the code, the list of events and the document agree."""

from __future__ import annotations

import ast
import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fsroute import log as logs
from fsroute import log_output

TOP = Path(__file__).resolve().parents[2]
LEVELS = ("debug", "info", "warning", "error", "exception")

# --- events -----------------------------------------------------------------------------------------------

Logged = tuple[str, str, tuple[str, ...]]
"""Event, level and fields of one call of a logger."""


def levels_of(function: ast.expr) -> list[str]:
    """The levels at which this expression logs when it is called; none if it is no method of a logger."""
    if isinstance(function, ast.IfExp):
        return levels_of(function.body) + levels_of(function.orelse)
    if isinstance(function, ast.Attribute) and function.attr in LEVELS:
        logger = ast.unparse(function.value)
        return [function.attr] if logger.endswith("log") or "_log." in logger else []
    return []


def logged_in(source: str) -> Iterator[Logged]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        fields = tuple(keyword.arg or "**" for keyword in node.keywords)
        first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else "no literal"
        for level in levels_of(node.func):
            if level == "exception":
                yield str(first), "error", (*fields, "exception")
            else:
                yield str(first), level, fields
        if isinstance(node.func, ast.Name) and node.func.id == "_log" and first != "no literal":
            yield str(first), "error", ("reason",)  # fsroute.embedded.entry, while the logger is perhaps not there


def logged() -> set[Logged]:
    return {found for path in (TOP / "fsroute").rglob("*.py") for found in logged_in(path.read_text("utf-8"))}


def test_calls_of_loggers_are_found() -> None:
    source = """
self._log.warning("a", x=1)
(log.warning if odd else log.info)("b", y=2)
self.log.bind(call=1).error(name)
log.exception("c")
math.log.info
"""
    assert sorted(logged_in(source)) == [
        ("a", "warning", ("x",)),
        ("b", "info", ("y",)),
        ("b", "warning", ("y",)),
        ("c", "error", ("exception",)),
    ]


def test_the_code_logs_exactly_the_events_that_are_listed() -> None:
    found = logged()
    assert {event for event, _, _ in found} == {event.name for event in logs.EVENTS}
    for event in logs.EVENTS:
        mine = [each for each in found if each[0] == event.name]
        assert {level for _, level, _ in mine} == set(event.levels), event.name
        assert {name for _, _, fields in mine for name in fields} == set(event.fields), event.name


def test_no_event_is_listed_twice() -> None:
    names = [event.name for event in logs.EVENTS]
    assert len(set(names)) == len(names)


def test_every_event_is_in_one_table_of_the_document() -> None:
    document = (TOP / "docs" / "reference" / "log-events.md").read_text("utf-8")
    assert [document.count(f"\n| `{event.name}` | ") for event in logs.EVENTS] == [1] * len(logs.EVENTS)


# --- lines ------------------------------------------------------------------------------------------------


class Stream(io.TextIOWrapper):
    """Standard error, on a terminal or not."""

    def __init__(self, *, terminal: bool, encoding: str) -> None:
        super().__init__(os.fdopen(os.memfd_create("stderr"), "wb"), encoding)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def written(self) -> bytes:
        log_output.flush()
        return os.pread(self.fileno(), 1 << 20, 0)


def stream(monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False, encoding: str = "utf-8") -> Stream:
    stream = Stream(terminal=terminal, encoding=encoding)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_line_is_one_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    written = stream(monkeypatch)
    logs.make_logger("auto", "info").bind(call="c1").info("call ended", cause=None, seconds=1.5)
    line = written.written()
    assert line.count(b"\n") == 1
    parsed = json.loads(line)
    assert parsed.pop("timestamp").endswith("Z")
    assert parsed == {"event": "call ended", "level": "info", "call": "c1", "cause": None, "seconds": 1.5}


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_not_written(monkeypatch: pytest.MonkeyPatch, level: str, lines: int) -> None:
    written = stream(monkeypatch)
    log = logs.make_logger("json", level)
    for write in (log.debug, log.info, log.warning, log.error):
        write("x")
    assert written.written().count(b"\n") == lines


@pytest.mark.parametrize(
    ("log_format", "terminal", "is_json"),
    [("auto", True, False), ("auto", False, True), ("console", False, False), ("json", True, True)],
)
def test_people_get_text_and_machines_json(
    monkeypatch: pytest.MonkeyPatch, log_format: str, terminal: bool, is_json: bool
) -> None:
    written = stream(monkeypatch, terminal=terminal)
    logs.make_logger(log_format, "info").info("serving", listen="x")
    assert b"serving" in written.written()
    assert written.written().startswith(b"{") == is_json


def test_a_traceback_is_in_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    written = stream(monkeypatch)
    try:
        int("odd\nvalue")
    except ValueError:
        logs.make_logger("json", "info").exception("call failed")
    parsed = json.loads(written.written())
    assert parsed["level"] == "error"
    assert parsed["exception"].startswith("Traceback (most recent call last):\n")
    assert parsed["exception"].endswith("ValueError: invalid literal for int() with base 10: 'odd\\nvalue'")


@pytest.mark.parametrize("value", ["stray \udcff byte", object()])
def test_values_that_json_does_not_know_do_not_stop_the_log(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    written = stream(monkeypatch)
    logs.make_logger("json", "info").info("x", value=value)
    assert json.loads(written.written())["value"] == (value if isinstance(value, str) else repr(value))


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_value_that_cannot_be_written_costs_the_fields_and_not_the_call(
    monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    written = stream(monkeypatch)
    logs.make_logger(log_format, "info").bind(call="c1").info("call ended", cause=Unprintable(), seconds=1)
    line = written.written().decode()
    assert all(text in line for text in ("c1", "call ended", "info", "unwritten", "ValueError"))
    assert "seconds" not in line


def test_a_terminal_that_cannot_show_a_character_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    written = stream(monkeypatch, encoding="ascii")
    logs.make_logger("console", "info").info("x", value="Käse")
    assert b"K?se" in written.written()


def test_without_standard_error_nothing_is_written_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    logs.make_logger("auto", "info").info("x")
    log_output.flush()


@pytest.mark.parametrize("log_level", ["debug", "error"])
def test_lost_lines_are_said_as_the_log_writes_at_every_level(monkeypatch: pytest.MonkeyPatch, log_level: str) -> None:
    written = stream(monkeypatch)
    log = logs.make_logger("json", log_level)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", refuse)
        log.error("a")
        log.error("b")
    log.error("c")
    lines = [json.loads(line) for line in written.written().splitlines()]
    assert [line.pop("timestamp")[-1] for line in lines] == ["Z", "Z"]
    assert lines == [
        {"event": "log lines lost", "level": "warning", "lines": 2, "reason": "can't start new thread"},
        {"event": "c", "level": "error"},
    ]


def test_a_switch_gets_each_line_at_its_level() -> None:
    class Output:
        def __init__(self) -> None:
            self.lines: list[tuple[str, str]] = []

        def info(self, line: str) -> None:
            self.lines.append(("info", json.loads(line)["event"]))

        def error(self, line: str) -> None:
            self.lines.append(("error", json.loads(line)["event"]))

    output = Output()
    log = logs.make_switch_logger(output, "info")
    log.info("ready")
    log.error("not ready")
    log.debug("commands sent")
    assert output.lines == [("info", "ready"), ("error", "not ready")]


def test_a_switch_that_refuses_lines_stops_no_call_and_learns_how_many_it_missed() -> None:
    class Refusing:
        def __init__(self) -> None:
            self.lines: list[dict[str, Any]] = []
            self.refuses = True

        def info(self, line: str) -> None:
            if self.refuses:
                raise MemoryError("no room")
            self.lines.append(json.loads(line))

        warning = info

    output = Refusing()
    log = logs.make_switch_logger(output, "info")
    log.info("a")
    log.error("b")  # this switch does not know the level
    output.refuses = False
    log.info("c")
    log.info("d")
    assert [(line["event"], line.get("lines")) for line in output.lines] == [
        ("log lines lost", 2),
        ("c", None),
        ("d", None),
    ]


@pytest.mark.parametrize(
    ("number", "short"),
    [
        ("+493023125001", "+493023125xxx"),
        ("0171-12 34/5.6-7", "0171-12 34/x.x-x"),
        ("+491711234567@pbx2.example", "+491711234xxx@pbxx.example"),
        ("1234567;phone-context=+49", "1234xxx;phone-context=+xx"),
        ("1001", "1xxx"),
        ("112", "xxx"),
        ("1", "x"),
        ("anna", "axxx"),
        ("", ""),
    ],
)
def test_a_number_loses_its_last_digits(number: str, short: str) -> None:
    assert logs.shorten(number) == short
