"""schema.sql on both databases: what it refuses, by which constraint, and the nearest row that it accepts.

Every row is tried in a transaction that is rolled back, over the demo data and a second account.
"""

# ruff: noqa: S608 - all SQL here is the tests' own

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from peewee import Database, DatabaseError, IntegrityError

from fsroute.data.database import is_sqlite, open_database
from fsroute.data.schema import schema
from fsroute.target_kinds import TargetKind
from tests.support.postgresql import Databases
from tests.support.tables import DEMO

Row = dict[str, Any]

BASE: dict[str, Row] = {
    "schema_version": {"version": 4, "tables_version": 4},
    "accounts": {"name": "a", "country": "DE", "timezone": "UTC", "domain": "a.example"},
    "call_permissions": {"account": "acme", "prefix": "+49900", "allowed": True},
    "numbers": {"number": "+492214710600", "account": "acme"},
    "users": {"account": "acme", "name": "u"},
    "endpoints": {"account": "acme", "name": "1005"},
    "user_numbers": {"account": "acme", "number": "+492214710600", "user_name": "office", "kind": "secondary"},
    "ring_groups": {"account": "acme", "name": "g"},
    "ring_group_members": {"account": "acme", "ring_group": "sales", "position": 4, "endpoint": "1002"},
    "time_profiles": {"account": "acme", "name": "t"},
    "time_profile_ranges": {"account": "acme", "time_profile": "office-hours", "position": 2},
    "rules": {"account": "acme", "number": "+492214710200", "position": 2},
    "rule_callers": {"number": "+492214710200", "rule_position": 1, "caller": "+493023125000"},
    "rule_targets": {"account": "acme", "number": "+492214710100", "rule_position": 1, "position": 7},
    "identity_profiles": {
        "name": "p",
        "from_number": "presented",
        "identity_header": "pai",
        "identity_number": "network",
    },
    "trunks": {"name": "t", "gateway": "g", "country": "DE", "domain": "t.example"},
    "trunk_routes": {"account": "acme", "prefix": "+49", "trunk": "carrier"},
    "verified_numbers": {
        "account": "acme",
        "first_number": "+493023125100",
        "last_number": "+493023125199",
        "method": "call",
        "state": "pending",
    },
    "verifications": {
        "id": "attempt-1",
        "account": "acme",
        "first_number": "+493023125100",
        "last_number": "+493023125100",
        "method": "call",
        "state": "pending",
        "started_at": "2026-01-01T00:00:00Z",
        "started_by": "a",
    },
    "audit_log": {
        "id": 4,
        "at": "2026-01-01T00:00:00Z",
        "actor": "a",
        "origin": "o",
        "action": "started",
        "account": "acme",
        "first_number": "+493023125100",
        "last_number": "+493023125199",
    },
}
"""A valid row of each table, over which a case lays what it is about."""

OTHER_ACCOUNT: list[tuple[str, Row]] = [
    ("accounts", {"name": "other", "country": "AT", "timezone": "Europe/Vienna", "domain": "other.example"}),
    ("users", {"account": "other", "name": "their-user", "extension": "21"}),
    ("endpoints", {"account": "other", "name": "9001"}),
    ("ring_groups", {"account": "other", "name": "their-group"}),
    ("numbers", {"number": "+492214710900", "account": "other"}),
    ("time_profiles", {"account": "other", "name": "their-times"}),
    ("trunks", {"name": "backup", "gateway": "backup", "country": "DE", "domain": "backup.example"}),
    ("call_permissions", {"account": "acme", "prefix": "+88", "allowed": False}),
    ("user_numbers", {**BASE["user_numbers"], "number": "+492214710700", "short_code": "71"}),
    ("verified_numbers", {**BASE["verified_numbers"], "first_number": "+493023125000"}),
    ("rule_callers", {"number": "+492214710100", "rule_position": 1, "caller": "+4930*"}),
    (
        "verifications",
        {**BASE["verifications"], "id": "attempt-0", "first_number": "+493023125000", "last_number": "+493023125000"},
    ),
]


@dataclass(frozen=True)
class Check:
    """A CHECK constraint: both databases name it."""

    name: str

    def message(self, *, on_sqlite: bool) -> str:
        return f"CHECK constraint failed: {self.name}" if on_sqlite else f'violates check constraint "{self.name}"'


@dataclass(frozen=True)
class Foreign:
    """A foreign key: PostgreSQL names it by its columns, SQLite does not."""

    table: str
    columns: str

    def message(self, *, on_sqlite: bool) -> str:
        name = "_".join([self.table, *self.columns.split(", "), "fkey"])
        return "FOREIGN KEY constraint failed" if on_sqlite else f'violates foreign key constraint "{name}"'


@dataclass(frozen=True)
class Unique:
    """A primary key, UNIQUE or unique index: SQLite names its columns, PostgreSQL itself.

    Of several that a row breaks, SQLite names the last one: the primary key's wider sister where there is one.
    """

    table: str
    columns: str
    name: str = ""

    def message(self, *, on_sqlite: bool) -> str:
        columns = self.columns.split(", ")
        if on_sqlite:
            return "UNIQUE constraint failed: " + ", ".join(f"{self.table}.{column}" for column in columns)
        return f'violates unique constraint "{self.name or "_".join([self.table, *columns, "key"])}"'


@dataclass(frozen=True)
class Kept(Unique):
    """The primary key of rows that are only ever added. SQLite would let one take the place of another (INSERT OR REPLACE):
    there a trigger comes first."""

    def message(self, *, on_sqlite: bool) -> str:
        return f"{self.table} is append-only" if on_sqlite else super().message(on_sqlite=False)


@dataclass(frozen=True)
class NotNull:
    """A column that must be given."""

    table: str
    column: str

    def message(self, *, on_sqlite: bool) -> str:
        if on_sqlite:
            return f"NOT NULL constraint failed: {self.table}.{self.column}"
        return f'null value in column "{self.column}" of relation "{self.table}" violates not-null constraint'


Constraint = Check | Foreign | Unique | NotNull


@dataclass(frozen=True)
class Case:
    """What is refused, and the row next to it that is accepted."""

    table: str
    refused: Row
    accepted: Row
    by: Constraint

    def __str__(self) -> str:
        return f"{self.table} {', '.join(f'{column}={value!r}' for column, value in self.refused.items())}"[:90]


def column(table: str, name: str, by: Constraint | str, *pairs: tuple[Any, Any]) -> list[Case]:
    """Cases of one column: (refused, accepted)."""
    constraint = Check(by) if isinstance(by, str) else by
    return [Case(table, {name: refused}, {name: accepted}, constraint) for refused, accepted in pairs]


