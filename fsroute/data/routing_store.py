"""Reads from the database the routing of one call, as values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any

from peewee import Database

from fsroute import times
from fsroute.callerid import policy, received
from fsroute.data import queries, tables
from fsroute.data.database import DATABASE_ERRORS, Prepared, database_errors, rows, snapshot
from fsroute.model import (
    Account,
    AccountStatus,
    Call,
    CalledNumberIn,
    Direction,
    Endpoint,
    Holidays,
    HostedNumber,
    IdentityHeader,
    IdentityProfile,
    Mode,
    NumberFacts,
    NumberFormat,
    NumberRole,
    Permission,
    RefusedCallerId,
    Routing,
    Rule,
    RuleKey,
    RuleType,
    ShowVerified,
    Target,
    TimeProfile,
    TimeRange,
    TransferredCallerId,
    Trunk,
    TrunkRoute,
    User,
    Verification,
    VerificationState,
    forwarded_caller_id,
)
from fsroute.numbers import phone_number
from fsroute.routing import timeprofile
from fsroute.routing.limits import MAX_FORWARDS, MAX_NUMBERS, MAX_ROWS, MAX_RULES
from fsroute.target_kinds import LeadsTo, TargetKind

_BLOCK_DIGITS = 4
"""Last digits in which the numbers of a block may differ (schema.sql)."""

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_Named = tuple[str, str]
"""An account and a name in it."""


@dataclass(frozen=True, slots=True)
class Store:
    """The routing tables, for a single reader; `fsroute serve` has `connections` instead. Each thread has its own
    connection, which stays open."""

    database: Database
    url: str
    default_country: str

    def routing(self, call: Call) -> Routing:
        """The routing of this call, as of one moment. Raises DataError if the tables cannot be read."""
        with database_errors(self.url):
            try:
                self.database.connect(reuse_if_open=True)
                return read_routing(self.database, call, self.default_country)
            except DATABASE_ERRORS:
                self.database.close()  # the next call opens a new connection
                raise

    def close(self) -> None:
        """Closes this thread's connection."""
        self.database.close()


def prepare_holidays(database: Database) -> None:
    """Computes the public holidays that the time profiles refer to: the first calendar takes 150 ms."""
    region = tables.TimeProfile.holiday_region
    for (name,) in rows(database, tables.TimeProfile.select(region).where(~region.is_null()).distinct()):
        timeprofile.prepare(name, datetime.now(UTC))


def read_routing(database: Database, call: Call, default_country: str) -> Routing:
    """The routing of this call, as of one moment, by an open connection. Raises the driver's errors."""
    with snapshot(database):
        return _Read(database).routing(call, default_country)


