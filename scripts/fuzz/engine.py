"""Runs one target under atheris, in the environment that scripts.fuzz.fuzz has made.

python -m scripts.fuzz.engine TARGET PROGRAM [an option of libFuzzer, or a file or directory with inputs]...

PROGRAM is what libFuzzer starts to run this target again.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["fsroute", "scripts.fuzz.targets"]):
    from scripts.fuzz.corpus import check_of

    CHECK = check_of(sys.argv[1])


def main() -> None:
    atheris.Setup(sys.argv[2:], CHECK)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