def columns(table: str, names: str, by: Constraint | str, *pairs: tuple[tuple[Any, ...], tuple[Any, ...]]) -> list[Case]:
    """Cases of several columns: (refused, accepted)."""
    constraint, given = Check(by) if isinstance(by, str) else by, names.split(", ")
    return [
        Case(table, dict(zip(given, refused, strict=True)), dict(zip(given, accepted, strict=True)), constraint)
        for refused, accepted in pairs
    ]


E164 = (
    ("492214710600", "+492214710600"),
    ("02214710600", "+492214710600"),
    ("00492214710600", "+492214710600"),
    ("+0492214710600", "+492214710600"),
    ("++492214710600", "+492214710600"),
    ("+49 221 4710600", "+492214710600"),
    ("+49221471060x", "+492214710601"),
    ("+49221471060\u0663", "+492214710603"),
    ("+492214710600\n", "+492214710600"),
    ("", "+492214710600"),
    ("+12", "+123"),
    ("+1234567890123456", "+123456789012345"),
)
PLAIN = (("", "x"), ("x" * 65, "x" * 64), ("a b", "a-b"), ("a/b", "a_b"), ("a@b", "a.b"))
PREFIX = (
    ("", "+1"),
    ("49", "+49"),
    ("0049", "+49"),
    ("+0", "+4"),
    ("+49*", "+49"),
    ("+1234567890123456", "+123456789012345"),
)
ISO_3166 = (("de", "DE"), ("D", "DE"), ("DEU", "AT"), ("49", "CH"))
TIMEZONE = (("", "UTC"), ("Europe Berlin", "Europe/Berlin"), ("Etc/GMT:1", "Etc/GMT+1"))
RING_S = ((0, 1), (-1, None), (3601, 3600))
TARGETS = tuple(kind.value for kind in TargetKind)
RANGE, TARGET, VERIFIED = "time_profile_ranges", "rule_targets", "verified_numbers"
OWNED, PROFILES = "user_numbers", "identity_profiles"
ATTEMPT, AUDIT = "verifications", "audit_log"
T = "2026-01-01T00:00:00Z"

