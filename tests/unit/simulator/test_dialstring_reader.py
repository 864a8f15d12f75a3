"""The reader of dial strings against what FreeSWITCH's own functions did with the same strings.

The vectors were obtained by running FreeSWITCH's parser; where one line holds several, each has its letter.
"""

from __future__ import annotations

import contextlib
import time

import pytest

from fsroute.simulator.dialstring_reader import Parsed, ParseError, expand, parse
from tests.support.dial_strings import leg, parsed

U1 = leg("u/1")

VECTORS: dict[str, tuple[str, Parsed]] = {
    "1": ("a/1,a/2|a/3", parsed([leg("a/1"), leg("a/2")], [leg("a/3")])),
    "2": (
        "{t=30}[x=1]u/1,[x=2]u/2|[x=3]u/3",
        parsed([leg("u/1", x="1"), leg("u/2", x="2")], [leg("u/3", x="3")], t="30"),
    ),
    "3": ("[n='Smith, John',x=1]u/1", parsed([leg("u/1", n="Smith", x="1")])),
    "4": (r"[n=Smith\, John,x=1]u/1", parsed([leg("u/1", n="Smith, John", x="1")])),
    "5a": ("{n='Smith, John',x=1}u/1", parsed([U1], n="Smith, John", x="1")),
    "5b": (r"{n=Smith\, John,x=1}u/1", parsed([U1], n="Smith, John", x="1")),
    "6a": ("[^^:n=Smith, John:x=1]u/1", parsed([leg("u/1", n="Smith, John", x="1")])),
    "6b": ("[^^;n=Smith, John;x=1]u/1", parsed([leg("u/1", n="Smith, John", x="1")])),
    "6c": ("{^^:n=Smith, John:x=1}u/1", parsed([U1], n="Smith, John", x="1")),
    "7": ("[n=a|b,x=1]u/1", parsed([leg("[n=a", error=True)], [leg("b"), leg("x=1]u/1")])),
    "8a": ("[n='a|b',x=1]u/1", parsed([leg("u/1", n="a|b", x="1")])),
    "8b": (r"[n=a\|b,x=1]u/1", parsed([leg("u/1", n="a|b", x="1")])),
    "8c": ("[^^:n=a|b:x=1]u/1", parsed([leg("[^^:n=a", error=True)], [leg("b:x=1]u/1")])),
    "9": ("{n=a|b,x=1}u/1|u/2", parsed([U1], [leg("u/2")], n="a|b", x="1")),
    "10": ("[n=O'Brien,x=1]u/1", parsed([leg("u/1", n="O'Brien,x=1")])),
    "11a": ("{n=O'Brien,x=1}u/1", parsed([U1], n="O'Brien", x="1")),
    "11b": ("{n=O'Brien,co=D'Arcy,t=5}u/1", parsed([U1], n="OBrien,co=DArcy", t="5")),
    "12": (
        "[n=O'Brien,x=1]u/1,[n=D'Arcy,x=2]u/2",
        parsed([leg("u/1", n="OBrien", x="1"), leg("u/2", n="DArcy", x="2")]),
    ),
    "13": ("[n=O'Brien,x=1]u/1|[n=D'Arcy,x=2]u/2", parsed([leg("u/1|[n=DArcy\x02x=2]u/2", n="OBrien", x="1")])),
    "15": (
        "[^^:n=O\u2019Brien, J:x=1]u/1|[^^:n=D\u2019Arcy, K:x=2]u/2",
        parsed([leg("u/1", n="O\u2019Brien, J", x="1")], [leg("u/2", n="D\u2019Arcy, K", x="2")]),
    ),
    "16a": ("[n=a]b,x=1]u/1", parsed([leg("b", n="a"), leg("x=1]u/1")])),
    "16b": ("[n='a]b',x=1]u/1", parsed([leg("b", n="a"), leg("x=1]u/1")])),
    "17a": ("[n=a[b,x=1]u/1", parsed([leg("[n=a[b\x02x=1]u/1", error=True)])),
    "17b": ("[n=a[b]c,x=1]u/1", parsed([leg("u/1", n="a[b]c", x="1")])),
    "18a": ("{n=a}b,x=1}u/1", parsed([leg("b"), leg("x=1}u/1")], n="a")),
    "18c": ("[n=a}b{,x=1]u/1", parsed([leg("u/1", n="a}b{", x="1")])),
    "21a": ("{a=1} [b=2] u/1 , [b=3]u/2 | u/3", parsed([leg("u/1", b="2"), leg("u/2", b="3")], [leg("u/3")], a="1")),
    "21b": ("{a=1} {b=2}u/1", parsed([leg("{b=2}u/1")], a="1")),
    "21c": ("{a=1}{b=2}u/1", parsed([U1], a="1", b="2")),
    "21d": ("[a=1][b=2]u/1", parsed([leg("u/1", a="1", b="2")])),
    "21e": ("[a=1] [b=2]u/1", parsed([leg("[b=2]u/1", a="1")])),
    "22a": ("[a=,b=2]u/1", parsed([leg("u/1", b="2")])),
    "22b": ("[a,b=2]u/1", parsed([leg("u/1", b="2")])),
    "22c": ("{a=1,a=2}u/1", parsed([U1], a="2")),
    "22d": ("[url=http://h/?x=1&y=2,z=3]u/1", parsed([leg("u/1", url="http://h/?x=1&y=2", z="3")])),
    "23a": ("u/1,,u/2", parsed([U1, leg(""), leg("u/2")])),
    "23b": ("u/1||u/2", parsed([U1], [], [leg("u/2")])),
    "23c": ("u/1|", parsed([U1])),
    "23d": ("u/1,", parsed([U1])),
    "24a": (r"[n=a\nb]u/1", parsed([leg("u/1", n="a\nb")])),
    "24b": (r"[n=a\\nb]u/1", parsed([leg("u/1", n="a\nb")])),
    "24c": (r"[n=a\\\\nb]u/1", parsed([leg("u/1", n="a\nb")])),
    "24d": (r"[n=a\rb\tc\sd]u/1", parsed([leg("u/1", n="a\rb\tc d")])),
    "24e": (r"[n=a\b]u/1", parsed([leg("u/1", n=r"a\b")])),
    "27a": ("^^;u/1;u/2|u/3", parsed([U1], [leg("u/2|u/3")])),
    "27b": ("u/1|^^:u/2:u/3", parsed([U1], [leg("u/2"), leg("u/3")])),
    "28a": (
        ",".join(f"u/{i}" for i in range(130)),
        parsed([*(leg(f"u/{i}") for i in range(127)), leg("u/127,u/128,u/129")]),
    ),
    "28b": (
        "|".join(f"u/{i}" for i in range(130)),
        parsed(*([leg(f"u/{i}")] for i in range(127)), [leg("u/127|u/128|u/129")]),
    ),
    "29": (
        "[a=1,b=2]sofia/internal/1000@[2001:db8::1]:5060,sofia/internal/1001@[2001:db8::2]",
        parsed(
            [
                leg("sofia/internal/1000@[2001:db8::1]:5060", a="1", b="2"),
                leg("sofia/internal/1001@[2001:db8::2]"),
            ]
        ),
    ),
    "30": ("[n=a\x01b\x02x=9,y=1]u/1", parsed([leg("u/1", n="a,b", x="9", y="1")])),
    "31a": (
        "[absolute_codec_string='PCMA,PCMU',leg_timeout=10]u/1",
        parsed([leg("u/1", absolute_codec_string="PCMA", leg_timeout="10")]),
    ),
    "31b": (
        r"[absolute_codec_string=PCMA\,PCMU]u/1",
        parsed([leg("u/1", absolute_codec_string="PCMA,PCMU")]),
    ),
    "31c": ("{absolute_codec_string='PCMA,PCMU'}u/1", parsed([U1], absolute_codec_string="PCMA,PCMU")),
    "31d": (
        "[absolute_codec_string=^^:PCMA:PCMU]u/1",
        parsed([leg("u/1", absolute_codec_string="^^:PCMA:PCMU")]),
    ),
    "32": (
        "[sip_h_Diversion=<sip:+33100@d>;reason=unconditional;counter=1,x=1]sofia/gateway/gw/1",
        parsed([leg("sofia/gateway/gw/1", sip_h_Diversion="<sip:+33100@d>;reason=unconditional;counter=1", x="1")]),
    ),
    "33": ("[n=  padded  ,x=1]u/1", parsed([leg("u/1", n="padded", x="1")])),
    "unit 559": (
        "{group_confirm_file='playback silence_stream://1000',group_confirm_key=exec}null/test",
        parsed([leg("null/test")], group_confirm_file="playback silence_stream://1000", group_confirm_key="exec"),
    ),
    "unit 595": (
        "[group_confirm_key=exec,group_confirm_file='event a=1']loopback/loopback",
        parsed([leg("loopback/loopback", group_confirm_key="exec", group_confirm_file="event a=1")]),
    ),
    "unit 773": ("{null_video_codec=VP8}null/+15553334444", parsed([leg("null/+15553334444")], null_video_codec="VP8")),
}


