"""Every script in scripts/examples loads over the demo data, and does what its comment says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fsroute.cli import main as cli
from fsroute.data import loader
from fsroute.data.database import open_database
from fsroute.data.routing_store import Store
from fsroute.model import Call, Direction, Routing
from fsroute.reports.explanation import as_data
from fsroute.routing.planner import DEFAULT_HOP_LIMIT
from fsroute.switch.dialstring import Confirmation
from tests.support.postgresql import Databases
from tests.support.tables import DEMO, LOADED

EXAMPLES = DEMO.parent / "examples"
BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = "2026-11-23T10:00"
MORNING = datetime(2026, 11, 23, 10, tzinfo=BERLIN)
ANONYMOUS = "anonymous"

RECEPTION_25, OFFICE_25 = "1: 1001 0-25, 1002 0-25", "1004 0-25"
BUSY, NO_ANSWER, UNREACHABLE = "hangup USER_BUSY", "hangup NO_ANSWER", "hangup SUBSCRIBER_ABSENT"


@dataclass(frozen=True)
class Case:
    """A call to the number that ends in these digits, and what it does.

    Steps are written `RULE: TARGET FROM-TO, ... | ...; FINAL`, in seconds of the stage; a `*` stands for a key press.
    What follows an outcome is written the same way.
    """

    example: str
    number: str
    does: str
    at: str = MONDAY
    caller: str = "+493023125001"
    busy: str | None = None
    no_answer: str | None = None
    unreachable: str | None = None

    def __str__(self) -> str:
        return f"{self.example} {self.number} {self.caller} {self.at}"


CASES = [
    Case("parallel-with-delays", "110", "1: 1001 0-40, 1002 0-40, 1003 10-40, +491713920042 20-40*", no_answer=NO_ANSWER),
    Case("sequential", "111", "1: 1001 0-10 | 1003 0-10 | 1004 0-15", busy=BUSY),
    Case("ring-group-beside-a-mobile", "112", "1: 1001 0-30, 1004 0-30, +491713920043 0-15*"),
    Case("user-with-several-phones", "119", "1: weber-app 0-25, weber-desk 0-25"),
    Case("extension-with-a-mailbox", "195", "1: yilmaz-desk 0-25", no_answer="2: voicemail yilmaz-desk@acme.example"),
    Case("forward-always", "114", "1: +491713920044 0-45"),
    Case(
        "forward-on-busy",
        "115",
        "1: 1004 0-20",
        busy="2: 1003 0-15",
        no_answer=NO_ANSWER,
        unreachable=UNREACHABLE,
    ),
    Case(
        "forward-on-no-answer",
        "116",
        "1: 1001 0-15, 1002 0-15",
        busy="3: voicemail 1001@acme.example",
        no_answer="2: +491713920045 0-30",
        unreachable="3: voicemail 1001@acme.example",
    ),
    Case(
        "forward-when-unreachable",
        "117",
        "1: 1003 0-25",
        busy=BUSY,
        no_answer=NO_ANSWER,
        unreachable="2: +491713920046 0-30",
    ),
    Case("forward-when-unreachable", "118", "2: +491713920046 0-30"),
    Case("own-number-in-place", "121", "1: 1001 0-10, 1002 0-10 | 1003 0-20"),
    Case("own-number-in-place", "120", "1: 1001 0-30, 1002 0-30, 1003 0-20"),
    *(
        Case("times-with-a-lunch-break", "130", does, at)
        for at, does in {
            "2026-11-23T07:59:59": "2: announcement fsroute/closed.wav",
            "2026-11-23T08:00": RECEPTION_25,
            "2026-11-23T11:59:59": RECEPTION_25,
            "2026-11-23T12:00": "2: announcement fsroute/closed.wav",
            "2026-11-23T13:00": RECEPTION_25,
            "2026-11-26T16:59": RECEPTION_25,
            "2026-11-27T11:59": RECEPTION_25,
            "2026-11-27T13:00": "2: announcement fsroute/closed.wav",
            "2026-11-28T10:00": "2: announcement fsroute/closed.wav",
        }.items()
    ),
    *(
        Case("times-across-midnight", "131", does, at)
        for at, does in {
            "2026-11-23T21:59": f"2{RECEPTION_25[1:]}",
            "2026-11-23T22:00": "1: 1003 0-25",
            "2026-11-24T05:59": "1: 1003 0-25",
            "2026-11-24T06:00": f"2{RECEPTION_25[1:]}",
            "2026-11-28T03:00": "1: 1003 0-25",
            "2026-11-28T22:00": f"2{RECEPTION_25[1:]}",
            "2026-11-23T03:00": f"2{RECEPTION_25[1:]}",
        }.items()
    ),
    *(
        Case("times-on-weekends", "132", does, at)
        for at, does in {
            "2026-11-27T23:59": f"2: {OFFICE_25}",
            "2026-11-28T00:00": "1: +491713920047 0-25",
            "2026-11-29T12:00": "1: +491713920047 0-25",
            "2026-11-30T23:59": "1: +491713920047 0-25",
            "2026-12-01T00:00": f"2: {OFFICE_25}",
        }.items()
    ),
    *(
        Case("public-holidays", "133", does, at)
        for at, does in {
            "2027-11-01T10:00": "1: voicemail 1004@acme.example",
            "2027-10-31T10:00": f"2: {OFFICE_25}",
            "2027-11-02T00:00": f"2: {OFFICE_25}",
            "2026-12-25T10:00": "1: voicemail 1004@acme.example",
            "2026-12-27T10:00": f"2: {OFFICE_25}",
            "2026-12-28T00:00": "1: voicemail 1004@acme.example",
            "2026-12-30T23:59": "1: voicemail 1004@acme.example",
            "2026-12-31T00:00": f"2: {OFFICE_25}",
            "2031-05-22T10:00": "1: voicemail 1004@acme.example",
        }.items()
    ),
    *(
        Case("callers-vip", "140", does, caller=caller)
        for caller, does in {
            "03023125007": f"1: {OFFICE_25}",
            "+491713920099": f"1: {OFFICE_25}",
            "+491713920098": f"2{RECEPTION_25[1:]}",
            "+493023124007": f"2{RECEPTION_25[1:]}",
            ANONYMOUS: f"2{RECEPTION_25[1:]}",
        }.items()
    ),
    *(
        Case("callers-blocklist", "141", does, caller=caller)
        for caller, does in {
            "03023125666": "1: hangup CALL_REJECTED",
            "493023125901": "1: hangup CALL_REJECTED",
            "+493023125667": f"2{RECEPTION_25[1:]}",
            ANONYMOUS: f"2{RECEPTION_25[1:]}",
        }.items()
    ),
    Case("callers-anonymous", "142", "1: announcement fsroute/show-your-number.wav", caller=ANONYMOUS),
    Case("callers-anonymous", "142", f"2{RECEPTION_25[1:]}"),
    Case(
        "end-in-voicemail",
        "150",
        "1: 1004 0-15; voicemail 1004@acme.example",
        busy="1: voicemail 1004@acme.example",
        no_answer="1: voicemail 1004@acme.example",
        unreachable="1: voicemail 1004@acme.example",
    ),
    Case("end-with-an-announcement", "151", "1: announcement fsroute/we-have-moved.wav"),
    Case("end-with-a-cause", "152", "1: hangup NUMBER_CHANGED"),
    Case(
        "confirmation-off",
        "160",
        "1: 1001 0-30, 1002 0-30, +491713920048 0-30, +491713920049 0-30*",
        no_answer="2: +491713920050 0-30*",
    ),
    Case("two-trunks", "170", "1: +491713920042 0-20 | +493023125001 0-20 | +492214710900 0-20"),
]


LINE = "+492214710100"
BERLIN_CALL = "--to 03023125001 --direction outbound --account"


@dataclass(frozen=True)
class Shown:
    """A command of an example's comment, and what the leg shows that it leads to; without a `dial` the call ends."""

    example: str
    command: str
    code: str
    dial: str = ""
    presented: str | None = None
    network: str | None = None
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    why: str = ""
    final: str = ""

    def __str__(self) -> str:
        return f"{self.example} {self.command}"