CASES: list[Case] = [
    *column("schema_version", "version", Unique("schema_version", "version", "schema_version_pkey"), (3, 4)),
    *column("accounts", "name", Unique("accounts", "name", "accounts_pkey"), ("acme", "Acme")),
    *column("accounts", "domain", Unique("accounts", "domain"), ("acme.example", "acme2.example")),
    *column("accounts", "name", "account_name_is_plain", *PLAIN),
    *column("accounts", "country", "account_country_is_iso_3166", *ISO_3166),
    *column("accounts", "country", NotNull("accounts", "country"), (None, "DE")),
    *column("accounts", "timezone", "account_timezone_is_plain", *TIMEZONE),
    *column("accounts", "domain", "account_domain_is_plain", ("", "d"), ("D.example", "d.example"), ("a_b", "192.0.2.1")),
    *column("accounts", "status", "account_status_is_known", ("closed", "suspended"), ("Trial", "trial")),
    *column(
        "accounts",
        "refused_caller_id",
        "account_refused_caller_id_is_known",
        ("", "reject"),
        ("Reject", "reject"),
        ("anonymous", "network_number"),
    ),
    *column("accounts", "refused_caller_id", NotNull("accounts", "refused_caller_id"), (None, "reject")),
    *column("accounts", "presented_number", "account_presented_number_is_e164", *E164, ("acme", None)),
    *column("accounts", "area_code", "account_area_code_is_digits", ("", None), ("+49221", "221"), ("0221 ", "0221")),
    *column("accounts", "area_code", "account_area_code_is_digits", ("12345678", "1234567"), ("x", "1")),
    *column("accounts", "verification_days", "account_verification_days_is_1_to_3650", (0, 1), (-1, 365), (3651, 3650)),
    *column(
        "accounts",
        "transferred_caller_id",
        "account_transferred_caller_id_is_known",
        ("", "own"),
        ("Own", "own"),
        ("verified", "original"),
    ),
    *column("accounts", "transferred_caller_id", NotNull("accounts", "transferred_caller_id"), (None, "own")),
    *column(
        "accounts",
        "failed_transfer",
        "account_failed_transfer_is_known",
        *E164,
        ("", "hangup"),
        ("Transferor", "transferor"),
    ),
    *column("accounts", "failed_transfer", NotNull("accounts", "failed_transfer"), (None, "transferor")),
    *column("call_permissions", "account", Foreign("call_permissions", "account"), ("nobody", "other")),
    *column(
        "call_permissions",
        "prefix",
        Unique("call_permissions", "account, prefix", "call_permissions_pkey"),
        ("+88", "+881"),
    ),
    *column("call_permissions", "prefix", "call_permission_prefix_is_e164", *PREFIX),
    *column("call_permissions", "allowed", NotNull("call_permissions", "allowed"), (None, False)),
    *column("numbers", "number", "number_is_e164", *E164),
    *column("numbers", "number", NotNull("numbers", "number"), (None, "+492214710600")),
    *column("numbers", "number", Unique("numbers", "account, number", "numbers_pkey"), ("+492214710100", "+492214710600")),
    *column("numbers", "account", Foreign("numbers", "account"), ("nobody", "other")),
    *columns(
        "numbers",
        "account, is_network_number",
        Unique("numbers", "account", "one_network_number_per_account"),
        (("acme", True), ("other", True)),
        (("acme", True), ("acme", False)),
    ),
    *column("users", "name", "user_name_is_plain", *PLAIN),
    *column("users", "name", Unique("users", "account, name", "users_pkey"), ("office", "office2")),
    *column("users", "account", Foreign("users", "account"), ("nobody", "other")),
    *column("users", "extension", "user_extension_is_digits", ("1", "14"), ("123456789", "12345678"), ("*14", "014")),
    *column("users", "extension", Unique("users", "account, extension"), ("11", "14")),
    *column("endpoints", "name", "endpoint_name_is_plain", *PLAIN),
    *column("endpoints", "name", Unique("endpoints", "account, name", "endpoints_pkey"), ("1001", "1006")),
    *column("endpoints", "account", Foreign("endpoints", "account"), ("nobody", "other")),
    *column("endpoints", "user_name", Foreign("endpoints", "account, user_name"), ("x", "office"), ("their-user", None)),
    *column(OWNED, "number", "user_number_is_e164", *E164),
    *column(OWNED, "number", Unique(OWNED, "account, number", f"{OWNED}_pkey"), ("+492214710700", "+492214710701")),
    *columns(
        OWNED,
        "account, user_name, number",
        Unique(OWNED, "account, number", f"{OWNED}_pkey"),
        (("acme", "workshop", "+492214710700"), ("other", "their-user", "+492214710700")),
    ),
    *column(OWNED, "user_name", Foreign(OWNED, "account, user_name"), ("x", "workshop"), ("their-user", "office")),
    *column(OWNED, "account", Foreign(OWNED, "account, user_name"), ("nobody", "acme"), ("other", "acme")),
    *column(
        OWNED, "kind", "user_number_kind_is_known", ("tertiary", "secondary"), ("Primary", "secondary"), ("", "secondary")
    ),
    *column(OWNED, "kind", NotNull(OWNED, "kind"), (None, "secondary")),
    *column(
        OWNED,
        "short_code",
        "user_number_short_code_is_digits",
        *(("1", "14"), ("123456789", "12345678"), ("*14", "014"), ("", None)),
    ),
    *column(OWNED, "short_code", Unique(OWNED, "account, short_code"), ("71", "72"), ("71", None)),
    *columns(
        OWNED,
        "account, user_name, short_code",
        Unique(OWNED, "account, short_code"),
        (("acme", "workshop", "71"), ("other", "their-user", "71")),
    ),
    *columns(
        OWNED,
        "account, user_name, kind, short_code",
        "only_secondary_numbers_have_a_short_code",
        (("other", "their-user", "primary", "72"), ("other", "their-user", "primary", None)),
        (("other", "their-user", "primary", "72"), ("other", "their-user", "secondary", "72")),
    ),
    *columns(
        OWNED,
        "account, user_name, kind",
        Unique(OWNED, "account, user_name", "one_primary_number_per_user"),
        (("acme", "office", "primary"), ("acme", "office", "secondary")),
        (("acme", "office", "primary"), ("other", "their-user", "primary")),
    ),
    *column("ring_groups", "name", "ring_group_name_is_plain", *PLAIN),
    *column("ring_groups", "name", Unique("ring_groups", "account, name", "ring_groups_pkey"), ("sales", "support")),
    *column("ring_groups", "account", Foreign("ring_groups", "account"), ("nobody", "other")),
    *column("ring_group_members", "position", "ring_group_has_at_most_128_members", (129, 128), (0, 4)),
    *column(
        "ring_group_members",
        "position",
        Unique("ring_group_members", "account, ring_group, position", "ring_group_members_pkey"),
        (3, 4),
    ),
    *column(
        "ring_group_members",
        "endpoint",
        Unique("ring_group_members", "account, ring_group, endpoint"),
        ("1001", "1002"),
    ),
    *column(
        "ring_group_members",
        "ring_group",
        Foreign("ring_group_members", "account, ring_group"),
        ("no-group", "sales"),
        ("their-group", "sales"),
    ),
    *column(
        "ring_group_members",
        "endpoint",
        Foreign("ring_group_members", "account, endpoint"),
        ("1009", "1002"),
        ("9001", "1002"),
    ),
    *column("time_profiles", "name", "time_profile_name_is_plain", *PLAIN),
    *column(
        "time_profiles",
        "name",
        Unique("time_profiles", "account, name", "time_profiles_pkey"),
        ("office-hours", "hours"),
    ),
    *column("time_profiles", "account", Foreign("time_profiles", "account"), ("nobody", "other")),
    *column("time_profiles", "timezone", "time_profile_timezone_is_plain", *TIMEZONE, ("a\nb", None)),
    *column(
        "time_profiles",
        "holiday_region",
        "time_profile_holiday_region_is_iso_3166",
        *(("D", "DE"), ("DEU", "DE"), ("de-nw", "DE-NW"), ("DE-", "DE-B"), ("DE_NW", "FR-57"), ("DE-NORD", "GB-SCT")),
    ),
    *column(RANGE, "time_profile", Foreign(RANGE, "account, time_profile"), ("x", "office-hours")),
    *column(RANGE, "time_profile", Foreign(RANGE, "account, time_profile"), ("their-times", "office-hours")),
    *column(RANGE, "position", Unique(RANGE, "account, time_profile, position", f"{RANGE}_pkey"), (1, 2)),
    *column(RANGE, "position", "time_range_position_is_positive", (0, 1000), (-1, 2)),
    *columns(
        RANGE,
        "first_weekday, last_weekday",
        "time_range_weekdays_are_known",
        (("monday", "fri"), ("mon", "fri")),
        (("mon", "Fri"), ("sat", "mon")),
        (("", ""), ("sun", "sun")),
    ),
    *columns(
        RANGE,
        "first_weekday, last_weekday",
        "time_range_weekdays_come_in_pairs",
        (("mon", None), ("mon", "mon")),
        ((None, "mon"), (None, None)),
    ),
    *columns(
        RANGE,
        "start_time, end_time",
        "time_range_start_is_hh_mm",
        (("9:00", "17:00"), ("09:00", "17:00")),
        (("24:00", "17:00"), ("23:59", "17:00")),
        (("09:60", "17:00"), ("09:59", "17:00")),
        (("09.00", "17:00"), ("09:00", "17:00")),
        (("0a:00", "17:00"), ("00:00", "17:00")),
        (("-9:00", "17:00"), ("09:00", "17:00")),
        (("09:00 ", "17:00"), ("09:00", "17:00")),
        (("", "17:00"), (None, None)),
    ),
    *columns(
        RANGE,
        "start_time, end_time",
        "time_range_end_is_hh_mm",
        (("09:00", "24:01"), ("09:00", "24:00")),
        (("09:00", "25:00"), ("09:00", "23:59")),
        (("09:00", "17:00:00"), ("22:00", "06:00")),
        (("09:00", "17:6"), ("09:00", "17:06")),
        (("09:00", "17:60"), ("09:00", "17:59")),
    ),
    *columns(
        RANGE,
        "start_time, end_time",
        "time_range_hours_come_in_pairs",
        (("09:00", None), ("09:00", "24:00")),
        ((None, "17:00"), ("00:00", "17:00")),
    ),
    *columns(RANGE, "start_time, end_time", "time_range_hours_are_not_empty", (("09:00", "09:00"), ("09:00", "09:01"))),
    *column(
        RANGE,
        "first_date",
        "time_range_first_date_is_iso",
        ("2026-13-01", "2026-12-01"),
        ("2026-00-01", "2026-01-01"),
        ("2026-01-00", "2026-01-01"),
        ("2026-1-01", "2026-01-01"),
        ("01.12.2026", "2026-12-01"),
        ("2026-12-0x", "2026-12-01"),
    ),
    *column(
        RANGE,
        "last_date",
        "time_range_last_date_is_iso",
        ("2026-12-32", "2026-12-31"),
        ("2026/12/31", "2026-12-31"),
        ("20261231", "2026-12-31"),
        ("2026-12-31T00:00", "2026-12-31"),
    ),
    *columns(
        RANGE,
        "first_date, last_date",
        "time_range_dates_are_in_order",
        (("2026-12-27", "2026-12-26"), ("2026-12-26", "2026-12-26")),
        (("2027-01-01", "2026-12-31"), ("2026-12-31", "2027-01-01")),
    ),
    *column(RANGE, "holidays", "time_range_holidays_is_known", ("never", "except"), ("", "only")),
    *column(RANGE, "holidays", NotNull(RANGE, "holidays"), (None, "any")),
    *column("rules", "position", "rule_position_is_positive", (0, 2), (-1, 1000)),
    *column("rules", "type", "rule_type_is_known", ("always", "unreachable"), ("Base", "base")),
    *column("rules", "mode", "rule_mode_is_known", ("both", "sequential")),
    *column("rules", "ring_s", "rule_ring_s_is_1_to_3600", *RING_S),
    *column("rules", "position", Unique("rules", "account, number, position", "rules_pkey"), (1, 2)),
    *columns(
        "rules",
        "number, type",
        Unique("rules", "number", "one_base_rule_per_number"),
        (("+492214710100", "base"), ("+492214710200", "base")),
        (("+492214710100", "base"), ("+492214710100", "busy")),
    ),
    *column("rules", "number", Foreign("rules", "account, number"), ("+492214710600", "+492214710200")),
    *column("rules", "number", Foreign("rules", "account, number"), ("+492214710900", "+492214710200")),
    *columns(
        "rules",
        "type, anonymous, time_profile",
        "base_rule_has_no_filter",
        (("base", True, None), ("base", None, None)),
        (("base", None, "office-hours"), ("general", None, "office-hours")),
    ),
    *column("rules", "time_profile", Foreign("rules", "account, time_profile"), ("x", "office-hours")),
    *column("rules", "time_profile", Foreign("rules", "account, time_profile"), ("their-times", None)),
    *column(
        "rule_callers",
        "caller",
        "caller_is_e164_or_prefix",
        ("03023125000", "+493023125000"),
        ("0171*", "+49171*"),
        ("49171*", "+49171*"),
        ("+49171**", "+49171*"),
        ("+49*171", "+49171"),
        ("*", "+4*"),
        ("+*", "+4*"),
        ("+0*", "+1*"),
        ("+12", "+123"),
        ("anonymous", "+123"),
        ("+49171%", "+49171*"),
        ("+123456789012345*", "+12345678901234*"),
        ("+1234567890123456", "+123456789012345"),
    ),
    *column("rule_callers", "rule_position", Foreign("rule_callers", "number, rule_position"), (2, 1)),
    *columns(
        "rule_callers",
        "number, caller",
        Unique("rule_callers", "number, rule_position, caller", "rule_callers_pkey"),
        (("+492214710100", "+4930*"), ("+492214710200", "+4930*")),
        (("+492214710100", "+4930*"), ("+492214710100", "+49302*")),
    ),
    # --- targets: each points somewhere, in its own account, and there is exactly one
    *column(TARGET, "endpoint", Foreign(TARGET, "account, endpoint"), ("1009", "1004"), ("9001", "1001")),
    *column(TARGET, "ring_group", Foreign(TARGET, "account, ring_group"), ("x", "sales"), ("their-group", "sales")),
    *column(TARGET, "user_name", Foreign(TARGET, "account, user_name"), ("x", "office"), ("their-user", "office")),
    *column(TARGET, "voicemail", Foreign(TARGET, "account, voicemail"), ("office", "1004"), ("9001", "1001")),
    *column(
        TARGET,
        "hosted_number",
        Foreign(TARGET, "account, hosted_number"),
        ("+492214710600", "+492214710200"),
        ("+492214710900", "+492214710200"),
    ),
    *column(TARGET, "external_number", "rule_target_external_number_is_e164", *E164),
    *columns(
        TARGET,
        "number, rule_position, endpoint",
        Foreign(TARGET, "account, number, rule_position"),
        (("+492214710100", 2, "1001"), ("+492214710100", 9, "1001")),
        (("+492214710600", 1, "1001"), ("+492214710200", 1, "1001")),
    ),
    *columns(
        TARGET,
        "position, endpoint",
        Unique(TARGET, "number, rule_position, position", f"{TARGET}_pkey"),
        ((1, "1004"), (4, "1004")),
    ),
    *columns(TARGET, "position, endpoint", "rule_target_position_is_1_to_128", ((129, "1004"), (128, "1004"))),
    *columns(TARGET, "position, endpoint", "rule_target_position_is_1_to_128", ((0, "1004"), (4, "1004"))),
    *columns(TARGET, "endpoint", "rule_target_is_exactly_one", ((None,), ("1004",))),
    *columns(TARGET, "endpoint, voicemail", "rule_target_is_exactly_one", (("1001", "1001"), (None, "1001"))),
    *columns(TARGET, "user_name, ring_group", "rule_target_is_exactly_one", (("office", "sales"), ("office", None))),
    *columns(
        TARGET,
        "external_number, hosted_number",
        "rule_target_is_exactly_one",
        (("+491713920042", "+492214710200"), ("+491713920042", None)),
    ),
    *columns(
        TARGET,
        "announcement, hangup_cause",
        "rule_target_is_exactly_one",
        (("closed.wav", "USER_BUSY"), ("closed.wav", None)),
    ),
    *column(
        TARGET,
        "announcement",
        "rule_target_announcement_is_plain",
        ("", "a"),
        ("/etc/passwd", "etc/passwd"),
        ("../closed.wav", "closed.wav"),
        ("fsroute/../../closed.wav", "fsroute/closed.wav"),
        ("fsroute/..", "fsroute/.a"),
        ("closed..wav", "closed.wav"),
        (".closed.wav", "closed.wav"),
        ("a b.wav", "a_b.wav"),
        ("tone_stream://%(200,0,500)", "tone_stream//200"),
        ("${a}.wav", "a.wav"),
        ("x" * 201, "x" * 200),
    ),
    *column(
        TARGET,
        "hangup_cause",
        "rule_target_hangup_cause_is_known",
        ("user_busy", "USER_BUSY"),
        ("BUSY", "CALL_REJECTED"),
        ("486", "NO_ANSWER"),
        ("", "NORMAL_CLEARING"),
    ),
    *columns(TARGET, "endpoint, start_s", "rule_target_start_s_is_0_to_3600", (("1004", -1), ("1004", 0))),
    *columns(TARGET, "endpoint, start_s", "rule_target_start_s_is_0_to_3600", (("1004", 3601), ("1004", 3600))),
    *columns(TARGET, "endpoint, start_s", NotNull(TARGET, "start_s"), (("1004", None), ("1004", 5))),
    *columns(
        TARGET,
        "endpoint, ring_s",
        "rule_target_ring_s_is_1_to_3600",
        *((("1004", refused), ("1004", accepted)) for refused, accepted in RING_S),
    ),
    *columns(
        TARGET,
        "endpoint, external_number, caller_id",
        "only_external_numbers_have_a_caller_id",
        (("1004", None, "own"), (None, "+491713920042", "own")),
        (("1004", None, "original"), ("1004", None, None)),
    ),
    *columns(
        TARGET,
        "external_number, caller_id",
        "rule_target_caller_id_is_known",
        *(
            (("+491713920042", refused), ("+491713920042", accepted))
            for refused, accepted in (
                ("", "own"),
                ("Own", "own"),
                ("anonymous", "original"),
                ("+498999998123", "verified:+498999998123"),
                ("verified", "verified:+498999998123"),
                ("verified:", "verified:+498999998123"),
                ("verified:498999998123", "verified:+498999998123"),
                ("verified:+098999998123", "verified:+498999998123"),
                ("verified:++98999998123", "verified:+498999998123"),
                ("verified:+49 8999998123", "verified:+498999998123"),
                ("verified:+49899999812x", "verified:+498999998123"),
                ("verified:+498999998123\n", "verified:+498999998123"),
                ("Verified:+498999998123", "verified:+498999998123"),
                ("verified:+12", "verified:+123"),
                ("verified:+1234567890123456", "verified:+123456789012345"),
            )
        ),
    ),
    *columns(
        TARGET,
        "endpoint, external_number, confirm",
        "only_external_numbers_are_confirmed",
        (("1004", None, True), (None, "+491713920042", True)),
        (("1004", None, False), (None, "+491713920042", False)),
    ),
    # --- trunks and verified numbers
    *column(PROFILES, "name", "identity_profile_name_is_plain", *PLAIN),
    *column(PROFILES, "name", Unique(PROFILES, "name", f"{PROFILES}_pkey"), ("preferred", "asserted")),
    *column(
        PROFILES, "from_number", "identity_profile_from_number_is_known", ("Presented", "presented"), ("pai", "presented")
    ),
    *column(PROFILES, "from_number", NotNull(PROFILES, "from_number"), (None, "presented")),
    *column(
        PROFILES,
        "identity_header",
        "identity_profile_header_is_known",
        *(("", "none"), ("PAI", "pai"), ("P-Preferred-Identity", "ppi"), ("p-asserted-identity", "rpid")),
    ),
    *column(
        PROFILES,
        "identity_number",
        "identity_profile_identity_number_is_known",
        *(("", "network"), ("own", "presented"), ("${sip_from_user}", "network")),
    ),
    *columns(
        PROFILES,
        "from_number, identity_header, identity_number",
        "identity_profile_shows_a_number",
        (("network", "pai", "network"), ("network", "pai", "presented")),
        (("network", "none", "presented"), ("presented", "none", "presented")),
        (("network", "none", "network"), ("presented", "none", "network")),
    ),
    *column("trunks", "identity_profile", Foreign("trunks", "identity_profile"), ("x", "preferred"), ("pai", "from-only")),
    *column("trunks", "identity_profile", NotNull("trunks", "identity_profile"), (None, "remote-party")),
    *column("trunks", "gateway", NotNull("trunks", "gateway"), (None, "g")),
    *column("trunks", "domain", NotNull("trunks", "domain"), (None, "d")),
    *column("trunks", "domain", "trunk_domain_is_plain", ("", "d"), ("D.example", "d.example"), ("a_b", "192.0.2.1")),
    *column("trunks", "domain", "trunk_domain_is_plain", ("x" * 254, "x" * 253), ("a.example:5060", "a.example")),
    *column(
        "trunks",
        "number_format",
        "trunk_number_format_is_known",
        *(("", "e164"), ("E164", "digits"), ("0049", "international"), ("local", "national")),
    ),
    *column("trunks", "called_number_in", "trunk_called_number_in_is_known", ("", "request"), ("To", "to"), ("from", "to")),
    *column("trunks", "called_number_in", NotNull("trunks", "called_number_in"), (None, "request")),
    *column("trunks", "name", "trunk_name_is_plain", *PLAIN),
    *column("trunks", "gateway", "trunk_gateway_is_plain", *PLAIN),
    *column("trunks", "country", "trunk_country_is_iso_3166", *ISO_3166),
    *column("trunks", "name", Unique("trunks", "name", "trunks_pkey"), ("carrier", "carrier2")),
    *column("trunk_routes", "account", Foreign("trunk_routes", "account"), ("nobody", "other")),
    *column("trunk_routes", "trunk", Foreign("trunk_routes", "trunk"), ("x", "carrier")),
    *column(
        "trunk_routes",
        "prefix",
        "trunk_route_prefix_is_e164",
        *PREFIX,
    ),
    *columns(
        "trunk_routes",
        "prefix, trunk",
        Unique("trunk_routes", "account, prefix, position", "trunk_routes_pkey"),
        (("+", "backup"), ("+4", "backup")),
    ),
    *columns("trunk_routes", "prefix, position", Unique("trunk_routes", "account, prefix, trunk"), (("+", 2), ("+49", 2))),
    *column("trunk_routes", "position", "trunk_route_position_is_positive", (0, 1), (-1, 1000)),
    *column(VERIFIED, "account", Foreign(VERIFIED, "account"), ("nobody", "other")),
    *column(
        VERIFIED,
        "first_number",
        Unique(VERIFIED, "account, first_number", f"{VERIFIED}_pkey"),
        ("+493023125000", "+493023125001"),
    ),
    *column(
        VERIFIED,
        "first_number",
        "verified_first_number_is_e164",
        ("*493023125100", "+493023125100"),
        ("+093023125100", "+493023125101"),
    ),
    *column(
        VERIFIED,
        "last_number",
        "verified_last_number_is_e164",
        ("4493023125199", "+493023125199"),
        ("+49302312519x", "+493023125198"),
    ),
    *columns(
        VERIFIED,
        "first_number, last_number",
        "verified_block_is_in_order",
        (("+493023125101", "+493023125100"), ("+493023125100", "+493023125100")),
        (("+493023125100", "+4930231251990"), ("+493023125100", "+493023125199")),
    ),
    *columns(
        VERIFIED,
        "first_number, last_number",
        "verified_numbers_of_a_block_differ_in_four_digits",
        (("+493023125100", "+493023135099"), ("+493023120000", "+493023129999")),
        (("+4930231250", "+4930241250"), ("+4930", "+4939")),
    ),
    *column(VERIFIED, "method", "verified_method_is_known", ("fax", "sms"), ("CALL", "call"), ("", "import")),
    *column(VERIFIED, "state", "verified_state_is_known", ("ok", "failed"), ("Pending", "expired"), ("", "cancelled")),
    *columns(
        VERIFIED,
        "state, verified_at, expires_at, revoked_at",
        "verified_state_has_its_times",
        (("verified", None, T, None), ("verified", T, T, None)),
        (("verified", T, None, None), ("pending", None, None, None)),
        (("verified", T, T, T), ("revoked", T, T, T)),
        (("revoked", T, T, None), ("revoked", None, None, T)),
    ),
    *column(VERIFIED, "verified_at", "verified_at_is_utc", ("2026-01-01 00:00:00", T), ("2026-01-01T00:00:00+", None)),
    *column(VERIFIED, "expires_at", "expires_at_is_utc", ("2026-01-01T00:00Z", T), ("2026-01-01T01:00:00+01:00", T)),
    *column(VERIFIED, "revoked_at", "revoked_at_is_utc", ("2026-01-01", T), ("2026-01-01 00:00:00Z", T)),
    *columns(
        VERIFIED,
        "method, source",
        "only_imported_numbers_have_a_source",
        (("call", "portal"), ("call", None)),
        (("manual", "portal"), ("import", "portal")),
        (("sms", ""), ("import", None)),
    ),
    *columns(
        VERIFIED,
        "method, source",
        "verified_source_is_plain",
        *((("import", refused), ("import", accepted)) for refused, accepted in PLAIN),
    ),
    # --- attempts
    *column(ATTEMPT, "account", Foreign(ATTEMPT, "account"), ("nobody", "other")),
    *column(ATTEMPT, "id", Unique(ATTEMPT, "id", f"{ATTEMPT}_pkey"), ("attempt-0", "attempt-2")),
    *columns(
        ATTEMPT,
        "first_number, last_number, account, state, settled_at",
        Unique(ATTEMPT, "account, first_number", "one_pending_verification"),
        *(
            (("+493023125000", "+493023125000", "acme", "pending", None), accepted)
            for accepted in (
                ("+493023125001", "+493023125001", "acme", "pending", None),
                ("+493023125000", "+493023125000", "other", "pending", None),
                ("+493023125000", "+493023125000", "acme", "cancelled", T),
            )
        ),
    ),
    *column(
        ATTEMPT,
        "id",
        "verification_id_is_plain",
        *(
            ("x" * 7, "x" * 8),
            ("x" * 65, "x" * 64),
            ("attempt 1", "attempt_1"),
            ("attempt.1", "attempt-1"),
            ("", "12345678"),
        ),
    ),
    *columns(
        ATTEMPT,
        "first_number, last_number",
        "verification_first_number_is_e164",
        *(((refused, refused), (accepted, accepted)) for refused, accepted in E164),
    ),
    *columns(
        ATTEMPT,
        "method, evidence, last_number",
        "verification_last_number_is_e164",
        (("manual", "e", "0493023125199"), ("manual", "e", "+493023125199")),
        (("manual", "e", "+49302312519x"), ("manual", "e", "+493023125198")),
    ),
    *columns(
        ATTEMPT,
        "method, evidence, first_number, last_number",
        "verification_block_is_in_order",
        *(
            (("manual", "e", *refused), ("manual", "e", *accepted))
            for refused, accepted in (
                (("+493023125101", "+493023125100"), ("+493023125100", "+493023125101")),
                (("+493023125100", "+4930231251990"), ("+493023125100", "+493023125100")),
            )
        ),
    ),
    *column(ATTEMPT, "method", "verification_method_is_known", ("import", "call"), ("fax", "sms"), ("", "call")),
    *columns(
        ATTEMPT,
        "method, evidence, last_number",
        "verification_by_code_is_of_one_number",
        (("call", None, "+493023125101"), ("call", None, "+493023125100")),
        (("sms", "e", "+493023125101"), ("manual", "e", "+493023125101")),
    ),
    *columns(
        ATTEMPT,
        "method, evidence",
        "verification_by_hand_has_evidence",
        (("manual", None), ("manual", "invoice 17")),
        (("manual", ""), ("call", None)),
        (("manual", "  "), ("manual", " x ")),
    ),
    *columns(
        ATTEMPT,
        "state, settled_at",
        "verification_state_is_known",
        (("revoked", T), ("verified", T)),
        (("Pending", T), ("conflict", T)),
        (("", T), ("expired", T)),
    ),
    *column(ATTEMPT, "language", "verification_language_is_known", ("fr", "de"), ("DE", "en"), ("", None)),
    *columns(
        ATTEMPT,
        "state, settled_at, code_hash, code_expires_at",
        "only_pending_codes_are_kept",
        (("verified", T, "h", T), ("verified", T, None, T)),
        (("failed", T, "h", T), ("pending", None, "h", T)),
    ),
    *columns(
        ATTEMPT, "code_hash, code_expires_at", "pending_codes_expire", (("h", None), ("h", T)), (("h", None), (None, None))
    ),
    *column(ATTEMPT, "tries", "verification_tries_are_counted", (-1, 0), (-1, 5)),
    *columns(
        ATTEMPT,
        "state, settled_at",
        "verification_is_settled_or_pending",
        (("pending", T), ("pending", None)),
        (("verified", None), ("verified", T)),
    ),
    *columns(
        ATTEMPT,
        "started_by, approved_by",
        "approval_is_a_second_persons",
        (("a", "a"), ("a", "b")),
        (("b", "b"), ("b", None)),
    ),
    *column(ATTEMPT, "started_at", "started_at_is_utc", ("2026-01-01 00:00:00", T), ("2026-01-01T00:00:00+", T)),
    *column(ATTEMPT, "code_expires_at", "code_expires_at_is_utc", ("2026-01-01 00:00:00Z", T), ("soon", None)),
    *column(ATTEMPT, "delivered_at", "delivered_at_is_utc", ("2026-01-01", T), ("", None)),
    *columns(
        ATTEMPT,
        "state, settled_at",
        "settled_at_is_utc",
        (("failed", "2026-01-01T00:00Z"), ("failed", T)),
        (("failed", "2026-01-01 00:00:00Z"), ("failed", T)),
    ),
    # --- the audit log
    *column(AUDIT, "id", Kept(AUDIT, "id", f"{AUDIT}_pkey"), (1, 4), (3, 5)),
    *column(AUDIT, "id", "audit_id_is_counted", (0, 4), (-1, 1000)),
    *column(AUDIT, "at", "audit_at_is_utc", ("2026-01-01 00:00:00Z", T), ("2026-01-01T00:00:00+", T), ("now", T)),
    *columns(
        AUDIT,
        "actor, origin",
        "audit_says_who",
        (("", "o"), ("a", "o")),
        (("a", ""), ("a", "o")),
        (("x" * 201, "o"), ("x" * 200, "o")),
        (("a", "x" * 201), ("a", "x" * 200)),
    ),
    *column(AUDIT, "actor", NotNull(AUDIT, "actor"), (None, "a")),
    *column(AUDIT, "action", "audit_says_what", ("", "x")),
    *columns(
        AUDIT,
        "first_number, last_number",
        "audit_first_number_is_e164",
        *(((refused, refused), (accepted, accepted)) for refused, accepted in E164),
    ),
    *column(
        AUDIT,
        "last_number",
        "audit_last_number_is_e164",
        *(("0493023125199", "+493023125199"), ("+49302312519x", "+493023125198")),
    ),
    *columns(
        AUDIT,
        "first_number, last_number",
        "audit_block_is_in_order",
        (("+493023125101", "+493023125100"), ("+493023125100", "+493023125100")),
        (("+493023125100", "+4930231251990"), ("+493023125100", "+493023125199")),
    ),
    *column(AUDIT, "method", "audit_method_is_known", ("fax", "sms"), ("CALL", "call"), ("", None)),
    *column(AUDIT, "state", "audit_state_is_known", ("ok", "failed"), ("Removed", "removed"), ("conflict", None)),
    *columns(
        AUDIT,
        "state, expires_at",
        "audit_verified_expires",
        (("verified", None), ("verified", T)),
        (("verified", None), ("revoked", None)),
    ),
    *column(AUDIT, "expires_at", "audit_expires_at_is_utc", ("2026-01-01", T), ("2026-01-01T00:00:00+", None)),
]