@pytest.mark.parametrize(("text", "expected"), VECTORS.values(), ids=VECTORS.keys())
def test_reads_as_freeswitch(text: str, expected: Parsed) -> None:
    assert parse(text) == expected


def test_18b_an_unbalanced_brace_dials_nothing() -> None:
    with pytest.raises(ParseError):
        parse("{n=a{b,x=1}u/1")


def test_19_the_enterprise_delimiter_wins_over_every_bracket() -> None:
    result = parse("{n=x:_:y}u/1")
    assert result.groups == ()
    broken, rest = result.enterprise
    assert isinstance(broken, ParseError)
    assert rest == parsed([leg("y}u/1")])


def test_20_enterprise_parts_are_dial_strings_of_their_own() -> None:
    result = parse("<v=1>{a=1}u/1,u/2:_:{a=2}u/3")
    assert result == Parsed({"v": "1"}, (), (parsed([U1, leg("u/2")], a="1"), parsed([leg("u/3")], a="2")))


def variable(name: str) -> str:
    return {"domain_name": "d.example", "v": "a|b,c"}[name]


def api(name: str, args: str) -> str:
    return f"<{name}:{args}>"


EXPANSIONS: dict[str, tuple[str, str]] = {
    "14": (r"[n=O\'Brien,x=1]u/1", "[n=OBrien,x=1]u/1"),
    "25a": ("u/1@${domain_name}", "u/1@d.example"),
    "25b": (r"\${domain_name}", "${domain_name}"),
    "25c": (r"\\${domain_name}", "\\d.example"),
    "26a": ("[n=${system(x)}]u/1", "[n=<system:x>]u/1"),
    "26b": ("[n=${system x}]u/1", "[n=<system:x>]u/1"),
    "26c": ("$ {system x}", "$ {system x}"),
    "26d": ("a$b $5 x$", "a$b $5 x$"),
    "a variable's value becomes grammar": ("[name=${v}]user/1000", "[name=a|b,c]user/1000"),
    "brackets in arguments": ("${sofia_contact(*/1@d/[a=1,b=2])},u/2", "<sofia_contact:*/1@d/[a=1,b=2]>,u/2"),
    "untouched without need": (r"[n=a\,b]u/1", r"[n=a\,b]u/1"),
}


