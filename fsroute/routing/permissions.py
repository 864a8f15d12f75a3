"""Which numbers an account may call. Pure."""

from __future__ import annotations

from fsroute.model import Account
from fsroute.numbers import regulation
from fsroute.numbers.law import NumberClass


def may_call(number: str, account: Account) -> bool:
    """Whether an account may call a number. The longest prefix in the account's list decides. A number that is not listed is
    allowed unless its class is BARRED."""
    listed = [permission for permission in account.permissions if number.startswith(permission.prefix)]
    if listed:
        return max(listed, key=lambda permission: len(permission.prefix)).allowed
    return regulation.classify(number, account.country) not in BARRED


BARRED = frozenset({NumberClass.PREMIUM, NumberClass.SATELLITE})
"""Classes that an account may call only by its list: toll fraud uses them."""