BOOLEANS = {
    "account_presents_mobile_is_boolean": ("accounts", "presents_mobile", {}),
    "account_presents_abroad_is_boolean": ("accounts", "presents_abroad", {}),
    "account_verifies_abroad_is_boolean": ("accounts", "verifies_abroad", {}),
    "account_approves_blocks_is_boolean": ("accounts", "approves_blocks", {}),
    "call_permission_allowed_is_boolean": ("call_permissions", "allowed", {}),
    "number_enabled_is_boolean": ("numbers", "enabled", {}),
    "number_is_network_number_is_boolean": ("numbers", "is_network_number", {"account": "other"}),
    "endpoint_enabled_is_boolean": ("endpoints", "enabled", {}),
    "rule_anonymous_is_boolean": ("rules", "anonymous", {}),
    "rule_enabled_is_boolean": ("rules", "enabled", {}),
    "rule_target_confirm_is_boolean": ("rule_targets", "confirm", {"external_number": "+491713920042"}),
    "rule_target_enabled_is_boolean": ("rule_targets", "enabled", {"endpoint": "1004"}),
    "identity_profile_diversion_is_boolean": ("identity_profiles", "diversion", {}),
    "identity_profile_history_info_is_boolean": ("identity_profiles", "history_info", {}),
    "trunk_is_foreign_is_boolean": ("trunks", "is_foreign", {}),
    "trunk_enabled_is_boolean": ("trunks", "enabled", {}),
}
"""SQLite has no boolean type: there constraints stand in for it."""

