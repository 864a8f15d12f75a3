"""Reads from the database what one call needs, as values. The only file that queries the routing tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Any

from peewee import Database, DatabaseError, InterfaceError

from fsroute import callerid
from fsroute import number as numbers
from fsroute import tables as t
from fsroute.database import explain_failure, rows, snapshot
from fsroute.errors import DataError
from fsroute.model import (
    Account,
    AccountStatus,
    Call,
    Direction,
    Endpoint,
    Holidays,
    HostedNumber,
    IdentityHeader,
    IdentityProfile,
    Mode,
    NumberFacts,
    NumberFormat,
    Permission,
    Refusal,
    Routing,
    Rule,
    RuleKey,
    RuleType,
    Target,
    TargetKind,
    TimeProfile,
    TimeRange,
    Trunk,
    TrunkRoute,
    User,
    Verification,
    VerificationState,
    Which,
)

MAX_NUMBERS = 128
"""Hosted numbers that one call can reach by its rules. More is no forwarding that anybody meant."""

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TARGET_COLUMNS = tuple(getattr(t.RuleTarget, kind.value) for kind in TargetKind)

_Named = tuple[str, str]
"""An account and a name in it."""


@dataclass(frozen=True, slots=True)
class Store:
    """The routing tables. Each thread that reads has a connection of its own, which stays open."""

    database: Database
    url: str
    default_country: str

    def routing(self, call: Call) -> Routing:
        """What the tables say about this call, as of one moment. Raises DataError if they can not be read."""
        try:
            self.database.connect(reuse_if_open=True)
            with snapshot(self.database):
                return _Read(self.database).routing(call, self.default_country)
        except (DatabaseError, InterfaceError, ImportError, UnicodeError) as error:
            self.database.close()  # PostgreSQL: a broken connection must not serve the next call
            raise DataError(explain_failure(self.url, error)) from error

    def close(self) -> None:
        """Closes this thread's connection."""
        self.database.close()


