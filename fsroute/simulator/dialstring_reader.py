"""Reads a dial string as FreeSWITCH does: the counterpart of switch/dialstring.py. Pure.

The tests compare the written string with what FreeSWITCH reads, and the simulated channel rings the same legs. This module
follows the order of switch_ivr_originate.c (1.11), because the order makes the grammar:

  1. the application argument is expanded (switch_channel_expand_variables_check), before anything else;
  2. `:_:` anywhere makes it an enterprise string, whatever text is around it;
  3. `<...>` blocks, then `{...}` blocks, at the very front;
  4. the rest is split on `|`, which knows quotes and backslashes but no brackets;
  5. each group marks the commas inside `[...]`, then is split on `,`;
  6. each leg loses its `[...]` blocks.

Every split removes quotes and one level of backslashes, so each pass removes the quoting of the next. That is why the
writer quotes nothing and allows so few characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from fsroute.routing.limits import MAX_LEGS

_MAX_VARIABLES = 1024
_QUOTED_COMMA, _UNQUOTED_COMMA = "\x01", "\x02"
_ENTERPRISE = ":_:"

_MOST_EXPANSIONS = 100
"""Expansions inside each other; FreeSWITCH leaves deeper ones as they are (switch_channel_expand_variables_check, recur)."""

_EXPANSION = re.compile(r"\$\\*\{")


class ParseError(ValueError):
    """FreeSWITCH would log "Parse Error!" and dial nothing."""


@dataclass(frozen=True, slots=True)
class ParsedLeg:
    """One leg: its own variables and its endpoint. `error` marks a leg whose block does not end."""

    variables: dict[str, str]
    endpoint: str
    error: bool = False


@dataclass(frozen=True, slots=True)
class Parsed:
    """A dial string: variables for all legs, and groups of legs. `enterprise` parts are dial strings themselves."""

    variables: dict[str, str]
    groups: tuple[tuple[ParsedLeg, ...], ...] = ()
    enterprise: tuple[Parsed | ParseError, ...] = ()


# --- expansion --------------------------------------------------------------------------------------------


def expand(text: str, variable: Callable[[str], str], api: Callable[[str, str], str], depth: int = 0) -> str:
    """Expands `${name}`, `${name(args)}` and backslashes in an application's argument, as FreeSWITCH does.

    `variable` returns a channel variable's value, which is expanded too; `api` a command's output, which is not.
    """
    if depth > _MOST_EXPANSIONS or not _needs_expansion(text):
        return text
    out: list[str] = []
    i = 0
    while i < len(text):
        pair = text[i : i + 2]
        if pair == "\\$":
            i += 2 if text[i + 2 : i + 3] == "$" else 1
            out.append("$")
            i += 1
        elif pair == "\\'":
            i += 2
        elif pair == "\\\\":
            out.append("\\")
            i += 2
        elif pair == "${" or text[i : i + 3] == "$${":
            start = text.index("{", i) + 1
            end = _end_of_expansion(text, start)
            out.append(_expanded(text[start:end], variable, api, depth + 1))
            i = end + 1
        else:
            out.append(text[i])
            i += 1
    return "".join(out)


def _needs_expansion(text: str) -> bool:
    """switch_string_var_check_const and switch_string_has_escaped_data."""
    return _EXPANSION.search(text) is not None or any(escape in text for escape in ("\\\\", "\\n", "\\s", "\\t", "\\'"))


def _end_of_expansion(text: str, start: int) -> int:
    depth = 1
    for i in range(start, len(text)):
        if text[i] == "{" and i > start:
            depth += 1
        elif text[i] == "}":
            depth -= 1
            if not depth:
                return i
    return len(text)


def _expanded(inner: str, variable: Callable[[str], str], api: Callable[[str, str], str], depth: int) -> str:
    split = min((i for i in (inner.find(" "), inner.find("(")) if i >= 0), default=-1)
    if split < 0:
        return expand(variable(expand(inner, variable, api, depth)), variable, api, depth)
    name, args = inner[:split].rstrip(" "), inner[split + 1 :]
    if inner[split] == "(":
        args = _until_parenthesis(args)
    return api(expand(name, variable, api, depth), expand(args, variable, api, depth))


def _until_parenthesis(args: str) -> str:
    depth = 1
    for i, char in enumerate(args):
        depth += (char == "(") - (char == ")")
        if not depth:
            return args[:i]
    return args


# --- parsing ----------------------------------------------------------------------------------------------


def parse(text: str) -> Parsed:
    """The legs of an expanded dial string. Raises ParseError where FreeSWITCH dials nothing."""
    if _ENTERPRISE in text:
        return _parse_enterprise(text)
    variables: dict[str, str] = {}
    start = 0
    for opening, closing in ("<>", "{}"):
        start = _take_blocks(text, start, opening, closing, ",", variables)
    groups = _separate(text[start:].lstrip(" "), "|", MAX_LEGS)
    return Parsed(variables, tuple(tuple(_parse_group(group)) for group in groups))


def _parse_enterprise(text: str) -> Parsed:
    variables: dict[str, str] = {}
    text = text.lstrip(" ")
    text = text[_take_blocks(text, 0, "<", ">", ",", variables) :]
    return Parsed(variables, (), tuple(_parse_part(part) for part in text.split(_ENTERPRISE)[:MAX_LEGS]))


def _parse_part(part: str) -> Parsed | ParseError:
    try:
        return parse(part)
    except ParseError as error:
        return error


def _parse_group(group: str) -> list[ParsedLeg]:
    return [_parse_leg(leg) for leg in _separate(_mark_commas(group), ",", MAX_LEGS)]


def _mark_commas(group: str) -> str:
    """Hides the commas inside `[...]` from the split into legs."""
    chars = list(group)
    ends = _ends(group, "[", "]")
    end, quoted, caret = -1, False, False
    for i, char in enumerate(chars):
        if end < 0 and char == "[":
            end = ends.get(i, -1)
            caret = group.startswith("^^", i + 1)
            quoted = False
        if char == "'":
            quoted = not quoted
        if i < end and char == "," and chars[i - 1] != "\\":
            chars[i] = _QUOTED_COMMA if quoted or caret else _UNQUOTED_COMMA
        if i == end:
            end = -1
    return "".join(chars)


def _parse_leg(leg: str) -> ParsedLeg:
    variables: dict[str, str] = {}
    leg = leg.lstrip(" ")
    start, ends = 0, _ends(leg, "[", "]")
    while leg.startswith("[", start):
        end = ends.get(start, -1)
        if end < 0:
            return ParsedLeg(variables, leg[start:], error=True)
        block = leg[start + 1 : end].replace(_QUOTED_COMMA, ",")
        _read_variables(block, _UNQUOTED_COMMA, variables)
        start = end + 1
    return ParsedLeg(variables, leg[start:].lstrip(" "))


def _take_blocks(text: str, start: int, opening: str, closing: str, delimiter: str, variables: dict[str, str]) -> int:
    """Reads the blocks from `start` on into `variables`, and returns where the text after them begins."""
    if not text.startswith(opening, start):
        return start
    ends = _ends(text, opening, closing)
    while text.startswith(opening, start):
        end = ends.get(start, -1)
        if end < 0:
            raise ParseError(f"a {opening} block does not end: {text[start:]}")
        _read_variables(text[start + 1 : end], delimiter, variables)
        start = end + 1
    return start


def _read_variables(inner: str, delimiter: str, variables: dict[str, str]) -> None:
    if inner.startswith("^^"):
        delimiter, inner = inner[2:3], inner[3:]
    for item in _separate(inner, delimiter, _MAX_VARIABLES):
        name, *value = _separate(item, "=", 2) or [""]
        if value and value[0]:
            variables[name] = value[0]


def _ends(text: str, opening: str, closing: str) -> dict[int, int]:
    """Where the block of each opening bracket ends, as switch_find_end_paren finds it: it counts brackets and knows neither
    quotes nor backslashes."""
    ends: dict[int, int] = {}
    open_: list[int] = []
    for i, char in enumerate(text):
        if char == opening:
            open_.append(i)
        elif char == closing and open_:
            ends[open_.pop()] = i
    return ends


def _separate(text: str, delimiter: str, limit: int) -> list[str]:
    """switch_separate_string."""
    if text.startswith("^^") and text[3:]:
        delimiter, text = text[2], text[3:]
    elements: list[str] = []
    start, i, quoted = 0, 0, False
    last_quote = text.rfind("'")
    while i < len(text) and len(elements) < limit - 1:
        char = text[i]
        if char == "\\":
            i += 1
        elif char == "'" and (quoted or i < last_quote):
            quoted = not quoted
        elif char == delimiter and not quoted:
            elements.append(text[start:i])
            start = i + 1
        i += 1
    if start < len(text):
        elements.append(text[start:])
    return [_clean(element, delimiter) for element in elements]


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "s": " "}


def _clean(text: str, delimiter: str) -> str:
    """cleanup_separated_string: removes outer blanks, paired quotes and one level of backslashes."""
    out: list[str] = []
    keep, quoted, i = 0, False, 0
    text = text.lstrip(" ")
    last_quote = text.rfind("'")
    while i < len(text):
        char, following = text[i], text[i + 1 : i + 2]
        if char == "\\" and (following in _ESCAPES or (following and following in f"'\"\\{delimiter}")):
            out.append(_ESCAPES.get(following, following))
            keep = len(out)
            i += 1
        elif char == "'" and (quoted or i < last_quote):
            quoted = not quoted
            if quoted:
                keep = len(out)
        else:
            out.append(char)
            if char != " " or quoted:
                keep = len(out)
        i += 1
    return "".join(out[:keep])
