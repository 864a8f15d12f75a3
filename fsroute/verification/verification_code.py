"""Verification codes: new ones, and the slow, salted hash that is kept of them.

A code has a million possible values, so a reader of the database could reverse a fast hash at once. This hash takes one
core some 30 ms: a customer does not notice it, and trying all codes takes hours, while a code is valid for minutes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

DIGITS = 6

_COST, _BLOCK, _PARALLEL = 2**14, 8, 1
"""scrypt's n, r and p: 16 MB and some 30 ms."""

_SALT_BYTES = 16
_ID_BYTES = 12
_CODE = re.compile(rf"[0-9]{{{DIGITS}}}\Z")


def new_code() -> str:
    """Six digits that cannot be predicted."""
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"


def new_id() -> str:
    """The id of a verification: 24 letters and digits that cannot be guessed."""
    return secrets.token_hex(_ID_BYTES)


def is_code(text: str) -> bool:
    return _CODE.match(text) is not None


def hashed(code: str) -> str:
    """The salted hash of a code, which is stored until the code is confirmed."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"{salt.hex()}:{_hash(code, salt).hex()}"


def matches(code: str, kept: str) -> bool:
    """Whether `kept` was made from this code. Takes as long for a wrong code as for the right one."""
    salt, _, expected = kept.partition(":")
    return hmac.compare_digest(_hash(code, bytes.fromhex(salt)), bytes.fromhex(expected))


def _hash(code: str, salt: bytes) -> bytes:
    return hashlib.scrypt(code.encode(), salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL)
