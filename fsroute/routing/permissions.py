"""Where an account may call. Pure."""

from __future__ import annotations

from fsroute.model import (
    Account,
)
from fsroute.numbers import country
from fsroute.numbers.country import NumberClass


def may_call(number: str, account: Account) -> bool:
    """The account's own list decides by the longest prefix; without a word from it, what costs extra is barred."""
    listed = [permission for permission in account.permissions if number.startswith(permission.prefix)]
    if listed:
        return max(listed, key=lambda permission: len(permission.prefix)).allowed
    return country.classify(number, account.country) not in BARRED


BARRED = frozenset({NumberClass.PREMIUM, NumberClass.SATELLITE})
"""Where nobody may call who is not allowed to: the classes that toll fraud lives on."""
