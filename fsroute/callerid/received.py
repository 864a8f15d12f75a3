"""An incoming call as its trunk writes it: which number was called, and which of the numbers in it is the caller's. Pure.

A row of `trunks` says how a carrier writes numbers and where it puts them, for calls that leave and for calls that arrive:
what fsroute sends it would also show.
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
    """The text that names the number which was called."""
    in_to = trunk is not None and trunk.called_number_in is CalledNumberIn.TO
    return call.to_user or call.destination if in_to else call.destination


def destinations(call: Call, trunk: Trunk | None, country: str) -> tuple[str, ...]:
    """The E.164 numbers that were perhaps called, the likeliest first: as the trunk writes them, then as anybody does.

    A carrier delivers what is hosted here: of several numbers that is the one which was meant.
    """
    text = destination(call, trunk)
    likeliest = phone_number.candidates(text, country, _form(trunk))
    others = phone_number.texts(text, country)
    return likeliest if others == likeliest else tuple(dict.fromkeys(likeliest + others))


def as_read(call: Call, routing: Routing) -> Call:
    """The call with the number as caller that the trunk's identity profile shows, and its numbers as E.164 where certain.

    A From that is no number gives way to the identity behind it, and the other way round. A caller who hides their number
    stays hidden. A trunk that is unknown shows what the default profile does. Whom FreeSWITCH took for the caller is one of
    the identities then, if no header says so. Calls from users stay as they are.
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
        return call  # as nearly every one
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
        return (f"+{text}",)  # phonenumbers takes it for none, and may be wrong about a country's plan
    return found


_WHOLE = re.compile("[1-9][0-9]{7,14}")
"""What can be a whole number without its +: the shortest have eight digits, with their calling code."""


def is_certain(text: str, readings: tuple[str, ...], form: NumberFormat = NumberFormat.E164) -> bool:
    """Whether the first of these readings is what was meant: it was written so, or phonenumbers knows such a number.

    Else it is only what these digits would be if they were a number: the extension 1001 of a phone system is not +491001.
    """
    return bool(readings) and (text.startswith("+") or form is NumberFormat.DIGITS or phone_number.is_valid(readings[0]))


def _in_order(call: Call, profile: IdentityProfile) -> Iterator[str]:
    """What the call says of its caller, that which the profile shows first. What FreeSWITCH chose comes last."""
    in_from = call.from_user or call.caller
    if profile.from_number is NumberRole.PRESENTED:
        yield in_from
    yield from (text for header, text in call.identities if header is profile.header)
    yield in_from
    yield from (text for _, text in call.identities)
    yield call.caller


def _form(trunk: Trunk | None) -> NumberFormat:
    return trunk.number_format if trunk is not None else NumberFormat.E164