class _Read:
    """One consistent read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._left_out: list[tuple[str, str]] = []

    def _most(self, query: Prepared, *values: str | Sequence[str], subject: str, what: str) -> list[tuple[Any, ...]]:
        """The first MAX_ROWS rows of a query. If there are more, the decision gives the reason."""
        found = self._rows(query, *values)
        if len(found) > MAX_ROWS:
            self._left_out.append((subject, f"{what} behind the first {MAX_ROWS} are left out"))
        return found[:MAX_ROWS]

    def _rows(self, query: Prepared, *values: str | Sequence[str]) -> list[tuple[Any, ...]]:
        return query.rows(self._database, *values)

    def routing(self, call: Call, default_country: str) -> Routing:
        if call.direction is Direction.OUTBOUND:
            return self._outbound(call, default_country)
        trunk = self._trunk(call.trunk) if call.trunk else None
        country = trunk.country if trunk else default_country
        return self._to_numbers(Routing(country, trunk=trunk), received.destinations(call, trunk, country), set())

    def _trunk(self, name: str) -> Trunk | None:
        found = self._rows(queries.trunk, name)
        return _trunk(*found[0]) if found else None

    def _outbound(self, call: Call, default_country: str) -> Routing:
        accounts = self._accounts([call.account]) if call.account else {}
        account = accounts.get(call.account or "")
        if account is None:
            return Routing(default_country)
        short = next(iter(self._rows(queries.short_code, account.name, call.destination)), None)
        users = self._rows(queries.users, account.name, [call.user or "", short[1] if short else ""], call.destination)
        phones = self._phones_of_users((account.name, name) for name, *_ in users)
        found = [User(name, extension, phones[account.name, name], primary) for name, extension, primary in users]
        callee = next((user for user in found if user.extension == call.destination), None)
        if callee is None and short is not None:
            callee = next((user for user in found if user.name == short[1]), None)
        routing = Routing(
            account.country,
            account=account,
            caller=next((user for user in found if user.name == call.user), None),
            callee=callee,
        )
        asked = {policy.requested(call, routing)}
        also = [account.failed_transfer] if call.transferred and phone_number.is_e164(account.failed_transfer) else []
        spellings = phone_number.dialled_texts(call.destination, account.country, account.area_code)
        if callee is not None:
            by_code = short is not None and callee.extension != call.destination
            called = short[0] if short is not None and by_code else callee.primary_number
            spellings = (called,) if called else ()
        return self._to_numbers(routing, spellings, asked, also)

    # --- numbers and their rules -------------------------------------------------------------------------

    def _to_numbers(
        self, routing: Routing, spellings: Sequence[str], asked: set[str | None], also: Sequence[str] = ()
    ) -> Routing:
        """Adds the dialled number, `also`, every hosted number that their rules lead to, and the facts about the numbers to
        present."""
        found: dict[str, tuple[str, bool]] = {}
        targets: list[tuple[RuleKey, str, Target]] = []
        wanted = {*spellings, *also}
        for _ in range(MAX_FORWARDS + 1):
            if not wanted or len(found) >= MAX_NUMBERS:
                break
            rows = self._rows(queries.hosted_numbers, list(wanted))
            reached = {number: (account, bool(enabled)) for number, account, enabled in rows}
            found |= reached
            led_to = self._targets(reached)
            targets += led_to
            wanted = {target.value for _, _, target in led_to if target.kind.is_number} - found.keys()
        shown = (target.caller_id for _, _, target in targets)
        asked |= {wanted.number for wanted in shown if isinstance(wanted, ShowVerified)}
        routing = replace(
            routing, facts=self._facts({number for number in asked if number and phone_number.is_e164(number)})
        )
        if not found:
            return routing
        dialled = next((spelling for spelling in spellings if spelling in found), None)
        accounts = self._accounts({account for account, _ in found.values()})
        ringing = self._owners(found, targets)
        rules = self._rules(found, accounts, self._with_phones(targets + ringing), dialled)
        for key, _, _ in ringing:
            rules[key.number] = [Rule(key.number, key.position, targets=tuple(self._with_phones(ringing)[key]))]
        hosted = {
            number: HostedNumber(number, accounts[account], tuple(rules[number]), enabled)
            for number, (account, enabled) in found.items()
        }
        return replace(routing, dialled=dialled, numbers=hosted, left_out=tuple(self._left_out))

    def _targets(self, reached: Iterable[str]) -> list[tuple[RuleKey, str, Target]]:
        selected = list(reached)
        rows = self._most(queries.rule_targets, selected, subject=_named(selected), what="targets") if selected else []
        return [_target(row) for row in rows]

    def _rules(
        self, found: Iterable[str], accounts: dict[str, Account], targets: dict[RuleKey, list[Target]], dialled: str | None
    ) -> dict[str, list[Rule]]:
        selected = list(found)
        rows = self._rows(queries.rules, selected)
        if len(rows) > MAX_ROWS:
            # The rules of the number that was dialled count before those of the numbers behind it.
            first = [dialled] if dialled is not None else []
            rows = self._rows(queries.rules, first) if first else []
            others = [number for number in selected if number not in first]
            rows += self._rows(queries.rules, others) if others else []
        rows = self._without_more(rows)
        profiles = self._time_profiles({(row[0], row[7]) for row in rows if row[7] is not None}, accounts)
        callers: dict[RuleKey, list[str]] = defaultdict(list)
        filters = self._most(queries.rule_callers, selected, subject=_named(selected), what="caller filters")
        for number, position, text in filters:
            callers[RuleKey(number, position)].append(text)
        rules: dict[str, list[Rule]] = defaultdict(list)
        for account, number, position, type_, mode, ring_s, anonymous, profile, enabled in rows:
            key = RuleKey(number, position)
            rules[number].append(
                Rule(
                    number,
                    position,
                    RuleType(type_),
                    Mode(mode),
                    ring_s,
                    _boolean(anonymous),
                    profiles[account, profile] if profile is not None else None,
                    tuple(sorted(callers[key])),
                    tuple(targets.get(key, ())),
                    bool(enabled),
                )
            )
        return rules

    def _without_more(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The first MAX_RULES rules of each number. A base rule behind them stays: it is the last resort."""
        by_number: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for row in rows:
            by_number[row[1]].append(row)
        for number, own in by_number.items():
            if len(own) > MAX_RULES:
                self._left_out.append((f"number {number}", f"rules behind the first {MAX_RULES} are left out"))
                own[MAX_RULES:] = [row for row in own[MAX_RULES:] if row[3] == RuleType.BASE.value][:1]
        return [row for own in by_number.values() for row in own]

    def _owners(self, found: Iterable[str], targets: list[tuple[RuleKey, str, Target]]) -> list[tuple[RuleKey, str, Target]]:
        """For hosted numbers that have no rules: the user they belong to, as the one target of rule 0."""
        without = sorted(set(found) - {key.number for key, _, _ in targets})
        if not without:
            return []
        return [
            (RuleKey(hosted, 0), account, Target(1, TargetKind.USER, user))
            for account, hosted, user in self._rows(queries.owners, without)
        ]

    def _facts(self, asked: set[str]) -> dict[str, NumberFacts]:
        """Who hosts these numbers, and what was verified of them."""
        if not asked:
            return {}
        hosted = {number: account for number, account, _ in self._rows(queries.hosted_numbers, list(asked))}
        facts = {}
        for number in asked:
            earliest = number[:-_BLOCK_DIGITS] + "0" * _BLOCK_DIGITS
            covering = self._rows(queries.verified_numbers, number)
            covering += self._rows(queries.verified_blocks, number, earliest)
            facts[number] = NumberFacts(
                hosted.get(number),
                tuple(
                    Verification(account, first, last, VerificationState(state), times.from_text(expires))
                    for account, first, last, state, expires in sorted(covering)
                    if len(first) == len(number)
                ),
            )
        return facts

    # --- what targets ring -------------------------------------------------------------------------------

    def _with_phones(self, targets: list[tuple[RuleKey, str, Target]]) -> dict[RuleKey, list[Target]]:
        """The targets of each rule, with their endpoints."""
        named: dict[TargetKind, set[_Named]] = defaultdict(set)
        for _, account, target in targets:
            named[target.kind].add((account, target.value))
        phones = {
            TargetKind.ENDPOINT: self._phones(named[TargetKind.ENDPOINT]),
            TargetKind.USER: self._phones_of_users(named[TargetKind.USER]),
            TargetKind.RING_GROUP: self._phones_of_groups(named[TargetKind.RING_GROUP]),
        }
        result: dict[RuleKey, list[Target]] = defaultdict(list)
        for key, account, target in targets:
            rings = target.kind.leads_to is LeadsTo.ENDPOINTS
            found = phones[target.kind].get((account, target.value), ()) if rings else ()
            result[key].append(replace(target, endpoints=found) if found else target)
        return result

    def _phones(self, named: Iterable[_Named]) -> dict[_Named, tuple[Endpoint, ...]]:
        by_account = _by_account(named)
        found: dict[_Named, tuple[Endpoint, ...]] = {}
        for account, names in by_account.items():
            for user, extension, name, domain, enabled in self._rows(queries.endpoints, account, names):
                found[account, name] = (Endpoint(name, domain, bool(enabled), account, user, extension),)
        return found

    def _phones_of_users(self, named: Iterable[_Named]) -> dict[_Named, tuple[Endpoint, ...]]:
        return self._phones_by(queries.endpoints_of_users, named)

    def _phones_of_groups(self, named: Iterable[_Named]) -> dict[_Named, tuple[Endpoint, ...]]:
        return self._phones_by(queries.endpoints_of_groups, named)

    def _phones_by(self, query: Prepared, named: Iterable[_Named]) -> dict[_Named, tuple[Endpoint, ...]]:
        found: dict[_Named, list[Endpoint]] = defaultdict(list)
        for account, names in _by_account(named).items():
            rows = self._most(query, account, names, subject=f"account {account}", what="endpoints")
            for owner, user, extension, name, domain, enabled in rows:
                found[account, owner].append(Endpoint(name, domain, bool(enabled), account, user, extension))
        return defaultdict(tuple, {key: tuple(endpoints) for key, endpoints in found.items()})

    # --- accounts, times ---------------------------------------------------------------------------------

    def _accounts(self, names: Iterable[str]) -> dict[str, Account]:
        selected = list(names)
        routes: dict[str, list[TrunkRoute]] = defaultdict(list)
        for *columns, name, prefix, position in self._rows(queries.trunk_routes, selected):
            routes[name].append(TrunkRoute(prefix, position, _trunk(*columns)))
        permissions: dict[str, list[Permission]] = defaultdict(list)
        for name, prefix, allowed in self._rows(queries.call_permissions, selected):
            permissions[name].append(Permission(prefix, bool(allowed)))
        network = dict(self._rows(queries.network_numbers, selected))
        return {
            name: Account(
                name,
                country,
                timezone,
                domain,
                AccountStatus(status),
                network.get(name),
                tuple(routes[name]),
                RefusedCallerId(refusal),
                presented,
                bool(mobile),
                bool(abroad),
                tuple(permissions[name]),
                TransferredCallerId(transferred_caller_id),
                failed_transfer,
                area_code,
            )
            for (
                name,
                country,
                timezone,
                domain,
                status,
                refusal,
                presented,
                mobile,
                abroad,
                transferred_caller_id,
                failed_transfer,
                area_code,
            ) in self._rows(queries.accounts, selected)
        }

    def _time_profiles(self, named: set[_Named], accounts: dict[str, Account]) -> dict[_Named, TimeProfile]:
        found: dict[_Named, TimeProfile] = {}
        for account, names in _by_account(named).items():
            ranges: dict[str, list[TimeRange]] = defaultdict(list)
            rows = self._most(queries.time_profile_ranges, account, names, subject=f"account {account}", what="time ranges")
            for name, *columns in rows:
                ranges[name].append(_time_range(*columns))
            for name, timezone, region in self._rows(queries.time_profiles, account, names):
                if region is not None:
                    timeprofile.prepare(
                        region, datetime.now(UTC)
                    )  # here it takes the time of a thread, not that of all calls
                zone = timezone or accounts[account].timezone
                found[account, name] = TimeProfile(name, zone, region, tuple(ranges[name]))
        return found