def headers_shown(presented: str | None, network: str, diverted_by: str | None = None) -> tuple[tuple[str, str], ...]:
    """The headers of a leg through the demo's trunk."""
    headers = {
        "From": f"<sip:{presented}@carrier.example>" if presented else '"Anonymous" <sip:anonymous@anonymous.invalid>',
        "P-Asserted-Identity": f"<sip:{network}@carrier.example>",
        "Privacy": "none" if presented else "id",
        "Diversion": f"<sip:{diverted_by}@carrier.example>;reason=unconditional;counter=1" if diverted_by else "",
    }
    return tuple((name, value) for name, value in headers.items() if value)


def dials(
    example: str,
    command: str,
    presented: str | None,
    reason: str,
    network: str = LINE,
    to: str = "+493023125001",
    code: str = "trunk",
    why: str = "caller_id",
) -> Shown:
    """A user's call through the demo's trunk."""
    dial = f"sofia/gateway/carrier/{to}"
    return Shown(example, command, code, dial, presented, network, reason, headers_shown(presented, network), why)


def calls_for_help(example: str, command: str, network: str = LINE) -> Shown:
    return dials(example, command, network, "emergency", network, "112", "emergency", "emergency")


def forwards(
    example: str, command: str, number: str, to: str, presented: str | None, reason: str, why: str = "caller_id"
) -> Shown:
    """A call to a number of acme that is sent on through the demo's trunk."""
    dial = f"sofia/gateway/carrier/{to}"
    return Shown(example, command, "routed", dial, presented, LINE, reason, headers_shown(presented, LINE, number), why)


