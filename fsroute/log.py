"""The log: how structlog is set up, and every event that fsroute logs (EVENTS)."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from fsroute.log_output import Output

_HIDDEN_DIGITS = 3
_WITHOUT_ZONE = -len("+00:00")


def make_logger(log_format: str, log_level: str) -> FilteringBoundLogger:
    """A logger that writes to standard error. It neither waits for it, nor raises if it cannot be written. `auto` writes for
    people on a terminal, and JSON elsewhere."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    renderer: Processor
    if log_format == "console" or (log_format == "auto" and terminal):
        renderer = _Console(terminal, sys.stderr.encoding if sys.stderr else "utf-8")
    else:
        renderer = structlog.processors.JSONRenderer(_json)  # bytes: JSON is UTF-8, whatever the terminal's encoding
    # Without standard error (closed before Python started) its number may be any file of this process.
    descriptor = sys.stderr.fileno() if sys.stderr is not None else os.open(os.devnull, os.O_WRONLY)
    report = _reporter(renderer)
    return _logger(_Lines(Output(descriptor, lambda *lost: report(*lost) + b"\n")), renderer, log_level)


def make_switch_logger(output: Any, log_level: str) -> FilteringBoundLogger:
    """A logger that passes JSON lines to `output`, which has a method for each level. It raises nothing if they do."""
    renderer = structlog.processors.JSONRenderer(lambda event, **_: _json(event).decode())
    return _logger(_SwitchLines(output, _reporter(renderer)), renderer, log_level)


class _Lines:
    """What structlog calls with a rendered line: a method for each level."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def info(self, line: bytes) -> None:
        self._output.write(line + b"\n")

    debug = warning = error = info


class _SwitchLines:
    """The same for a switch, which takes text and knows levels. Counts lines that it does not take."""

    def __init__(self, output: Any, report: Callable[[int, str], str]) -> None:
        self._output = output
        self._report = report
        self._lost = 0
        self._reason = ""

    def debug(self, line: str) -> None:
        self._pass("debug", line)

    def info(self, line: str) -> None:
        self._pass("info", line)

    def warning(self, line: str) -> None:
        self._pass("warning", line)

    def error(self, line: str) -> None:
        self._pass("error", line)

    def _pass(self, level: str, line: str) -> None:
        try:
            if self._lost:
                self._output.warning(self._report(self._lost, self._reason))
                self._lost = 0
            getattr(self._output, level)(line)
        except Exception as error:  # noqa: BLE001 - a call does not fail because its line cannot be written
            self._lost += 1
            self._reason = str(error) or type(error).__name__


class _Console:
    """Renders lines for people, as bytes that the terminal can show."""

    def __init__(self, colors: bool, encoding: str) -> None:  # noqa: FBT001 - one caller
        self._render = structlog.dev.ConsoleRenderer(colors=colors)
        self._encoding = encoding

    def __call__(self, logger: Any, level: str, event: EventDict) -> bytes:
        try:
            text = self._render(logger, level, dict(event))
        except Exception as error:  # noqa: BLE001 - as in _json
            text = self._render(logger, level, _remains(event, error))
        return text.encode(self._encoding, "replace")


def _reporter(renderer: Processor) -> Callable[[int, str], Any]:
    """Makes the line that says how many lines were lost. It is written whatever the level of the log is."""
    log = _logger(structlog.ReturnLogger(), renderer, "debug")

    def report(lost: int, reason: str) -> Any:
        return log.warning("log lines lost", lines=lost, reason=reason)

    return report


def _logger(output: Any, renderer: Processor, log_level: str) -> FilteringBoundLogger:
    processors: list[Processor] = [_complete, renderer]
    logger: FilteringBoundLogger = structlog.wrap_logger(
        output,
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[log_level.upper()]),
        cache_logger_on_first_use=True,
    )
    return logger


def _complete(logger: Any, level: str, event: EventDict) -> EventDict:
    """Adds level, time (UTC) and traceback, as three of structlog's own processors would, in one call."""
    event["level"] = "error" if level == "exception" else level
    event["timestamp"] = datetime.now(UTC).isoformat()[:_WITHOUT_ZONE] + "Z"
    return structlog.processors.format_exc_info(logger, level, event) if "exc_info" in event else event


