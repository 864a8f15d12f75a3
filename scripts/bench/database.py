"""Makes databases of any size for the bench: `python -m scripts.bench.database NUMBERS [DIRECTORY]`.

The tables are those of `fsroute init`, with every constraint. database.sql makes their rows. A finished database is kept and
used again until schema.sql or database.sql changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
FILLING = Path(__file__).with_name("database.sql")
SCHEMA = TOP / "schema.sql"

PER_ACCOUNT = 100
MOST = 50_000_000

BYTES_PER_NUMBER = 900
"""The size on the disk of a number with its share of rules, users and phones: the measured size and a tenth more."""

SPARE_BYTES = 200_000_000
"""Bytes on the disk that must stay free, for logs and other programs."""

READ_BYTES = 1 << 20

SAMPLE = 10
"""How many numbers the check of a new database explains: one of each kind."""


class BenchError(Exception):
    """The bench cannot run. The message is one line for the person who started it."""


def number(index: int) -> str:
    """The number with this index (from 0), as database.sql makes it."""
    return f"+49321{index:08d}"


def some_numbers(size: int, count: int, seed: int) -> list[str]:
    """`count` different numbers of a database of this size, in random order."""
    return [number(index) for index in random.Random(seed).sample(range(size), count)]  # noqa: S311 - no secret


def check(sizes: Sequence[int], directory: Path) -> None:
    """Raises BenchError if a size is impossible, or if the disk has no room for the databases that do not exist yet."""
    for size in sizes:
        if size % PER_ACCOUNT or not PER_ACCOUNT <= size <= MOST:
            raise BenchError(f"--sizes: {size}: must be a multiple of {PER_ACCOUNT} from {PER_ACCOUNT} to {MOST}")
    directory.mkdir(parents=True, exist_ok=True)
    missing = [size for size in sizes if not _path(size, directory).exists()]
    old = sum(path.stat().st_size for size in missing for path in _old(size, directory))
    needed, free = sum(missing) * BYTES_PER_NUMBER + SPARE_BYTES, shutil.disk_usage(directory).free + old
    if missing and needed > free:
        raise BenchError(
            f"--sizes: {' and '.join(map(str, missing))} numbers need {needed / 1e9:.1f} GB on the disk of {directory},"
            f" and {free / 1e9:.1f} GB are free"
        )


def database(size: int, directory: Path) -> tuple[Path, float | None]:
    """A database with `size` numbers, and the seconds that making it took: None if it existed.

    Raises BenchError as `check` does, or if the database cannot be made.
    """
    check([size], directory)
    path = _path(size, directory)
    if path.exists():
        return path, None
    for old in _old(size, directory):
        old.unlink()
    began = time.monotonic()
    partial = path.with_suffix(".db.partial")
    try:
        _fsroute("init", partial)
        _fill(size, partial)
        _check(size, partial)
        partial.rename(path)
    except sqlite3.Error as error:
        raise BenchError(f"{path.name}: {error}") from error
    finally:
        for rest in directory.glob(f"{partial.name}*"):
            rest.unlink()
    return path, time.monotonic() - began


def read_whole(path: Path) -> float:
    """Reads a file once, so that the system has it in memory if there is room. Returns the seconds that this took."""
    began = time.monotonic()
    with path.open("rb", buffering=0) as file:
        while file.read(READ_BYTES):
            pass
    return time.monotonic() - began


def forget(path: Path) -> None:
    """Makes the system drop a file from its memory. The host of a virtual disk may still have it in memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _path(size: int, directory: Path) -> Path:
    mark = hashlib.sha256(SCHEMA.read_bytes() + FILLING.read_bytes()).hexdigest()[:12]
    return directory / f"numbers-{size}-{mark}.db"


def _old(size: int, directory: Path) -> list[Path]:
    """Databases of this size that were made from other versions of schema.sql or database.sql, or by an interrupted run."""
    return [
        path for path in directory.glob(f"numbers-{size}-*.db*") if not path.name.startswith(_path(size, directory).name)
    ]


def _fill(size: int, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # Without a journal a crash destroys only this file. The finished database uses WAL again, as `fsroute init` makes
        # it.
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000;")
        connection.execute("CREATE TEMP TABLE size (numbers INTEGER)")
        connection.execute("INSERT INTO size VALUES (?)", (size,))
        connection.executescript(f"BEGIN; {FILLING.read_text(encoding='utf-8')} COMMIT;")
        if size <= MOST_CHECKED and (dangling := connection.execute("PRAGMA foreign_key_check").fetchone()):
            raise BenchError(f"database.sql: a row of {dangling[0]} points to no row of {dangling[2]}")
        connection.execute("PRAGMA journal_mode = WAL")


MOST_CHECKED = 100_000
"""Up to this size every foreign key is checked. The same statements make the larger databases, so these need no check."""


def _check(size: int, path: Path) -> None:
    """Has fsroute explain one number of each kind. Raises BenchError if one rings no phone."""
    first = random.Random(size).randrange(size // SAMPLE) * SAMPLE  # noqa: S311 - no secret
    for index in range(first, first + SAMPLE):
        said = _fsroute("explain", path, "--json", "--from", "+493023125001", "--to", number(index))
        decision = json.loads(said)
        if decision["code"] != "routed" or not decision["stages"]:
            raise BenchError(f"{path.name}: {number(index)} rings nobody: {decision['reasons']}")


def _fsroute(command: str, path: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "fsroute", command, "--db", f"sqlite:///{path}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=TOP,
    )
    if done.returncode:
        raise BenchError(f"fsroute {command}: {done.stderr.strip()}")
    return done.stdout


def main(arguments: Sequence[str]) -> int:
    """Makes one database and prints its name, its size and the time that it took."""
    try:
        size = int(arguments[0].replace("_", "").replace(",", ""))
        directory = Path(arguments[1]) if arguments[1:] else TOP / "build" / "bench"
    except (IndexError, ValueError):
        print("usage: python -m scripts.bench.database NUMBERS [DIRECTORY]", file=sys.stderr)
        return 2
    try:
        path, seconds = database(size, directory.resolve())
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    took = "existed before" if seconds is None else f"made in {seconds:.1f} s"
    print(f"{path.name}: {size:,} numbers, {path.stat().st_size / 1e6:,.1f} MB, {took}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