def rings(
    example: str, command: str, phone: str, presented: str | None, reason: str, code: str = "routed", why: str = ""
) -> Shown:
    return Shown(example, command, code, f"user/{phone}@acme.example", presented, None, reason, why=why or "rule_matched")


def ends(example: str, command: str, code: str, final: str, why: str = "") -> Shown:
    return Shown(example, command, code, why=why or code, final=final)


ABROAD, HOTLINE = "--to +442079460018 --direction outbound --account", f"{BERLIN_CALL} acme --user hotline"
N180, N184, N185, N186, N187, N191 = (f"+492214710{n}" for n in (180, 184, 185, 186, 187, 191))

SHOWN = [
    dials("own-number", f"{BERLIN_CALL} acme --user shop", N180, "own_number"),
    rings("own-number", f"--to {N180}", "shop-desk", None, "caller_received"),
    dials("verified-number", f"{BERLIN_CALL} acme --user fitter", "+493023125400", "verified_number"),
    dials("verified-block", HOTLINE, "+493023125413", "verified_block"),
    dials("verified-block", f"{HOTLINE} --presented +493023125419", "+493023125419", "verified_block"),
    dials("verified-block", f"{HOTLINE} --presented +493023125420", LINE, "not_verified", why="not_verified"),
    *(
        dials("unverified-fallback", f"{BERLIN_CALL} acme --user {user}", LINE, reason, why=reason)
        for user, reason in {
            "newcomer": "verification_pending",
            "veteran": "verification_expired",
            "leaver": "verification_revoked",
        }.items()
    ),
    ends("unverified-reject", f"{BERLIN_CALL} strict --user agent", "not_verified", "hangup CALL_REJECTED"),
    calls_for_help("unverified-reject", "--to 112 --direction outbound --account strict --user agent", "+492214710181"),
    dials("unverified-reject", f"{BERLIN_CALL} strict --user colleague", "+492214710181", "network_number", "+492214710181"),
    dials("anonymous", f"{BERLIN_CALL} acme --user doctor --anonymous", None, "privacy_requested"),
    calls_for_help("anonymous", "--to 112 --direction outbound --account acme --user doctor --anonymous"),
    dials("abroad", f"{BERLIN_CALL} acme --user export", "+493023125450", "verified_number"),
    dials(
        "abroad",
        f"{ABROAD} acme --user export",
        LINE,
        "destination_abroad",
        to="+442079460018",
        why="destination_abroad",
    ),
    dials(
        "abroad",
        f"{ABROAD} exporter --user export",
        "+493023125451",
        "verified_number",
        "+492214710183",
        to="+442079460018",
    ),
    dials("mobile", f"{BERLIN_CALL} plumbers --user van", "+491713920060", "verified_number", "+492214710192"),
    dials("mobile", f"{BERLIN_CALL} acme --user van", LINE, "class_not_presentable", why="class_not_presentable"),
    forwards("forwarded-own", f"--to {N184} --from 03023125001", N184, "+491713920062", N184, "own_number", "rule_matched"),
    *(
        forwards("forwarded-original", f"--to {N185} --from {caller}", N185, "+491713920063", presented, reason, why)
        for caller, presented, reason, why in (
            ("03023125001", "+493023125001", "original_caller", "caller_id"),
            ("+442079460018", "+442079460018", "original_caller", "caller_id"),
            ("03023125001 --anonymous", None, "original_caller_anonymous", "caller_id"),
            ("nobody", N185, "original_caller_unknown", "rule_matched"),
        )
    ),
    *(
        forwards("forwarded-verified", f"--to {number} --from 03023125001", number, to, presented, reason, why)
        for number, to, presented, reason, why in (
            (N186, "+491713920064", "+493023125460", "verified_number", "caller_id"),
            (N187, "+491713920065", LINE, "not_verified", "not_verified"),
        )
    ),
    dials("secondary-number", f"{BERLIN_CALL} acme --user consultant", "+492214710188", "own_number"),
    rings("secondary-number", "--to +492214710189", "consultant-desk", None, "caller_received"),
    rings(
        "secondary-number",
        "--to 81 --direction outbound --account acme --user office",
        "consultant-desk",
        "13",
        "internal_extension",
        "extension",
        "extension",
    ),
    *(
        dials(
            "call-permissions",
            f"--to {dialled} --direction outbound --account library --user desk",
            "+492214710190",
            "network_number",
            "+492214710190",
            to,
        )
        for dialled, to in {"09001000000": "+499001000000", "03023125001": "+493023125001"}.items()
    ),
    *(
        ends(
            "call-permissions",
            f"--to {dialled} --direction outbound --account library --user desk",
            "destination_barred",
            "hangup OUTGOING_CALL_BARRED",
            "destination_barred",
        )
        for dialled in ("09003000000", "+491713920066")
    ),
    calls_for_help("call-permissions", "--to 112 --direction outbound --account library --user desk", "+492214710190"),
    Shown(
        "identity-profile",
        "--to 04066969100 --direction outbound --account acme --user pilot",
        "trunk",
        "sofia/gateway/hamburg/04066969100",
        "+492214710193",
        LINE,
        "own_number",
        (
            ("From", "<sip:02214710100@hamburg.example>"),
            ("P-Preferred-Identity", "<sip:02214710193@hamburg.example>"),
            ("Privacy", "none"),
        ),
        "caller_id",
    ),
    dials("identity-profile", f"{BERLIN_CALL} acme --user pilot", "+492214710193", "own_number"),
    Shown(
        "identity-profile",
        "--to +492214710194",
        "routed",
        "sofia/gateway/hamburg/04066969101",
        "+492214710194",
        LINE,
        "own_number",
        (
            ("From", "<sip:02214710100@hamburg.example>"),
            ("P-Preferred-Identity", "<sip:02214710194@hamburg.example>"),
            ("Privacy", "none"),
            (
                "History-Info",
                "<sip:02214710194@hamburg.example>;index=1,<sip:04066969101@hamburg.example;cause=302>;index=1.1",
            ),
        ),
        "rule_matched",
    ),
    ends(
        "foreign-trunk",
        f"--to {N191} --from +493023125001 --trunk london",
        "routed",
        "voicemail 1004@acme.example",
        "caller_from_foreign_trunk",
    ),
    rings("foreign-trunk", f"--to {N191} --from +442079460018 --trunk london", "1004", "+442079460018", "caller_received"),
    rings("foreign-trunk", f"--to {N191} --from +493023125001 --trunk carrier", "1004", "+493023125001", "caller_received"),
]
"""The examples caller-id-*.sql."""


