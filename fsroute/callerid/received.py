"""Reads an incoming call by its trunk: which number was called, and which of the call's numbers phones show. Pure.

A row of `trunks` says how a carrier writes numbers and in which headers. It applies to outgoing and to incoming calls: if
the carrier sent a call of fsroute's back, fsroute would show the number that it had sent as presented number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from fsroute.model import (
    Call,
    CalledNumberIn,
    Direction,
    Identity,
    IdentityHeader,
    IdentityProfile,
    NumberFormat,
    NumberRole,
    Routing,
    Trunk,
)
from fsroute.numbers import phone_number


def destination(call: Call, trunk: Trunk | None) -> str:
    """The text of the called number: from To or from the Request-URI, as the trunk says."""
    in_to = trunk is not None and trunk.called_number_in is CalledNumberIn.TO
    return call.to_user or call.destination if in_to else call.destination


def destinations(call: Call, trunk: Trunk | None, country: str) -> tuple[str, ...]:
    """The E.164 numbers that the called number can mean, the likeliest first: first as the trunk writes numbers, then in any
    other form.

    A carrier sends only calls to hosted numbers. So if one of several numbers is hosted here, the caller meant that one.
    """
    text = destination(call, trunk)
    likeliest = phone_number.candidates(text, country, _form(trunk))
    others = phone_number.texts(text, country)
    return likeliest if others == likeliest else tuple(dict.fromkeys(likeliest + others))


def as_read(call: Call, routing: Routing) -> Call:
    """The call, with the caller that the trunk's identity profile selects, and with its certain numbers in E.164.

    If From has no number, the caller is the number of the identity header, and the other way round. A hidden number stays
    hidden. For an unknown trunk the default profile applies. FreeSWITCH also selects a caller. If no header has that number,
    it is added to the identities. Calls from users are not changed.
    """
    trunk = routing.trunk
    if call.direction is not Direction.INBOUND:
        return call
    if trunk is not None and (called := destination(call, trunk)) != call.destination:
        call = replace(call, destination=called)
    if not call.identities and call.from_user in ("", call.caller) and phone_number.is_e164(call.caller):
        return call
    texts = tuple(dict.fromkeys(_in_order(call, trunk.profile if trunk else IdentityProfile())))
    if len(texts) == 1 and phone_number.is_e164(texts[0]):
        return call  # the usual case
    form = _form(trunk)
    readings = {text: _readings(text, routing.country, form) for text in texts}
    certain = {text for text in texts if is_certain(text, readings[text], form)}
    shown = next((text for text in texts if text in certain), next((text for text in texts if readings[text]), texts[0]))
    read = {text: readings[text][0] if text in certain else text for text in texts}
    identities = [Identity(header, read[text]) for header, text in call.identities]
    if call.caller not in (call.from_user, *(text for _, text in call.identities)):
        identities.append(Identity(IdentityHeader.NONE, read[call.caller]))
    return replace(
        call,
        caller=read[shown],
        from_user=read.get(call.from_user, call.from_user),
        identities=tuple(identities),
    )


def _readings(text: str, country: str, form: NumberFormat) -> tuple[str, ...]:
    found = phone_number.candidates(text, country, form)
    if not found and form is NumberFormat.DIGITS and _WHOLE.fullmatch(text):
        return (f"+{text}",)  # phonenumbers calls it impossible, and can be wrong about a country's numbering plan
    return found


_WHOLE = re.compile("[1-9][0-9]{7,14}")
"""Digits that can be a whole E.164 number without its +. The shortest such number has eight digits with its calling code."""


def is_certain(text: str, readings: tuple[str, ...], form: NumberFormat = NumberFormat.E164) -> bool:
    """Whether the first of these readings is certain: the sender wrote it so, or phonenumbers calls it valid.

    Otherwise the digits need not be a number at all. Example: 1001 can be an extension of a phone system, and is then not
    +491001.
    """
    return bool(readings) and (text.startswith("+") or form is NumberFormat.DIGITS or phone_number.is_valid(readings[0]))


def _in_order(call: Call, profile: IdentityProfile) -> Iterator[str]:
    """The texts in the call that can name its caller, in this order: as the profile says, then all others, and last the
    caller that FreeSWITCH selected."""
    in_from = call.from_user or call.caller
    if profile.from_number is NumberRole.PRESENTED:
        yield in_from
    yield from (text for header, text in call.identities if header is profile.header)
    yield in_from
    yield from (text for _, text in call.identities)
    yield call.caller


def _form(trunk: Trunk | None) -> NumberFormat:
    return trunk.number_format if trunk is not None else NumberFormat.E164