class _Read:
    """One consistent read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _rows(self, query: Any) -> list[tuple[Any, ...]]:
        return rows(self._database, query)

    def routing(self, call: Call, default_country: str) -> Routing:
        if call.direction is Direction.OUTBOUND:
            return self._outbound(call, default_country)
        trunk = self._trunk(call.trunk) if call.trunk else None
        country = trunk.country if trunk else default_country
        return self._to_numbers(Routing(country, trunk=trunk), numbers.candidates(call.destination, country), set())

    def _trunk(self, name: str) -> Trunk | None:
        found = self._rows(_trunks().where(t.Trunk.name == name))
        return _trunk(*found[0]) if found else None

    def _outbound(self, call: Call, default_country: str) -> Routing:
        accounts = self._accounts([call.account]) if call.account else {}
        account = accounts.get(call.account or "")
        if account is None:
            return Routing(default_country)
        short = self._short_code(account.name, call.destination)
        users = self._rows(
            t.User.select(t.User.name, t.User.extension, t.UserNumber.number)
            .left_outer_join(
                t.UserNumber,
                on=(t.UserNumber.account == t.User.account)
                & (t.UserNumber.user_name == t.User.name)
                & (t.UserNumber.kind == "primary"),
            )
            .where(
                (t.User.account == account.name)
                & (t.User.name.in_([call.user or "", short[1] if short else ""]) | (t.User.extension == call.destination))
            )
        )
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
        wanted = {callerid.requested(call, routing)}
        return self._to_numbers(routing, numbers.candidates(call.destination, account.country), wanted)

    def _short_code(self, account: str, dialled: str) -> tuple[str, str] | None:
        """The number and user behind a short code."""
        number = t.UserNumber
        found = self._rows(
            number.select(number.number, number.user_name).where(
                (number.account == account) & (number.short_code == dialled)
            )
        )
        return (found[0][0], found[0][1]) if found else None

    # --- numbers and their rules -------------------------------------------------------------------------

    def _to_numbers(self, routing: Routing, spellings: Sequence[str], asked: set[str | None]) -> Routing:
        """Adds the dialled number, every hosted number that its rules lead to, and the facts on what is to be shown."""
        found: dict[str, tuple[str, bool]] = {}
        targets: list[tuple[RuleKey, str, Target]] = []
        wanted = set(spellings)
        while wanted and len(found) < MAX_NUMBERS:
            rows = self._rows(
                t.Number.select(t.Number.number, t.Number.account, t.Number.enabled).where(t.Number.number.in_(wanted))
            )
            reached = {number: (account, enabled) for number, account, enabled in rows}
            found |= reached
            led_to = self._targets(reached)
            targets += led_to
            leads = (TargetKind.HOSTED, TargetKind.EXTERNAL)
            wanted = {target.value for _, _, target in led_to if target.kind in leads} - found.keys()
        asked |= {target.caller_id.removeprefix(callerid.VERIFIED) for _, _, target in targets}
        routing = replace(routing, facts=self._facts({number for number in asked if number and numbers.is_e164(number)}))
        dialled = next((spelling for spelling in spellings if spelling in found), None)
        if dialled is None:
            return routing
        accounts = self._accounts({account for account, _ in found.values()})
        ringing = self._owners({number: account for number, (account, _) in found.items()}, targets)
        rules = self._rules(found, accounts, self._with_phones(targets + ringing))
        for key, _, _ in ringing:
            rules[key.number] = [Rule(key.number, key.position, targets=tuple(self._with_phones(ringing)[key]))]
        hosted = {
            number: HostedNumber(number, accounts[account], tuple(rules[number]), enabled)
            for number, (account, enabled) in found.items()
        }
        return replace(routing, dialled=dialled, numbers=hosted)

    def _targets(self, reached: Iterable[str]) -> list[tuple[RuleKey, str, Target]]:
        column = t.RuleTarget
        rows = self._rows(
            column.select(
                column.account,
                column.number,
                column.rule_position,
                column.position,
                column.start_s,
                column.ring_s,
                column.confirm,
                column.enabled,
                column.caller_id,
                *_TARGET_COLUMNS,
            )
            .where(column.number.in_(list(reached)))
            .order_by(column.number, column.rule_position, column.position)
        )
        return [_target(row) for row in rows]

    def _rules(
        self, found: Iterable[str], accounts: dict[str, Account], targets: dict[RuleKey, list[Target]]
    ) -> dict[str, list[Rule]]:
        column, selected = t.Rule, list(found)
        rows = self._rows(
            column.select(
                column.account,
                column.number,
                column.position,
                column.type,
                column.mode,
                column.ring_s,
                column.anonymous,
                column.time_profile,
                column.enabled,
            )
            .where(column.number.in_(selected))
            .order_by(column.number, column.position)
        )
        profiles = self._time_profiles({(row[0], row[7]) for row in rows if row[7] is not None}, accounts)
        callers: dict[RuleKey, list[str]] = defaultdict(list)
        caller = t.RuleCaller
        for number, position, text in self._rows(
            caller.select(caller.number, caller.rule_position, caller.caller).where(caller.number.in_(selected))
        ):
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
                    anonymous,
                    profiles[account, profile] if profile is not None else None,
                    tuple(sorted(callers[key])),
                    tuple(targets.get(key, ())),
                    enabled,
                )
            )
        return rules

    def _owners(
        self, accounts: dict[str, str], targets: list[tuple[RuleKey, str, Target]]
    ) -> list[tuple[RuleKey, str, Target]]:
        """For hosted numbers that have no rules: the user they belong to, as the one target of rule 0."""
        without = sorted(accounts.keys() - {key.number for key, _, _ in targets})
        if not without:
            return []
        number, rule = t.UserNumber, t.Rule
        ruled = {row[0] for row in self._rows(rule.select(rule.number).where(rule.number.in_(without)))}
        owned = self._rows(number.select(number.account, number.number, number.user_name).where(number.number.in_(without)))
        return [
            (RuleKey(hosted, 0), account, Target(1, TargetKind.USER, user))
            for account, hosted, user in owned
            if hosted not in ruled and accounts[hosted] == account
        ]

    def _facts(self, asked: set[str]) -> dict[str, NumberFacts]:
        """Who hosts these numbers, and what was verified of them."""
        if not asked:
            return {}
        hosted = dict(self._rows(t.Number.select(t.Number.number, t.Number.account).where(t.Number.number.in_(asked))))
        row, facts = t.VerifiedNumber, {}
        for number in asked:
            covering = self._rows(
                row.select(row.account, row.first_number, row.last_number, row.state, row.expires_at)
                .where((row.first_number <= number) & (row.last_number >= number))
                .order_by(row.account, row.first_number)
            )
            facts[number] = NumberFacts(
                hosted.get(number),
                tuple(
                    Verification(
                        account, first, last, VerificationState(state), datetime.fromisoformat(expires) if expires else None
                    )
                    for account, first, last, state, expires in covering
                    if len(first) == len(number)
                ),
            )
        return facts

    # --- what targets ring -------------------------------------------------------------------------------

    def _with_phones(self, targets: list[tuple[RuleKey, str, Target]]) -> dict[RuleKey, list[Target]]:
        """The targets of each rule, with the endpoints that ring for them."""
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
            rings = phones.get(target.kind)
            result[key].append(replace(target, endpoints=rings[account, target.value]) if rings else target)
        return result

    def _phones(self, named: Iterable[_Named]) -> dict[_Named, tuple[Endpoint, ...]]:
        by_account = _by_account(named)
        found: dict[_Named, tuple[Endpoint, ...]] = {}
        for account, names in by_account.items():
            rows = self._rows(_endpoints().where((t.Endpoint.account == account) & t.Endpoint.name.in_(names)))
            found |= {(account, name): (Endpoint(name, domain, enabled),) for _, name, domain, enabled in rows}
        return found

    def _phones_of_users(self, named: Iterable[_Named]) -> dict[_Named, tuple[Endpoint, ...]]:
        found: dict[_Named, list[Endpoint]] = defaultdict(list)
        for account, names in _by_account(named).items():
            rows = self._rows(
                _endpoints()
                .where((t.Endpoint.account == account) & t.Endpoint.user_name.in_(names))
                .order_by(t.Endpoint.name)
            )
            for user, name, domain, enabled in rows:
                found[account, user].append(Endpoint(name, domain, enabled))
        return defaultdict(tuple, {key: tuple(endpoints) for key, endpoints in found.items()})

    def _phones_of_groups(self, named: Iterable[_Named]) -> dict[_Named, tuple[Endpoint, ...]]:
        found: dict[_Named, list[Endpoint]] = defaultdict(list)
        member = t.RingGroupMember
        for account, names in _by_account(named).items():
            rows = self._rows(
                member.select(member.ring_group, t.Endpoint.name, t.Account.domain, t.Endpoint.enabled)
                .join(
                    t.Endpoint,
                    on=(t.Endpoint.account == member.account) & (t.Endpoint.name == member.endpoint),
                )
                .join(t.Account, on=t.Account.name == t.Endpoint.account)
                .where((member.account == account) & member.ring_group.in_(names))
                .order_by(member.ring_group, member.position)
            )
            for group, name, domain, enabled in rows:
                found[account, group].append(Endpoint(name, domain, enabled))
        return defaultdict(tuple, {key: tuple(endpoints) for key, endpoints in found.items()})

    # --- accounts, times ---------------------------------------------------------------------------------

    def _accounts(self, names: Iterable[str]) -> dict[str, Account]:
        selected = list(names)
        account, route, permission = t.Account, t.TrunkRoute, t.CallPermission
        routes: dict[str, list[TrunkRoute]] = defaultdict(list)
        for *columns, name, prefix, position in self._rows(
            _trunks(route.account, route.prefix, route.position)
            .join(route, on=route.trunk == t.Trunk.name)
            .where(route.account.in_(selected))
            .order_by(route.prefix, route.position)
        ):
            routes[name].append(TrunkRoute(prefix, position, _trunk(*columns)))
        permissions: dict[str, list[Permission]] = defaultdict(list)
        for name, prefix, allowed in self._rows(
            permission.select(permission.account, permission.prefix, permission.allowed)
            .where(permission.account.in_(selected))
            .order_by(permission.prefix)
        ):
            permissions[name].append(Permission(prefix, allowed))
        network = dict(
            self._rows(
                t.Number.select(t.Number.account, t.Number.number).where(
                    t.Number.account.in_(selected) & t.Number.is_network_number
                )
            )
        )
        return {
            name: Account(
                name,
                country,
                timezone,
                domain,
                AccountStatus(status),
                network.get(name),
                tuple(routes[name]),
                Refusal(refusal),
                presented,
                mobile,
                abroad,
                tuple(permissions[name]),
            )
            for name, country, timezone, domain, status, refusal, presented, mobile, abroad in self._rows(
                account.select(
                    account.name,
                    account.country,
                    account.timezone,
                    account.domain,
                    account.status,
                    account.refused_caller_id,
                    account.presented_number,
                    account.presents_mobile,
                    account.presents_abroad,
                ).where(account.name.in_(selected))
            )
        }

    def _time_profiles(self, named: set[_Named], accounts: dict[str, Account]) -> dict[_Named, TimeProfile]:
        found: dict[_Named, TimeProfile] = {}
        profile, r = t.TimeProfile, t.TimeProfileRange
        for account, names in _by_account(named).items():
            ranges: dict[str, list[TimeRange]] = defaultdict(list)
            for name, *columns in self._rows(
                r.select(
                    r.time_profile,
                    r.first_weekday,
                    r.last_weekday,
                    r.start_time,
                    r.end_time,
                    r.first_date,
                    r.last_date,
                    r.holidays,
                )
                .where((r.account == account) & r.time_profile.in_(names))
                .order_by(r.time_profile, r.position)
            ):
                ranges[name].append(_time_range(*columns))
            for name, timezone, region in self._rows(
                profile.select(profile.name, profile.timezone, profile.holiday_region).where(
                    (profile.account == account) & profile.name.in_(names)
                )
            ):
                zone = timezone or accounts[account].timezone
                found[account, name] = TimeProfile(name, zone, region, tuple(ranges[name]))
        return found


def _trunks(*more: Any) -> Any:
    """The columns of `_trunk`, and more."""
    trunk, profile = t.Trunk, t.IdentityProfile
    return trunk.select(
        trunk.name,
        trunk.gateway,
        trunk.country,
        trunk.domain,
        trunk.number_format,
        trunk.is_foreign,
        trunk.enabled,
        profile.name,
        profile.from_number,
        profile.identity_header,
        profile.identity_number,
        profile.diversion,
        profile.history_info,
        *more,
    ).join(profile, on=trunk.identity_profile == profile.name)


def _trunk(*columns: Any) -> Trunk:
    name, gateway, country, domain, form, is_foreign, enabled, *profile = columns
    profile_name, from_number, header, header_number, diversion, history_info = profile
    return Trunk(
        name,
        gateway,
        country,
        domain,
        IdentityProfile(
            profile_name, Which(from_number), IdentityHeader(header), Which(header_number), diversion, history_info
        ),
        NumberFormat(form),
        is_foreign,
        enabled,
    )


def _endpoints() -> Any:
    endpoint = t.Endpoint
    return endpoint.select(endpoint.user_name, endpoint.name, t.Account.domain, endpoint.enabled).join(
        t.Account, on=t.Account.name == endpoint.account
    )


def _by_account(named: Iterable[_Named]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = defaultdict(list)
    for account, name in named:
        result[account].append(name)
    return result


def _target(row: tuple[Any, ...]) -> tuple[RuleKey, str, Target]:
    account, number, rule_position, position, start_s, ring_s, confirm, enabled, caller_id, *values = row
    kind, value = next((kind, value) for kind, value in zip(TargetKind, values, strict=True) if value is not None)
    target = Target(position, kind, value, (), start_s, ring_s, confirm, enabled, caller_id or callerid.OWN)
    return RuleKey(number, rule_position), account, target


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