def tried(url: str, command: str) -> dict[str, Any]:
    """What `fsroute explain` says, read by its own parser."""
    given = cli.explain.make_context("explain", command.split()).params
    call = Call(
        given["to"],
        given["caller"],
        direction=Direction(given["direction"]),
        anonymous=given["anonymous"],
        trunk=given["trunk"],
        account=given["account"],
        user=given["user"],
        presented=given["presented"],
    )
    return as_data(call, read(url, call), MORNING, Confirmation(), DEFAULT_HOP_LIMIT)


@pytest.mark.parametrize("case", SHOWN, ids=str)
def test_an_example_shows_what_it_says(databases: Databases, case: Shown) -> None:
    data = tried(databases.shared(DEMO, EXAMPLES / f"caller-id-{case.example}.sql"), case.command)
    legs = [
        (leg["dial"], *leg["caller_id"].values(), tuple(leg["headers"].items())) for stage in data["stages"] for leg in stage
    ]
    expected = [(case.dial, case.presented, case.network, case.reason, case.headers)] if case.dial else []
    final = " ".join(data["final"].values()) if data["final"] else ""
    assert (data["code"], legs, final) == (case.code, expected, case.final)
    assert case.why in [reason["code"] for reason in data["reasons"]]


def read(url: str, call: Call) -> Routing:
    store = Store(open_database(url), url, "DE")
    routing = store.routing(call)
    store.close()
    return routing


