"""The queries for the routing of a call, each compiled once. `data/routing_store.py` turns their rows into values.

Each query finds its rows by a key or an index: the time of a call does not depend on the size of the tables. Where a number
or an account may have many rows, a query returns at most one row more than fsroute uses (limits.MAX_ROWS).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peewee import fn

from fsroute.data import tables as t
from fsroute.data.database import Prepared
from fsroute.routing.limits import MAX_ROWS
from fsroute.target_kinds import TargetKind

_TARGET_COLUMNS = tuple(getattr(t.RuleTarget, kind.value) for kind in TargetKind)


def _trunk_columns(*more: Any) -> Any:
    trunk, profile = t.Trunk, t.IdentityProfile
    return trunk.select(
        trunk.name,
        trunk.gateway,
        trunk.country,
        trunk.domain,
        trunk.number_format,
        trunk.is_foreign,
        trunk.enabled,
        trunk.called_number_in,
        profile.name,
        profile.from_number,
        profile.identity_header,
        profile.identity_number,
        profile.diversion,
        profile.history_info,
        *more,
    ).join(profile, on=trunk.identity_profile == profile.name)


_ENDPOINT_COLUMNS = (t.Endpoint.user_name, t.User.extension, t.Endpoint.name, t.Account.domain, t.Endpoint.enabled)
_IS_ITS_USER = (t.User.account == t.Endpoint.account) & (t.User.name == t.Endpoint.user_name)


def _endpoint_columns(*before: Any) -> Any:
    endpoint = t.Endpoint
    return (
        endpoint.select(*before, *_ENDPOINT_COLUMNS)
        .join(t.Account, on=t.Account.name == endpoint.account)
        .left_outer_join(t.User, on=_IS_ITS_USER)
    )


@Prepared
def trunk(name: str) -> Any:
    """The columns of a trunk and its identity profile."""
    return _trunk_columns().where(t.Trunk.name == name)


# --- accounts ---------------------------------------------------------------------------------------------


@Prepared
def accounts(names: Sequence[str]) -> Any:
    row = t.Account
    return row.select(
        row.name,
        row.country,
        row.timezone,
        row.domain,
        row.status,
        row.refused_caller_id,
        row.presented_number,
        row.presents_mobile,
        row.presents_abroad,
        row.transferred_caller_id,
        row.failed_transfer,
        row.area_code,
    ).where(row.name.in_(names))


@Prepared
def trunk_routes(accounts: Sequence[str]) -> Any:
    """The columns of `trunk`, then account, prefix and position of the route."""
    route = t.TrunkRoute
    return (
        _trunk_columns(route.account, route.prefix, route.position)
        .join(route, on=route.trunk == t.Trunk.name)
        .where(route.account.in_(accounts))
        .order_by(route.prefix, route.position)
    )


@Prepared
def call_permissions(accounts: Sequence[str]) -> Any:
    row = t.CallPermission
    return row.select(row.account, row.prefix, row.allowed).where(row.account.in_(accounts)).order_by(row.prefix)


@Prepared
def network_numbers(accounts: Sequence[str]) -> Any:
    row = t.Number
    return row.select(row.account, row.number).where(row.account.in_(accounts) & row.is_network_number)


# --- who calls, and extensions ----------------------------------------------------------------------------


@Prepared
def short_code(account: str, dialled: str) -> Any:
    """The number and the user of a short code."""
    row = t.UserNumber
    return row.select(row.number, row.user_name).where((row.account == account) & (row.short_code == dialled))


@Prepared
def users(account: str, names: Sequence[str], extension: str) -> Any:
    """Name, extension and primary number of the users with these names, or with this extension."""
    user, number = t.User, t.UserNumber
    return (
        user.select(user.name, user.extension, number.number)
        .left_outer_join(
            number,
            on=(number.account == user.account) & (number.user_name == user.name) & (number.kind == "primary"),
        )
        .where((user.account == account) & (user.name.in_(names) | (user.extension == extension)))
    )


# --- numbers and their rules ------------------------------------------------------------------------------


@Prepared
def hosted_numbers(numbers: Sequence[str]) -> Any:
    row = t.Number
    return row.select(row.number, row.account, row.enabled).where(row.number.in_(numbers))


@Prepared
def rules(numbers: Sequence[str]) -> Any:
    row = t.Rule
    return (
        row.select(
            row.account,
            row.number,
            row.position,
            row.type,
            row.mode,
            row.ring_s,
            row.anonymous,
            row.time_profile,
            row.enabled,
        )
        .where(row.number.in_(numbers))
        .order_by(row.number, row.position)
        .limit(MAX_ROWS + 1)
    )


@Prepared
def rule_callers(numbers: Sequence[str]) -> Any:
    row = t.RuleCaller
    found = row.select(row.number, row.rule_position, row.caller).where(row.number.in_(numbers))
    return found.order_by(row.number, row.rule_position, row.caller).limit(MAX_ROWS + 1)


@Prepared
def rule_targets(numbers: Sequence[str]) -> Any:
    """The columns of each target, then one column for each TargetKind, of which exactly one is not NULL."""
    row = t.RuleTarget
    return (
        row.select(
            row.account,
            row.number,
            row.rule_position,
            row.position,
            row.start_s,
            row.ring_s,
            row.confirm,
            row.enabled,
            row.caller_id,
            *_TARGET_COLUMNS,
        )
        .where(row.number.in_(numbers))
        .order_by(row.number, row.rule_position, row.position)
        .limit(MAX_ROWS + 1)
    )


@Prepared
def owners(numbers: Sequence[str]) -> Any:
    """The users of numbers that have no rules."""
    row, rule = t.UserNumber, t.Rule
    ruled = rule.select(rule.number).where(rule.number == row.number)
    return (
        row.select(row.account, row.number, row.user_name)
        .join(t.Number, on=(t.Number.account == row.account) & (t.Number.number == row.number))
        .where(row.number.in_(numbers) & ~fn.EXISTS(ruled))
    )


@Prepared
def time_profiles(account: str, names: Sequence[str]) -> Any:
    row = t.TimeProfile
    return row.select(row.name, row.timezone, row.holiday_region).where((row.account == account) & row.name.in_(names))


@Prepared
def time_profile_ranges(account: str, names: Sequence[str]) -> Any:
    row = t.TimeProfileRange
    return (
        row.select(
            row.time_profile,
            row.first_weekday,
            row.last_weekday,
            row.start_time,
            row.end_time,
            row.first_date,
            row.last_date,
            row.holidays,
        )
        .where((row.account == account) & row.time_profile.in_(names))
        .order_by(row.time_profile, row.position)
        .limit(MAX_ROWS + 1)
    )


# --- what targets ring ------------------------------------------------------------------------------------


@Prepared
def endpoints(account: str, names: Sequence[str]) -> Any:
    """User, the user's extension, then the endpoint's name, domain and whether it is enabled."""
    return _endpoint_columns().where((t.Endpoint.account == account) & t.Endpoint.name.in_(names))


@Prepared
def endpoints_of_users(account: str, users: Sequence[str]) -> Any:
    """User, then the columns of `endpoints`."""
    return (
        _endpoint_columns(t.Endpoint.user_name)
        .where((t.Endpoint.account == account) & t.Endpoint.user_name.in_(users))
        .order_by(t.Endpoint.name)
        .limit(MAX_ROWS + 1)
    )


@Prepared
def endpoints_of_groups(account: str, groups: Sequence[str]) -> Any:
    """Group, then the columns of `endpoints`, in the order of the group."""
    member, endpoint = t.RingGroupMember, t.Endpoint
    return (
        member.select(member.ring_group, *_ENDPOINT_COLUMNS)
        .join(endpoint, on=(endpoint.account == member.account) & (endpoint.name == member.endpoint))
        .join(t.Account, on=t.Account.name == endpoint.account)
        .left_outer_join(t.User, on=_IS_ITS_USER)
        .where((member.account == account) & member.ring_group.in_(groups))
        .order_by(member.ring_group, member.position)
        .limit(MAX_ROWS + 1)
    )


# --- what may be shown ------------------------------------------------------------------------------------


@Prepared
def verified_numbers(number: str) -> Any:
    """The rows of verified_numbers for this number alone."""
    row = t.VerifiedNumber
    return _verified_columns().where((row.first_number == number) & (row.last_number == number))


@Prepared
def verified_blocks(number: str, earliest: str) -> Any:
    """The columns of `verified_numbers`, for blocks that cover the number and begin at `earliest` or later. Blocks whose
    numbers have another length may be among them."""
    row = t.VerifiedNumber
    begins_here = (row.first_number <= number) & (row.first_number >= earliest)
    return _verified_columns().where((row.first_number != row.last_number) & begins_here & (row.last_number >= number))


def _verified_columns() -> Any:
    row = t.VerifiedNumber
    return row.select(row.account, row.first_number, row.last_number, row.state, row.expires_at)