def _json(event: Any, **_: Any) -> bytes:
    try:
        return orjson.dumps(event, default=repr)
    except Exception:  # noqa: BLE001 - text that is not Unicode, such as a path with a stray byte
        try:
            return json.dumps(event, default=repr).encode()
        except Exception as error:  # noqa: BLE001 - a value whose repr raises, or that holds itself
            return json.dumps(_remains(event, error)).encode()


def _remains(event: EventDict, error: Exception) -> EventDict:
    """What can be logged of an event if one of its fields cannot."""
    known = {name: str(event[name]) for name in ("call", "event", "level", "timestamp") if name in event}
    return {**known, "unwritten": type(error).__name__}


def shorten(number: str) -> str:
    """A number without its last digits, which identify a person: in each run of digits, however they are spaced. A text
    without digits loses its last characters."""
    if not _DIGIT.search(number):
        return number[:-_HIDDEN_DIGITS] + "x" * len(number[-_HIDDEN_DIGITS:])
    return _RUN.sub(_without_last, number)


_DIGIT = re.compile("[0-9]")
_RUN = re.compile("[0-9](?:[^0-9A-Za-z;@=]*[0-9])*")
"""The digits of a number, with what may be between them."""


def _without_last(run: re.Match[str]) -> str:
    characters = list(run[0])
    places = [place for place, character in enumerate(characters) if character.isdigit()]
    for place in places[-_HIDDEN_DIGITS:]:
        characters[place] = "x"
    return "".join(characters)


# --- the events -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogEvent:
    """An event, as programs that read the log know it. A change of `name` or `fields` breaks them.

    `subject` says in which table of docs/reference/log-events.md it is.
    """

    subject: str
    name: str
    levels: tuple[str, ...]
    fields: tuple[str, ...]
    meaning: str


