"""structlog, set up once. One line per decision tells a call's story; lines go to standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger, Processor

_HIDDEN_DIGITS = 3


def make_logger(log_format: str, log_level: str) -> FilteringBoundLogger:
    """A logger for this process. `auto` is for people on a terminal and for machines elsewhere."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if console else structlog.processors.JSONRenderer()
    return _logger(structlog.WriteLogger(sys.stderr), renderer, log_level)


def make_switch_logger(output: Any, log_level: str) -> FilteringBoundLogger:
    """A logger whose JSON lines go to `output`, which has a method for each level."""
    return _logger(output, structlog.processors.JSONRenderer(), log_level)


def _logger(output: Any, renderer: Processor, log_level: str) -> FilteringBoundLogger:
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        renderer,
    ]
    logger: FilteringBoundLogger = structlog.wrap_logger(
        output,
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[log_level.upper()]),
        cache_logger_on_first_use=True,
    )
    return logger


def shorten(number: str) -> str:
    """A number without its last digits, which make it a person's."""
    return number[:-_HIDDEN_DIGITS] + "x" * _HIDDEN_DIGITS if len(number) > _HIDDEN_DIGITS else "x" * len(number)
