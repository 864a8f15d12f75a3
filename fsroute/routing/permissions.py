"""Decides which numbers an account may call. Pure."""

from __future__ import annotations

import phonenumbers

from fsroute.model import Account, Permission
from fsroute.numbers import phone_number, regulation
from fsroute.numbers.law import NumberClass


def may_call(number: str, account: Account) -> bool:
    """Whether an account may call a number. The longest prefix in the account's list decides. A number that is not listed is
    allowed unless its class is BARRED."""
    listed = _listed(number, account)
    return listed.allowed if listed else regulation.classify(number, account.country) not in BARRED


def is_permitted(number: str, account: Account) -> bool:
    """Whether the account's list allows a range of this number, and not merely its whole country."""
    listed = _listed(number, account)
    if listed is None or not listed.allowed:
        return False
    found = phone_number.parsed(number)
    code = found.country_code if found else None
    if code is None or phonenumbers.region_code_for_country_code(code) == NO_COUNTRY:
        return True  # the calling code is the range
    return len(listed.prefix) >= len(f"+{code}") + _RANGE_DIGITS


def _listed(number: str, account: Account) -> Permission | None:
    """The row of the account's list with the longest prefix of this number."""
    listed = [permission for permission in account.permissions if number.startswith(permission.prefix)]
    return max(listed, key=lambda permission: len(permission.prefix), default=None)


NO_COUNTRY = "001"
"""phonenumbers' region of a calling code that belongs to no country, such as +881."""

_RANGE_DIGITS = 2
"""Digits after the calling code from which on a prefix names a range: +4918 does; +49 and +491 do not, which
are a whole country and all its mobile numbers too."""

BARRED = frozenset({NumberClass.PREMIUM, NumberClass.SATELLITE})
"""Classes that an account may call only if its list allows it, because toll fraud uses them."""
