"""What conftest.py forbids in this folder is refused, and noticed where the code under test swallows the error."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading

import pytest

from fsroute.data.database import open_database, psycopg_connect

EXIT = [sys.executable, "-c", ""]
REFUSED = pytest.fail.Exception


def test_a_process_is_refused(attempts: list[str]) -> None:
    with pytest.raises(REFUSED, match=r"subprocess\.Popen"):
        subprocess.run(EXIT, check=True)
    with pytest.raises(REFUSED, match=r"os\.system"):
        os.system("true")  # noqa: S605 - it does not run
    with pytest.raises(REFUSED, match=r"os\.fork"):
        os.fork()
    assert len(attempts) == 3
    attempts.clear()


def test_a_process_of_another_thread_is_noticed(attempts: list[str]) -> None:
    def swallow() -> None:
        with contextlib.suppress(BaseException):
            subprocess.run(EXIT, check=True)

    thread = threading.Thread(target=swallow)
    thread.start()
    thread.join()
    assert attempts == [f"subprocess.Popen {sys.executable}"]
    attempts.clear()


def test_a_database_server_is_refused(attempts: list[str]) -> None:
    pytest.importorskip("psycopg", reason="NOT RUN: PostgreSQL in a unit test: psycopg is not installed")
    url = "postgresql://fsroute@127.0.0.1:1/calls"
    with pytest.raises(REFUSED, match="psycopg"):
        psycopg_connect(url)
    with pytest.raises(REFUSED, match="psycopg"):
        open_database(url).connect()
    assert attempts == ["psycopg.connect"] * 2
    attempts.clear()
