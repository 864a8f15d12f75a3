"""Every command and snippet of the pages is run: a page is one session in a directory of its own, with the demo in demo.db.

console   lines that begin with `$ ` are run, and what follows is compared with what they print: `...` is any text, on a
          line of its own any lines. Times are not compared. The two values in PLACEHOLDERS stand for what the session got.
sh        run; exit status 0. `make run` and `fsroute serve` go on in the background to the end of the page. Other targets of
          make are only looked up (make -n): some would run these tests.
python    run as a script. What it reads from standard input is the code that the SMS gateway got.
sql       loaded into demo.db. toml: read as settings. xml, json: parsed. text: not run, it is a picture or an output.

A mark in front of a block, `<!-- file: NAME -->`, keeps it in that file for later blocks; `<!-- not run: REASON -->` leaves
it out, and the last test prints these blocks. SMS go to a gateway of the test.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from xml.etree import ElementTree as ET

import pytest

from fsroute.configuration.settings import load_settings
from scripts.make_docs import TOP, pages
from tests.support.documents import Block, blocks
from tests.support.tables import demo_database

LINKED = (
    "Makefile",
    "constraints.txt",
    "constraints-lowest.txt",
    "setup.cfg",
    "pyproject.toml",
    "schema.sql",
    "scripts",
    "fsroute",
    "freeswitch",
)

PLACEHOLDERS = {"2f0c5b1e9a6d4f3b8c7a1e20": r"[0-9a-f]{24}", "493817": r"[0-9]{6}"}
"""What pages write for the id of a verification and for its code."""

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)")
START_S = 30.0
COMMAND_S = 60.0


class Gateway:
    """An SMS gateway: it takes each message, and gives its code to whoever waits for one."""

    def __init__(self) -> None:
        self.codes: Queue[str] = Queue()
        self.last = ""
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                gateway.last = re.findall(r"\b\d{6}\b", body)[0]
                gateway.codes.put(gateway.last)
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/messages"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Session:
    """One page: a directory, an environment, what runs in the background, and the values that replaced placeholders."""

    def __init__(self, directory: Path, gateway: Gateway) -> None:
        self.directory = directory
        self.gateway = gateway
        self.background: list[subprocess.Popen[bytes]] = []
        self.values: dict[str, str] = {}
        for name in LINKED:
            (directory / name).symlink_to(TOP / name)
        (directory / ".venv").symlink_to(sys.prefix)
        demo_database(directory / "demo.db")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(("FSROUTE_", "MAKE"))} | {
            "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "FSROUTE_LISTEN": f"127.0.0.1:{self.port}",
            "FSROUTE_SMS_URL": gateway.url,
            "COLUMNS": "120",
            "NO_COLOR": "1",
        }

    def run(self, block: Block) -> None:
        if block.not_run:
            return
        if block.file:
            (self.directory / block.file).write_text(block.text)
            return
        if block.language == "console":
            for command, expected in commands(block.text):
                self.compare(block, command, self.command(block, command, fails=True), expected)
        elif block.language == "sh":
            for command in joined(block.text):
                self.command(block, command)
        else:
            self.read(block)

    def read(self, block: Block) -> None:
        """A block in another language than the shell's."""
        match block.language:
            case "python":
                self.script(block)
            case "sql":
                (self.directory / "block.sql").write_text(block.text)
                self.command(block, "fsroute load --db sqlite:///demo.db block.sql")
            case "toml":
                path = self.directory / "block.toml"
                path.write_text(block.text)
                assert tomllib.loads(block.text)
                load_settings({}, {}, str(path))
            case "xml":
                ET.fromstring(f"<block>{block.text}</block>")  # noqa: S314 - our own pages
            case "json":
                json.loads(block.text)

    def command(self, block: Block, command: str, *, fails: bool = False) -> str:
        """Runs one command. `fails`: its exit status may be another than 0."""
        for placeholder, value in self.values.items():
            command = command.replace(placeholder, value)
        command = command.replace("493817", self.gateway.last or "493817")
        name, *rest = shlex.split(command, comments=True)
        if name == "export":
            variable, _, value = rest[0].partition("=")
            self.environment[variable] = value
            return ""
        if name == "make" and rest[0] != "run":
            command = f"make -n {' '.join(rest)}"
        elif name == "make":
            command = f"exec make -o .venv/bin/fsroute run LISTEN=127.0.0.1:{self.port}"
            return self.serve(block, command)
        elif name.endswith("fsroute") and rest[0] == "serve":
            return self.serve(block, f"exec {command}")
        elif name.endswith("fsroute") and rest[0] == "call":
            command += f" --port {self.port}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert fails or done.returncode == 0, f"{block}: {command}\n{done.stdout}"
        return done.stdout

    def serve(self, block: Block, command: str) -> str:
        log = self.directory / "serve.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.directory,
                env=self.environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self.background.append(process)
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert process.poll() is None, f"{block}: {command}\n{log.read_text()}"
                assert time.monotonic() < deadline, f"{block}: {command}\n{log.read_text()}"
                time.sleep(0.05)
            else:
                return ""

    def script(self, block: Block) -> None:
        path = self.directory / "block.py"
        path.write_text(block.text)
        process = subprocess.Popen(
            [sys.executable, str(path)],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        given = ""
        if "input(" in block.text:
            given = self.gateway.codes.get(timeout=COMMAND_S) + "\n"
        output, _ = process.communicate(given, timeout=COMMAND_S)
        assert process.returncode == 0, f"{block}:\n{output}"

    def compare(self, block: Block, command: str, printed: str, expected: list[str]) -> None:
        if not expected:
            return
        pattern = "".join(self.pattern(line) for line in expected)
        for placeholder, form in PLACEHOLDERS.items():
            if placeholder in self.values:
                pattern = pattern.replace(placeholder, re.escape(self.values[placeholder]))
            elif placeholder in pattern:
                first, *rest = pattern.split(placeholder)
                pattern = f"(?P=p{placeholder})".join([f"{first}(?P<p{placeholder}>{form}){rest[0]}", *rest[1:]])
        text = "".join(f"{line.rstrip()}\n" for line in TIME.sub("TIME", printed.strip("\n")).split("\n"))
        found = re.fullmatch(pattern, text)
        assert found, f"{block}: $ {command}\nprinted:\n{text}\nthe page shows:\n" + "\n".join(expected)
        self.values |= {key: found[f"p{key}"] for key in PLACEHOLDERS if f"p{key}" in found.groupdict()}

    def pattern(self, line: str) -> str:
        """One line as an expression. A line `...` is any number of lines."""
        line = TIME.sub("TIME", line.rstrip())
        if line == "...":
            return "(?:.*\n)*"
        return re.escape(line).replace(r"\.\.\.", ".*") + "\n"

    def close(self) -> None:
        for process in self.background:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def joined(text: str) -> Iterator[str]:
    """Commands of several lines, written with a backslash, as one; comments and blank lines left out."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines it is shown to print."""
    for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        command, *lines = part.rstrip("\n").split("\n")
        yield command, lines


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    started = Gateway()
    yield started
    started.close()


@pytest.mark.parametrize(
    "page", [page for page in pages() if list(blocks(page))], ids=lambda page: str(page.relative_to(TOP))
)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path, gateway: Gateway) -> None:
    session = Session(tmp_path, gateway)
    try:
        for block in blocks(page):
            session.run(block)
    finally:
        session.close()