INTEGERS = {
    "ring_group_has_at_most_128_members": ("ring_group_members", "position", {}),
    "time_range_position_is_positive": ("time_profile_ranges", "position", {}),
    "rule_position_is_positive": ("rules", "position", {}),
    "rule_ring_s_is_1_to_3600": ("rules", "ring_s", {}),
    "rule_target_position_is_1_to_128": ("rule_targets", "position", {"endpoint": "1004"}),
    "rule_target_start_s_is_0_to_3600": ("rule_targets", "start_s", {"endpoint": "1004"}),
    "rule_target_ring_s_is_1_to_3600": ("rule_targets", "ring_s", {"endpoint": "1004"}),
    "trunk_route_position_is_positive": ("trunk_routes", "position", {}),
    "account_verification_days_is_1_to_3650": ("accounts", "verification_days", {}),
    "verification_tries_are_counted": ("verifications", "tries", {}),
}
"""Nor does it keep fractions and text out of an INTEGER column."""

NAMES = [
    ("accounts", "name"),
    ("accounts", "timezone"),
    ("accounts", "domain"),
    ("users", "name"),
    ("users", "extension"),
    ("endpoints", "name"),
    ("user_numbers", "short_code"),
    ("ring_groups", "name"),
    ("time_profiles", "name"),
    ("time_profiles", "timezone"),
    ("rule_targets", "announcement"),
    ("trunks", "name"),
    ("trunks", "gateway"),
    ("trunks", "domain"),
    ("identity_profiles", "name"),
]
"""Columns whose text gets into FreeSWITCH's dial strings, files and directory."""