@pytest.mark.parametrize(("text", "expected"), EXPANSIONS.values(), ids=EXPANSIONS.keys())
def test_expands_as_freeswitch(text: str, expected: str) -> None:
    assert expand(text, variable, api) == expected


# --- any length -------------------------------------------------------------------------------------------

PATTERNS = (
    "[", "]", "[]", "[a=1]", "{", "{a=1}", "<a=1>", "'", "'a", "\\", "\\'", ",", "|", "a,", "'a',", ":_:", ":_:{", " ",
    "^^:",
    "$", "$\\", "${", "${a", "${a}", "${a(", "}", "(", ")",
)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_time_to_read_a_text_grows_with_its_length_only(pattern: str) -> None:
    def seconds(length: int) -> float:
        text = pattern * (length // len(pattern))
        began = time.process_time()
        with contextlib.suppress(ParseError):
            parse(text)
        expand(text, lambda _: "", lambda *_: "")
        return time.process_time() - began

    short, long = min(seconds(20_000) for _ in range(3)), seconds(200_000)
    assert long < short * 30 + 0.2  # ten times as long; if time grew with the square, a hundred times


def test_expansions_inside_each_other_end_where_freeswitch_ends_them() -> None:
    asked: list[str] = []

    def variable(name: str) -> str:
        asked.append(name)
        return "${a}"

    assert expand("${a}", variable, lambda *_: "") == "${a}"
    assert asked == ["a"] * 101  # switch_channel_expand_variables_check with recur 0 to 100
    assert expand("${" * 1000, lambda name: name, lambda *_: "") == ""