def test_what_no_test_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """`pytest -s -k no_test_runs` lists the blocks that need what a test machine may not have."""
    left_out = [block for page in pages() for block in blocks(page) if block.not_run]
    with capsys.disabled():
        for block in left_out:
            sys.stdout.write(f"\n{block}: {block.not_run}: {block.text.splitlines()[0]}")
    assert all(block.not_run for block in left_out)
    assert len(left_out) < len([block for page in pages() for block in blocks(page)]) / 2


def keys(data: object) -> Iterator[str]:
    """All keys of a JSON value, except those of the SIP headers of a leg, which are no fixed set."""
    if isinstance(data, list):
        for item in data:
            yield from keys(item)
    elif isinstance(data, dict):
        for key, value in data.items():
            yield key
            yield from () if key == "headers" else keys(value)


@pytest.mark.parametrize(
    "command",
    [
        "explain --to 02214710300 --from 03023125001",
        "explain --to 02214710400 --from 03023125001 --at 2026-11-22T12:00",
        "explain --to 03023125001 --direction outbound --account acme --user reception",
        "verify list",
        "verify show --account acme --number +498999998123",
        "verify history --number +498999998123",
        "verify expire",
    ],
)
def test_every_key_of_the_json_is_documented(tmp_path: Path, command: str) -> None:
    url = demo_database(tmp_path / "demo.db")
    done = subprocess.run(
        [sys.executable, "-m", "fsroute", *command.split(), "--db", url, "--json"],
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=True,
    )
    page = (TOP / "docs" / "reference" / "json.md").read_text("utf-8")
    assert [key for key in sorted(set(keys(json.loads(done.stdout)))) if f"`{key}`" not in page] == []