DIAL_STRING_CHARACTERS = ",|[]{}()<>'\"`$:;@%^&=*?!#~\\ \t\n\r\x0b\x01\x02\x7f\u00fc\u00c4\u00df\u0130\u212a\uff10\U0001f600"


@cache
def opened(databases: Databases) -> Database:
    """The demo data and the second account, on a connection that all tests of this file share."""
    url = databases.filled(DEMO)
    database = open_database(url)
    database.connect()
    with database.atomic():
        for table, row in OTHER_ACCOUNT:
            insert(database, table, row)
    return database


@pytest.fixture
def database(databases: Databases) -> Iterator[Database]:
    """The shared database, in a transaction that is rolled back."""
    shared = opened(databases)
    with shared.atomic() as transaction:
        yield shared
        transaction.rollback()


def insert(database: Database, table: str, row: Row) -> None:
    marks = ", ".join([database.param] * len(row))
    database.execute_sql(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def refusal(database: Database, table: str, row: Row) -> str:
    """Why the row is refused; empty if it is accepted. It does not stay."""
    with database.atomic() as tried:
        try:
            insert(database, table, row)
        except IntegrityError as error:
            return str(error).splitlines()[0]
        finally:
            tried.rollback()
    return ""


def test_schema_sql_loads_unchanged(tables_url: str) -> None:
    database = open_database(tables_url)
    with database.connection_context():
        found = database.get_tables()
        versions = database.execute_sql("SELECT version, tables_version FROM schema_version").fetchall()
    assert (sorted(found), versions) == (sorted(re.findall(r"(?m)^CREATE TABLE (\w+)", schema())), [(3, 4)])


def test_the_demo_data_load(demo_url: str) -> None:
    database = open_database(demo_url)
    with database.connection_context():
        counts = {
            table: database.execute_sql(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in database.get_tables()
        }
    assert counts == {
        "schema_version": 1,
        "accounts": 2,
        "call_permissions": 0,
        "numbers": 7,
        "users": 4,
        "endpoints": 5,
        "user_numbers": 4,
        "ring_groups": 1,
        "ring_group_members": 3,
        "time_profiles": 1,
        "time_profile_ranges": 1,
        "rules": 10,
        "rule_callers": 0,
        "rule_targets": 14,
        "identity_profiles": 5,
        "trunks": 1,
        "trunk_routes": 2,
        "verified_numbers": 3,
        "verifications": 0,
        "audit_log": 3,
    }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_cannot_work_is_refused(database: Database, case: Case) -> None:
    told = refusal(database, case.table, BASE[case.table] | case.refused)
    assert case.by.message(on_sqlite=is_sqlite(database)) in told


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_nearest_that_works_is_accepted(database: Database, case: Case) -> None:
    assert refusal(database, case.table, BASE[case.table] | case.accepted) == ""


@pytest.mark.parametrize(("table", "column"), NAMES)
def test_no_character_of_a_dial_string_gets_into_a_name(database: Database, table: str, column: str) -> None:
    accepted = [
        character
        for character in DIAL_STRING_CHARACTERS
        for value in (f"12{character}", f"{character}12", f"1{character}2")
        if not refusal(database, table, BASE[table] | {column: value})
    ]
    assert accepted == []


@pytest.mark.parametrize(("name", "case"), BOOLEANS.items(), ids=BOOLEANS.keys())
def test_booleans_are_true_or_false(database: Database, name: str, case: tuple[str, str, Row]) -> None:
    table, column, row = case
    if is_sqlite(database):
        told = [refusal(database, table, BASE[table] | row | {column: value}) for value in (2, -1, 0.5, "yes", "")]
        assert told == [Check(name).message(on_sqlite=True)] * 5
    assert [refusal(database, table, BASE[table] | row | {column: value}) for value in (True, False)] == ["", ""]


@pytest.mark.parametrize(("name", "case"), INTEGERS.items(), ids=INTEGERS.keys())
def test_integers_are_whole(database: Database, name: str, case: tuple[str, str, Row]) -> None:
    table, column, row = case
    if is_sqlite(database):
        told = [refusal(database, table, BASE[table] | row | {column: value}) for value in (7.5, "abc", "")]
        assert told == [Check(name).message(on_sqlite=True)] * 3
    assert refusal(database, table, BASE[table] | row | {column: 7}) == ""


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM accounts WHERE name = 'acme'",
        "DELETE FROM endpoints WHERE name = '1001'",
        "DELETE FROM users WHERE name = 'reception'",
        "DELETE FROM ring_groups WHERE name = 'sales'",
        "DELETE FROM numbers WHERE number = '+492214710100'",
        "DELETE FROM rules WHERE number = '+492214710100'",
        "DELETE FROM time_profiles WHERE name = 'office-hours'",
        "DELETE FROM trunks WHERE name = 'carrier'",
        "DELETE FROM identity_profiles WHERE name = 'presented-in-from'",
        "UPDATE numbers SET account = 'other' WHERE number = '+492214710100'",
        "UPDATE endpoints SET name = '1009' WHERE name = '1001'",
    ],
)
def test_what_is_pointed_to_stays(database: Database, statement: str) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)foreign key constraint"), database.atomic():
        database.execute_sql(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'x'",
        "UPDATE audit_log SET reason = reason WHERE id = 2",
        "DELETE FROM audit_log",
        "DELETE FROM audit_log WHERE id = 3",
        "INSERT INTO audit_log SELECT * FROM audit_log WHERE id = 1 ON CONFLICT (id) DO UPDATE SET actor = 'x'",
        "sqlite: INSERT OR REPLACE INTO audit_log SELECT * FROM audit_log WHERE id = 1",
        "sqlite: REPLACE INTO audit_log SELECT * FROM audit_log",
        "sqlite: UPDATE OR REPLACE audit_log SET id = 1 WHERE id = 2",
        "postgresql: TRUNCATE audit_log",
        "postgresql: TRUNCATE accounts, audit_log CASCADE",
        "postgresql: WITH gone AS (DELETE FROM audit_log RETURNING id) SELECT * FROM gone",
    ],
)
def test_the_audit_log_is_append_only(database: Database, statement: str) -> None:
    kind, _, text = statement.rpartition(": ")
    if kind and (kind == "sqlite") != is_sqlite(database):
        return
    before = database.execute_sql("SELECT * FROM audit_log ORDER BY id").fetchall()
    with pytest.raises(DatabaseError, match="audit_log is append-only"), database.atomic():
        database.execute_sql(text)
    assert (database.execute_sql("SELECT * FROM audit_log ORDER BY id").fetchall(), len(before)) == (before, 3)