EVENTS = (
    LogEvent(
        "calls", "call routed",
        ("info", "warning"),
        (
            "code", "direction", "to", "caller", "number", "account", "user", "rule", "after", "ended", "legs", "stages",
            "final", "caller_id", "reasons", "ms",
        ),
        "fsroute decided a call. A call has one such line for each plan. It is a warning if the database has no account, "
        "user or trunk of the name that the call gives.",
    ),
    LogEvent(
        "calls", "call ended",
        ("info",),
        ("cause", "seconds"),
        "The call is over. `cause` is FreeSWITCH's hang-up cause, or null if FreeSWITCH did not report it.",
    ),
    LogEvent(
        "calls", "call left",
        ("info",),
        ("how", "to", "seconds"),
        "FreeSWITCH has taken the call elsewhere. `how` is `transferred`, `parked`, `picked up` or `bridged to another "
        "call`; `to` is the destination.",
    ),
    LogEvent(
        "calls", "call not routed",
        ("error",),
        ("to", "reason"),
        "fsroute could not decide a call. The call is ended or handed back to the dialplan (`on_failure`).",
    ),
    LogEvent(
        "calls", "call failed",
        ("error",),
        ("to", "peer", "exception"),
        "A defect in fsroute, with its traceback. The call is ended or handed back to the dialplan (`on_failure`).",
    ),
    LogEvent("calls", "call not ended", ("warning",), ("peer", "reason"), "fsroute gave a call up and could not end it."),
    LogEvent("connections", "call not taken", ("warning",), ("peer", "reason"), "There are `max_calls` calls already."),
    LogEvent(
        "connections", "no descriptor left",
        ("error",),
        ("closed", "reason"),
        "The process has as many files and connections open as it may. fsroute closed `closed` connections since the last "
        "such line: FreeSWITCH goes on with the dialplan's next action. Logged every 10 s at most.",
    ),
    LogEvent("calls", "commands sent", ("debug",), ("commands",), "The commands of a plan, with the dial string."),
    LogEvent(
        "calls", "routed from memory",
        ("warning",),
        ("reason", "age_s"),
        "The database is away, or did not answer in time. The call is decided by the routing that was read `age_s` seconds "
        "ago.",
    ),
    LogEvent(
        "connections", "connection refused",
        ("warning",),
        ("peer", "reason"),
        "The address is not in the networks of `allow`.",
    ),
    LogEvent(
        "connections", "connection ended before a call",
        ("info",),
        ("peer", "reason"),
        "A connection closed before FreeSWITCH sent a call, as load balancers and port scans do. Or fsroute closed it: "
        "another one needed its place (`max_calls`).",
    ),
    LogEvent(
        "connections", "not a call",
        ("warning",),
        ("peer", "reason"),
        "A connection did not send a call in sync mode within `handshake_s`.",
    ),
    LogEvent(
        "registrations", "registration events: subscribed",
        ("info",),
        ("switch",),
        "FreeSWITCH sends registration events from now on. `switch` is its Core-UUID.",
    ),
    LogEvent(
        "registrations", "registration events: unavailable, querying on every call",
        ("warning",),
        ("reason",),
        "Logged once for each outage. fsroute connects again after half a second, later every 30 s.",
    ),
    LogEvent(
        "registrations", "registrations changed",
        ("debug",),
        ("user",),
        "A phone of this user has registered or is gone; `all` after a SIP profile has started or stopped.",
    ),
    LogEvent(
        "database", "database unavailable",
        ("error",),
        ("db", "reason"),
        "Logged once for each outage: the database cannot be reached or read, or its tables are of another fsroute version. "
        "Calls are decided from memory, or as `on_failure` says. fsroute tries again at least once a second.",
    ),
    LogEvent(
        "database", "database available again",
        ("info",),
        ("db", "seconds", "from_memory", "undecided"),
        "The outage is over. It lasted `seconds`; `from_memory` calls were decided by what was read before, and `undecided` "
        "calls not at all.",
    ),
    LogEvent(
        "database", "database replaced",
        ("warning",),
        ("file", "reason"),
        "Another SQLite file has the database's name now, or something else than SQLite has written into it. fsroute opens "
        "it anew.",
    ),
    LogEvent(
        "database", "database log left over",
        ("warning",),
        ("file", "renamed"),
        "The SQLite file that was replaced has left rows in its write-ahead log, which the new file must not get. The log "
        "has another name now; you may delete it.",
    ),
    LogEvent(
        "database", "database notifications: unavailable",
        ("warning",),
        ("db", "reason"),
        "Logged once for each outage: PostgreSQL's notifications of changes are unavailable. Cached routing is used for "
        "`cache_seconds` at most.",
    ),
    LogEvent(
        "database", "database notifications: available again",
        ("info",),
        ("db",),
        "A change takes effect when PostgreSQL notifies fsroute of it, as before.",
    ),
    LogEvent("database", "database check failed", ("error",), ("exception",), "A defect in fsroute, with its traceback."),
    LogEvent("process", "serving", ("info",), ("listen", "db"), "The server, or a worker, accepts calls."),
    LogEvent(
        "process", "max_calls lowered",
        ("warning",),
        ("max_calls", "given", "open_files"),
        "The limit of open files (`ulimit -n`, LimitNOFILE in units) is too low for the calls that the setting gives.",
    ),
    LogEvent(
        "process", "draining",
        ("info",),
        ("calls", "seconds"),
        "No new calls. fsroute waits so long for those it has; null is as long as they last.",
    ),
    LogEvent(
        "process", "calls left to FreeSWITCH",
        ("warning",),
        ("calls",),
        "`drain_s` is over. FreeSWITCH goes on with these calls alone.",
    ),
    LogEvent("process", "stopped", ("info",), (), "The server, or a worker, has ended."),
    LogEvent("process", "starting workers", ("info",), ("listen", "workers"), "The master starts its workers."),
    LogEvent(
        "process", "worker ended",
        ("error",),
        ("pid", "status", "seconds"),
        "A worker died after this many seconds. The master starts another one.",
    ),
    LogEvent("process", "worker cannot start", ("error",), ("reason",), "A worker cannot use its settings or database."),
    LogEvent(
        "process", "worker killed",
        ("error",),
        ("pid", "reason"),
        "A worker hangs: no heartbeat for `hang_s`, not ready in time, or not ended after a stop. The master replaces it.",
    ),
    LogEvent(
        "process", "no worker takes calls",
        ("error",),
        ("listen",),
        "No worker could be started for ten seconds. The master closes each new connection, and the dialplan goes on.",
    ),
    LogEvent(
        "process", "calls turned away",
        ("warning",),
        ("listen", "calls"),
        "A worker takes calls again. So many connections were closed.",
    ),
    LogEvent("process", "reloading", ("info",), (), "SIGHUP: the master starts new workers."),
    LogEvent(
        "process", "reloaded",
        ("info",),
        ("workers", "version", "seconds"),
        "The new workers take the calls. Those of before end after their last call.",
    ),
    LogEvent("process", "reload failed", ("error",), ("reason",), "The workers go on with the settings and code they have."),
    LogEvent("process", "signal ignored", ("warning",), ("signal",), "A signal that ends other programs. It ends no call."),
    LogEvent(
        "process", "take-over begins",
        ("info",),
        ("pid",),
        "Another fsroute (`--take-over`) has the listening sockets, and starts its workers.",
    ),
    LogEvent(
        "process", "handed over",
        ("info",),
        ("pid",),
        "The other fsroute takes the calls. This one ends after its last call.",
    ),
    LogEvent("process", "taken over", ("info",), ("pid",), "The fsroute that served before takes no more calls."),
    LogEvent(
        "process", "take-over failed",
        ("error",),
        ("pid", "reason"),
        "The other fsroute has ended. This one goes on.",
    ),
    LogEvent(
        "process", "take-over refused",
        ("warning",),
        ("pid", "reason"),
        "A process of another user asked for the port.",
    ),
    LogEvent(
        "process", "take-over not possible",
        ("warning",),
        ("reason",),
        "`--take-over` will not find this fsroute, because another program has the name under which it would.",
    ),
    LogEvent("process", "worker failed", ("error",), ("exception",), "A defect in fsroute ended a worker."),
    LogEvent(
        "process", "settings are readable by all",
        ("warning",),
        ("reason",),
        "mod_python: every user of the machine can read the settings file, which holds passwords.",
    ),
    LogEvent(
        "process", "log lines lost",
        ("warning",),
        ("lines", "reason"),
        "So many lines could not be written before this one: the disk was full, or nobody read them. Calls went on.",
    ),
    LogEvent("process", "ready", ("info",), ("db",), "mod_python: fsroute can decide calls."),
    LogEvent("process", "not ready", ("error",), ("reason",), "mod_python: the startup script failed. A call tries again."),
)  # fmt: skip
"""Every event that fsroute logs. Lines about one call also have the field `call`."""


def events_as_markdown(subject: str) -> str:
    """The events of a subject as a table of docs/reference/log-events.md."""
    rows = ["| event | level | fields | meaning |", "|---|---|---|---|"]
    for event in EVENTS:
        if event.subject == subject:
            fields = ", ".join(f"`{name}`" for name in event.fields)
            rows.append(f"| `{event.name}` | {', '.join(event.levels)} | {fields} | {event.meaning} |")
    return "\n".join(rows) + "\n"