def explained(url: str, number: str, at: str = MONDAY, caller: str = "+493023125001") -> dict[str, Any]:
    hidden = caller == ANONYMOUS
    call = Call(f"+492214710{number}", caller="" if hidden else caller, anonymous=hidden)
    now = datetime.fromisoformat(at).replace(tzinfo=BERLIN)
    return as_data(call, read(url, call), now, Confirmation(), DEFAULT_HOP_LIMIT)


def does(step: dict[str, Any]) -> str:
    rings = " | ".join(", ".join(map(_leg, stage)) for stage in step["stages"])
    final = " ".join(step["final"].values()) if step["final"] else ""
    rule = f"{step['rule']['position']}: " if step["rule"] else ""
    return rule + "; ".join(part for part in (rings, final) if part)


def _leg(leg: dict[str, Any]) -> str:
    key = "*" if leg["confirm"] else ""
    return f"{leg['target'].rpartition(' ')[2]} {leg['start_s']}-{leg['start_s'] + leg['ring_s']}{key}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_example_does_what_it_says(databases: Databases, case: Case) -> None:
    data = explained(databases.shared(DEMO, EXAMPLES / f"{case.example}.sql"), case.number, case.at, case.caller)
    assert does(data) == case.does
    promised = {"busy": case.busy, "no_answer": case.no_answer, "unreachable": case.unreachable}
    follow_up = {outcome: does(data["follow_up"][outcome]) for outcome, text in promised.items() if text is not None}
    assert follow_up == {outcome: text for outcome, text in promised.items() if text is not None}


def test_an_extension_follows_its_user_s_rules(databases: Databases) -> None:
    url = databases.shared(DEMO, EXAMPLES / "extension-with-a-mailbox.sql")
    data = tried(url, "--to 34 --direction outbound --account acme --user office")
    assert (does(data), does(data["follow_up"]["no_answer"])) == (
        "1: yilmaz-desk 0-25",
        "2: voicemail yilmaz-desk@acme.example",
    )
    assert [leg["caller_id"]["presented"] for leg in data["stages"][0]] == ["13"]


def test_the_mailbox_is_the_end_after_the_mobile_too(databases: Databases) -> None:
    data = explained(databases.shared(DEMO, EXAMPLES / "forward-on-no-answer.sql"), "116")
    after = data["follow_up"]["no_answer"]["follow_up"]
    assert {outcome: does(step) for outcome, step in after.items()} == dict.fromkeys(
        ("busy", "no_answer", "unreachable"), "3: voicemail 1001@acme.example"
    )