def _named(numbers: Sequence[str]) -> str:
    """The numbers of a query, for a reason."""
    return f"number {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} numbers"


def _trunk(*columns: Any) -> Trunk:
    name, gateway, country, domain, form, is_foreign, enabled, called_number_in, *profile = columns
    profile_name, from_number, header, header_number, diversion, history_info = profile
    return Trunk(
        name,
        gateway,
        country,
        domain,
        IdentityProfile(
            profile_name,
            NumberRole(from_number),
            IdentityHeader(header),
            NumberRole(header_number),
            bool(diversion),
            bool(history_info),
        ),
        NumberFormat(form),
        bool(is_foreign),
        bool(enabled),
        CalledNumberIn(called_number_in),
    )


def _by_account(named: Iterable[_Named]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = defaultdict(list)
    for account, name in named:
        result[account].append(name)
    return result


def _target(row: tuple[Any, ...]) -> tuple[RuleKey, str, Target]:
    account, number, rule_position, position, start_s, ring_s, confirm, enabled, caller_id, *values = row
    kind, value = next((kind, value) for kind, value in zip(TargetKind, values, strict=True) if value is not None)
    shown = forwarded_caller_id(caller_id)
    target = Target(position, kind, value, (), start_s, ring_s, _boolean(confirm), bool(enabled), shown)
    return RuleKey(number, rule_position), account, target


def _boolean(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _time_range(
    first_weekday: str | None,
    last_weekday: str | None,
    start: str | None,
    end: str | None,
    first_date: str | None,
    last_date: str | None,
    holidays: str,
) -> TimeRange:
    return TimeRange(
        _weekdays(first_weekday, last_weekday) if first_weekday and last_weekday else None,
        time.fromisoformat(start) if start else None,
        time.fromisoformat(end) if end and end != "24:00" else None,
        date.fromisoformat(first_date) if first_date else None,
        date.fromisoformat(last_date) if last_date else None,
        Holidays(holidays),
    )


def _weekdays(first: str, last: str) -> frozenset[int]:
    """Monday is 0. From Saturday to Monday goes across the week's end."""
    start = _WEEKDAYS.index(first)
    length = (_WEEKDAYS.index(last) - start) % 7 + 1
    return frozenset((start + i) % 7 for i in range(length))
