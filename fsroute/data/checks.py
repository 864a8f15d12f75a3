"""Checks of the tables that SQL constraints cannot express. They run in every load, before its commit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import and_
from typing import Any

from peewee import SQL, Case, Database, fn

from fsroute import times
from fsroute.callerid import policy
from fsroute.data import tables as t
from fsroute.data.database import rows
from fsroute.model import ShowVerified, forwarded_caller_id
from fsroute.numbers import phone_number, regulation, short_numbers
from fsroute.routing import timeprofile
from fsroute.routing.limits import (
    MAX_CALLERS,
    MAX_FORWARDS,
    MAX_LEGS,
    MAX_NUMBERS,
    MAX_PLAN_LEGS,
    MAX_RANGES,
    MAX_ROUTES,
    MAX_RULES,
    MAX_TARGETS,
)
from fsroute.target_kinds import TargetKind


def problems(database: Database) -> list[str]:
    """One line for each row that cannot work; empty if there is none."""
    return [problem for check in _CHECKS for problem in check(database)]


def _places(database: Database) -> Iterator[str]:
    account = t.Account
    columns = account.select(account.name, account.country, account.timezone, account.area_code)
    for name, code, timezone, area_code in rows(database, columns):
        if not phone_number.is_country(code):
            yield f"accounts: {name}: country {code} has no numbering plan"
        elif area_code is not None:
            yield from _not_an_area(name, area_code, code)
        if not timeprofile.is_timezone(timezone):
            yield f"accounts: {name}: {timezone} is no time zone such as Europe/Berlin"
    for name, code in rows(database, t.Trunk.select(t.Trunk.name, t.Trunk.country)):
        if not phone_number.is_country(code):
            yield f"trunks: {name}: country {code} has no numbering plan"
    profile = t.TimeProfile
    for account, name, timezone in rows(database, profile.select(profile.account, profile.name, profile.timezone)):
        if timezone is not None and not timeprofile.is_timezone(timezone):
            yield f"time_profiles: {account}, {name}: {timezone} is no time zone such as Europe/Berlin"


def _not_an_area(account: str, area_code: str, code: str) -> Iterator[str]:
    if phone_number.is_area_code(area_code, code):
        return
    prefix = phone_number.national_prefix(code)
    without = area_code.removeprefix(prefix)
    if prefix and phone_number.is_area_code(without, code):
        why = f"is meant without the national prefix: {without}"
    elif phone_number.has_area_codes(code):
        why = f"begins no number of a place in {code}"
    else:
        why = f"means nothing in {code}: numbers there are dialled whole"
    yield f"accounts: {account}: area_code {area_code} {why}"


def _extensions(database: Database) -> Iterator[str]:
    """Extensions and short codes that can never be dialled: a call to an emergency number or another one that must get
    through goes there, and an extension is found before a short code."""
    user, owned = t.User, t.UserNumber
    extensions = (
        user.select(user.account, user.name, user.extension, t.Account.country)
        .join(t.Account, on=t.Account.name == user.account)
        .where(user.extension.is_null(False))
    )
    for account, name, extension, code in rows(database, extensions):
        yield from _taken(f"users: {account}, {name}: extension {extension}", extension, code)
    short_codes = (
        owned.select(owned.account, owned.number, owned.short_code, t.Account.country, user.name)
        .join(t.Account, on=t.Account.name == owned.account)
        .left_outer_join(user, on=(user.account == owned.account) & (user.extension == owned.short_code))
        .where(owned.short_code.is_null(False))
    )
    for account, hosted, short_code, code, extension_of in rows(database, short_codes):
        yield from _taken(f"user_numbers: {account}, {hosted}: short code {short_code}", short_code, code)
        if extension_of is not None:
            yield f"user_numbers: {account}, {hosted}: short code {short_code} is the extension of {extension_of}"


def _taken(what: str, digits: str, code: str) -> Iterator[str]:
    short = short_numbers.find(digits, code)
    if short is not None:
        kind = f"an emergency number in {code}" if short.is_emergency else f"a number in {code} that must get through"
        yield f"{what} is {kind}: {short.cited}"


def _reached(database: Database) -> Iterator[str]:
    """Numbers at which no call arrives, and caller filters that no caller matches. Numbers that phonenumbers calls
    impossible are accepted: they can be dialled."""
    hosted = t.Number.select(t.Number.number, t.Account.country).join(t.Account, on=t.Account.name == t.Number.account)
    for text, code in rows(database, hosted):
        meant = phone_number.candidates(text, code)
        if meant and text not in meant:
            yield f"numbers: {text}: every call to it is one to {meant[0]}, which is probably meant"
    caller = t.RuleCaller
    for dialled, position, text in rows(database, caller.select(caller.number, caller.rule_position, caller.caller)):
        if policy.is_hidden(text):
            yield (
                f"rule_callers: {dialled}, {position}, {text}: means callers who hide their number; "
                "rules.anonymous = TRUE is for them"
            )


def _lines(database: Database) -> Iterator[str]:
    """Accounts with a route to a trunk, but without a network number to name to the carrier."""
    account, route, line = t.Account, t.TrunkRoute, t.Number
    network = line.select(line.number).where((line.account == account.name) & line.is_network_number)
    routed = route.select(route.account).where(route.account == account.name)
    without = account.select(account.name).where(fn.EXISTS(routed) & ~fn.EXISTS(network)).order_by(account.name)
    for (name,) in rows(database, without):
        own = line.select(line.number).where(line.account == name).order_by(line.number).limit(1)
        repair = f"INSERT INTO numbers (number, account, is_network_number) VALUES ('+...', '{name}', TRUE)"  # noqa: S608 - shown
        for (first,) in rows(database, own):
            repair = f"UPDATE numbers SET is_network_number = TRUE WHERE number = '{first}'"  # noqa: S608 - shown, not run
        yield (
            f"accounts: {name}: has trunk_routes, but no network number: fsroute has no number to name to the carrier; "
            f"for example: {repair}"
        )


def _shown(database: Database) -> Iterator[str]:
    """Numbers to present that can never be a caller ID under the country's rules. Verification is not checked here: it
    changes over time, and each call evaluates it."""
    account, hosted, target = t.Account, t.Number, t.RuleTarget
    lines = (
        hosted.select(hosted.number, account.country)
        .join(account, on=account.name == hosted.account)
        .where(hosted.is_network_number)
    )
    for text, code in rows(database, lines):
        yield from _never_shown(f"numbers: {text}: a network number", text, code)
    defaults = account.select(account.name, account.presented_number, account.country)
    for name, text, code in rows(database, defaults.where(account.presented_number.is_null(False))):
        yield from _never_shown(f"accounts: {name}: presented_number {text}", text, code)
    wanted = (
        target.select(target.number, target.rule_position, target.position, target.caller_id, account.country)
        .join(account, on=account.name == target.account)
        .where(target.caller_id.is_null(False))
    )
    for dialled, rule, position, text, code in rows(database, wanted):
        shown = forwarded_caller_id(text)
        if isinstance(shown, ShowVerified):
            what = f"rule_targets: {dialled}, {rule}, {position}: caller_id {text}"
            yield from _never_shown(what, shown.number, code)


def _transfers(database: Database) -> Iterator[str]:
    """failed_transfer with a number that the account does not host."""
    row, hosted = t.Account, t.Number
    elsewhere = (
        row.select(row.name, row.failed_transfer)
        .left_outer_join(hosted, on=(hosted.account == row.name) & (hosted.number == row.failed_transfer))
        .where(row.failed_transfer.startswith("+") & hosted.number.is_null())
    )
    for account, number_ in rows(database, elsewhere):
        yield f"accounts: {account}: failed_transfer {number_} is no number of the account"


def _never_shown(what: str, e164: str, code: str) -> Iterator[str]:
    rules = regulation.rules_for(code)
    never = rules.never_presented.get(regulation.classify(e164, code))
    if never is not None:
        yield f"{what} cannot be a caller ID ({never.id}: {never.text})"
    elif rules.own_country_only is not None and phone_number.is_country(code) and regulation.is_abroad(e164, code):
        yield f"{what} is no number of {code} ({rules.own_country_only.id}: {rules.own_country_only.text})"


def _verified(database: Database) -> Iterator[str]:
    """Times that are no valid time. Those of the audit log are not checked: its rows cannot be changed."""
    row, attempt = t.VerifiedNumber, t.VerificationAttempt
    times: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
        ("verified_numbers", row, (row.verified_at, row.expires_at, row.revoked_at)),
        ("verifications", attempt, (attempt.started_at, attempt.code_expires_at, attempt.delivered_at, attempt.settled_at)),
    )
    for name, table, columns in times:
        for column in columns:
            # Of a million rows many have the same time, and hardly one has a wrong one.
            found = rows(database, table.select(column).where(column.is_null(False)).distinct())
            for text in sorted(text for (text,) in found if not _is_utc(text)):
                where = table.select(table.account, table.first_number).where(column == text)
                for account, first in sorted(rows(database, where)):
                    yield f"{name}: {account}, {first}: {column.name} = {text} is no time such as 2026-11-23T08:30:00Z"


def _is_utc(text: str) -> bool:
    try:
        return times.to_text(times.from_text(text)) == text
    except ValueError:
        return False


def _holidays(database: Database) -> Iterator[str]:
    profile, r = t.TimeProfile, t.TimeProfileRange
    for account, name, region in rows(
        database,
        profile.select(profile.account, profile.name, profile.holiday_region).where(profile.holiday_region.is_null(False)),
    ):
        try:
            timeprofile.public_holidays(region, 2026)
        except LookupError as error:
            yield f"time_profiles: {account}, {name}: {error}"
    without_region = (
        r.select(r.account, r.time_profile, r.position, r.holidays)
        .join(profile, on=(profile.account == r.account) & (profile.name == r.time_profile))
        .where((r.holidays != "any") & profile.holiday_region.is_null())
    )
    for account, name, position, holidays in rows(database, without_region):
        yield (
            f"time_profile_ranges: {account}, {name}, {position}: holidays = {holidays}, but the profile has no "
            "holiday_region"
        )
    dates = r.select(r.account, r.time_profile, r.position, r.first_date, r.last_date).where(
        r.first_date.is_null(False) | r.last_date.is_null(False)
    )
    for account, name, position, *days in rows(database, dates):
        for day in days:
            if day is not None and not timeprofile.is_date(day):
                yield f"time_profile_ranges: {account}, {name}, {position}: {day} is no date"


def _base_rules(database: Database) -> Iterator[str]:
    rule, caller = t.Rule, t.RuleCaller
    filtered = (
        caller.select(caller.number, caller.rule_position, caller.caller)
        .join(rule, on=(rule.number == caller.number) & (rule.position == caller.rule_position))
        .where(rule.type == "base")
    )
    for hosted, position, text in rows(database, filtered):
        yield f"rule_callers: {hosted}, {position}, {text}: a base rule is for every caller"


def _targets(database: Database) -> Iterator[str]:
    target = t.RuleTarget
    late = (
        target.select(target.number, target.rule_position, target.position, target.start_s)
        .join(t.Rule, on=(t.Rule.number == target.number) & (t.Rule.position == target.rule_position))
        .where((t.Rule.mode == "sequential") & (target.start_s > 0))
    )
    for hosted, rule, position, start_s in rows(database, late):
        yield f"rule_targets: {hosted}, {rule}, {position}: start_s = {start_s}, but the rule is sequential"


def _stages(database: Database) -> Iterator[str]:
    """Rules that ring more legs together than FreeSWITCH can, or more in all than a plan has. Hosted numbers as targets
    are counted in each call."""
    target, member, phone = t.RuleTarget, t.RingGroupMember, t.Endpoint
    members = (
        member.select(member.account, member.ring_group, fn.COUNT(member.endpoint).alias("legs"))
        .group_by(member.account, member.ring_group)
        .alias("members")
    )
    phones = (
        phone.select(phone.account, phone.user_name, fn.COUNT(phone.name).alias("legs"))
        .where(phone.user_name.is_null(False))
        .group_by(phone.account, phone.user_name)
        .alias("phones")
    )
    # A group or a user without phones rings none; every other target is one leg.
    one = Case(None, [(target.ring_group.is_null() & target.user_name.is_null(), 1)], 0)
    legs: Any = fn.COALESCE(members.c.legs, phones.c.legs, one)
    ends = (getattr(target, kind.value) for kind in TargetKind if kind.is_end)
    ringing = reduce(and_, (column.is_null() for column in ends))
    sums = (
        target.select(target.number, target.rule_position, t.Rule.mode, fn.SUM(legs), fn.MAX(legs))
        .join(t.Rule, on=(t.Rule.number == target.number) & (t.Rule.position == target.rule_position))
        .left_outer_join(members, on=(members.c.account == target.account) & (members.c.ring_group == target.ring_group))
        .left_outer_join(phones, on=(phones.c.account == target.account) & (phones.c.user_name == target.user_name))
        .where(target.enabled & ringing)
        .group_by(target.number, target.rule_position, t.Rule.mode)
        .having(fn.SUM(legs) > MAX_LEGS)
    )
    for hosted, rule, mode, together, largest in rows(database, sums):
        count = together if mode == "parallel" else largest
        if count > MAX_LEGS:
            yield f"rules: {hosted}, {rule}: rings {count} legs together, FreeSWITCH rings at most {MAX_LEGS}"
        elif together > MAX_PLAN_LEGS:
            yield f"rules: {hosted}, {rule}: rings {together} legs one after another, at most {MAX_PLAN_LEGS} are allowed"


def _sizes(database: Database) -> Iterator[str]:
    """Numbers, rules, accounts and time profiles with more rows than one call may cost."""
    target, caller, part = t.RuleTarget, t.RuleCaller, t.TimeProfileRange
    route, permission = t.TrunkRoute, t.CallPermission
    counted: tuple[tuple[Any, tuple[Any, ...], int, str, str], ...] = (
        (t.Rule, (t.Rule.number,), MAX_RULES, "rules", "rules"),
        (target, (target.number,), MAX_TARGETS, "rule_targets", "targets of all its rules"),
        (caller, (caller.number,), MAX_CALLERS, "rule_callers", "caller filters of all its rules"),
        (part, (part.account, part.time_profile), MAX_RANGES, "time_profile_ranges", "ranges"),
        (route, (route.account,), MAX_ROUTES, "trunk_routes", "routes"),
        (permission, (permission.account,), MAX_ROUTES, "call_permissions", "permissions"),
    )
    for table, key, most, name, what in counted:
        count: Any = fn.COUNT(SQL("*"))
        found = table.select(*key, count).group_by(*key).having(count > most).order_by(*key)
        for *values, number_of in rows(database, found):
            yield f"{name}: {', '.join(values)}: {number_of} {what}, at most {most} are allowed"


def _forwards(database: Database) -> Iterator[str]:
    """Numbers from which a call can be forwarded to too many others, or too often."""
    target, hosted = t.RuleTarget, t.Number
    to = fn.COALESCE(*(getattr(target, kind.value) for kind in TargetKind if kind.is_number))
    led = target.select(target.number, to).join(hosted, on=hosted.number == to).distinct()
    leads: dict[str, set[str]] = {}
    for number, reached in rows(database, led):
        leads.setdefault(number, set()).add(reached)
    for number in sorted(leads):
        found, wanted, steps = {number}, leads[number] - {number}, 0
        while wanted and len(found) <= MAX_NUMBERS and steps <= MAX_FORWARDS:
            found |= wanted
            wanted = {further for each in wanted for further in leads.get(each, ())} - found
            steps += 1
        if len(found) > MAX_NUMBERS:
            yield f"rule_targets: {number}: its rules lead to more than {MAX_NUMBERS} hosted numbers, itself among them"
        elif steps > MAX_FORWARDS:
            yield f"rule_targets: {number}: its rules forward a call more than {MAX_FORWARDS} times, one after another"


_CHECKS = (
    _sizes,
    _forwards,
    _places,
    _extensions,
    _reached,
    _lines,
    _transfers,
    _shown,
    _verified,
    _holidays,
    _base_rules,
    _targets,
    _stages,
)
"""All checks, in the order of their lines."""