def test_the_mobile_sees_the_number_that_was_dialled(databases: Databases) -> None:
    data = explained(databases.shared(DEMO, EXAMPLES / "forward-always.sql"), "114")
    assert data["stages"][0][0]["caller_id"] == {
        "presented": "+492214710114",
        "network": "+492214710100",
        "reason": "own_number",
    }


@pytest.mark.parametrize(
    ("switched_off", "gateways"),
    [
        ("nothing", ["mobile/+491713920042", "mobile/+493023125001", "carrier/+492214710900"]),
        ("mobile", ["carrier/+491713920042", "carrier/+493023125001", "carrier/+492214710900"]),
        ("carrier", ["mobile/+491713920042", "mobile/+493023125001"]),
    ],
)
def test_each_call_takes_its_trunk(databases: Databases, tmp_path: Path, switched_off: str, gateways: list[str]) -> None:
    """Also after one of them was switched off. A shorter prefix is a choice too; without any the target is left out."""
    change = tmp_path / "change.sql"
    change.write_text(f"UPDATE trunks SET enabled = FALSE WHERE name = '{switched_off}';")  # noqa: S608 - the test's own
    url = databases.filled(DEMO, EXAMPLES / "two-trunks.sql")
    loader.load(open_database(url), url, [change], *LOADED)
    dials = [stage[0]["dial"] for stage in explained(url, "170")["stages"]]
    assert dials == [f"sofia/gateway/{gateway}" for gateway in gateways]


def test_the_examples_load_together(databases: Databases) -> None:
    url = databases.filled(DEMO)
    database = open_database(url)
    assert loader.load(database, url, sorted(EXAMPLES.glob("*.sql")), *LOADED) > 150
    with database.connection_context():
        ((verified,),) = database.execute_sql("SELECT COUNT(*) FROM verified_numbers").fetchall()
        logged = database.execute_sql("SELECT id, action FROM audit_log ORDER BY id").fetchall()
    assert (verified, logged) == (13, [(i, "loaded") for i in range(1, 14)])


def test_every_example_is_tested_and_can_be_tried() -> None:
    """Each opens with what it is for, and names the command that shows it, with a number of its own."""
    examples = {path.stem: path.read_text(encoding="utf-8") for path in EXAMPLES.iterdir()}
    shown = {f"caller-id-{case.example}" for case in SHOWN}
    assert examples.keys() == {case.example for case in CASES} | shown
    for name, text in examples.items():
        comment = text.partition("\n\n")[0].splitlines()
        assert all(line.startswith("--") for line in comment), name
        commands = [line for line in comment if line.startswith("--   fsroute explain --to ")]
        assert commands, name
        if name in shown:
            cases = [case.command for case in SHOWN if name == f"caller-id-{case.example}"]
            assert sorted(line.removeprefix("--   fsroute explain ") for line in commands) == sorted(cases)
            continue
        called = {line.split()[4] for line in commands if "--direction outbound" not in line}
        assert called <= set(re.findall(r"\+492214710[0-9]{3}", text.split("\n\n", 1)[1])), name


def test_examples_call_nobody() -> None:
    """Only numbers that the Bundesnetzagentur keeps for films, and numbers hosted nowhere else in the examples."""
    films = re.compile(r"\+492214710[0-9]{3}|\+493023125[0-9]{0,3}|\+491713920[0-9]{3}|\+494066969[0-9]{3}")
    premium = "+499001"  # a prefix
    hosted: list[str] = []
    for path in sorted(EXAMPLES.iterdir()):
        text = path.read_text(encoding="utf-8")
        numbers = [number for number in re.findall(r"'(\+[0-9]+)\*?'", text) if len(number) > 5]
        assert [number for number in numbers if number != premium and not films.fullmatch(number)] == []
        hosted += re.findall(r"\+[0-9]+", text.partition("INSERT INTO numbers")[2].partition(";")[0])
    assert (len(hosted), min(hosted), max(hosted)) == (len(set(hosted)), "+492214710110", "+492214710195")