def described(url: str) -> list[tuple[Any, ...]]:
    """All that a database is made of."""
    database = open_database(url)
    with database.connection_context():
        if is_sqlite(database):
            return list(database.execute_sql("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall())
        queries = (
            "SELECT table_name, ordinal_position, column_name, data_type, is_nullable FROM information_schema.columns",
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint",
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        )
        return [row for query in queries for row in sorted(database.execute_sql(query).fetchall())]


def test_the_databases_own_programs_make_the_same_tables(database_url: str, tables_url: str) -> None:
    sqlite = database_url.startswith("sqlite")
    program = shutil.which("sqlite3" if sqlite else "psql")
    if program is None:
        pytest.skip(f"NOT RUN: schema.sql by the database's own program: {'sqlite3' if sqlite else 'psql'} is not installed")
    path = Path(str(files("fsroute") / "schema.sql"))
    if sqlite:
        command, text = [program, "-bail", database_url.removeprefix("sqlite:///")], schema()
    else:
        command, text = [program, "--quiet", "--set=ON_ERROR_STOP=1", "--no-psqlrc", f"--file={path}", database_url], ""
    ran = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert described(database_url) == described(tables_url)


def test_every_constraint_has_its_cases() -> None:
    named = set(re.findall(r"CONSTRAINT (\w+)", schema()))
    assert {case.by.name for case in CASES if isinstance(case.by, Check)} | BOOLEANS.keys() == named


def test_every_key_has_its_cases(databases: Databases) -> None:
    database = opened(databases)
    if not is_sqlite(database):
        rows = database.execute_sql(
            "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'c' UNION"
            " SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE '%%UNIQUE%% WHERE %%'"
        ).fetchall()
        keys = [case.by for case in CASES if isinstance(case.by, Foreign | Unique)]
        # No row can break a key that exists only as the target of a foreign key: the primary key is a part of it.
        implied = {"numbers_account_number_key", "rules_account_number_position_key"}
        assert {key.message(on_sqlite=False).split('"')[1] for key in keys} | implied == {row[0] for row in rows}
