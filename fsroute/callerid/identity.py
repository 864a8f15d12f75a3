"""Makes the headers that name the caller to a carrier: From, the identity header, Privacy, Diversion, History-Info. Pure.

If each header were set on its own, they could contradict each other: From hides the number, and the identity header shows
it. So this module makes all of them from the leg's two numbers and the trunk's profile. `headers` gives the headers of the
INVITE, for `fsroute explain` and the tests. `variables` gives the variables with which FreeSWITCH writes exactly these
headers (sofia_glue.c, sofia_glue_do_invite):

  sip_invite_from_uri           From; takes precedence over the gateway's caller-id-in-from
  sip_invite_domain             the domain of the identity header
  origination_caller_id_number  the number of the identity header
  origination_caller_id_name    its display name; without `_undef_` it would be the incoming caller's, hidden or not
  sip_cid_type                  the kind of the identity header; without it FreeSWITCH writes Remote-Party-ID
  origination_privacy           `screen` makes it P-Asserted-Identity instead of P-Preferred-Identity; `hide_number` adds
                                Privacy: id
"""

from __future__ import annotations

from dataclasses import dataclass

from fsroute.model import CallerId, Diversion, IdentityHeader, NumberRole, Trunk
from fsroute.numbers import phone_number

ANONYMOUS_URI = "sip:anonymous@anonymous.invalid"
"""The From of an anonymous caller (RFC 3323, 4.1.1.3)."""

_HEADER_NAMES = {
    IdentityHeader.PAI: "P-Asserted-Identity",
    IdentityHeader.PPI: "P-Preferred-Identity",
    IdentityHeader.RPID: "Remote-Party-ID",
}


UNKNOWN_LINE = (
    f"sip_invite_from_uri={ANONYMOUS_URI}",
    "sip_cid_type=none",
    "origination_caller_id_number=anonymous",
    "origination_caller_id_name=_undef_",
)
"""The variables for an emergency call of an account that has no network number. Every other call that leaves has one.
fsroute does not use the From that the phone wrote: it proves nothing and could send help to the wrong place. The carrier
identifies the line by the trunk."""


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers of an INVITE that name its caller. None: the INVITE does not have this header."""

    from_uri: str
    from_name: str | None
    identity_header: str | None
    identity_uri: str | None
    privacy: str | None
    diversion: str | None
    history_info: str | None


def headers(caller_id: CallerId, trunk: Trunk, diversion: Diversion | None, to: str) -> Headers:
    """The headers of a leg to `to` through this trunk. `caller_id` must have a network number."""
    hidden = caller_id.presented is None
    numbers = {
        NumberRole.PRESENTED: caller_id.presented or caller_id.network or "",
        NumberRole.NETWORK: caller_id.network or "",
    }
    profile = trunk.profile
    in_from, in_header = numbers[profile.from_number], numbers[profile.header_number]
    if hidden:
        in_header = numbers[NumberRole.NETWORK]
    named = _HEADER_NAMES.get(profile.header)
    return Headers(
        from_uri=ANONYMOUS_URI if hidden else uri(in_from, trunk),
        from_name="Anonymous" if hidden else None,
        identity_header=named,
        identity_uri=uri(in_header, trunk) if named else None,
        privacy=_privacy(profile.header, hidden=hidden),
        diversion=_diversion(diversion, trunk) if diversion and profile.diversion else None,
        history_info=_history(diversion, trunk, to) if diversion and profile.history_info else None,
    )


def uri(e164: str, trunk: Trunk) -> str:
    """The SIP address with a number, written in the trunk's number format."""
    return f"sip:{phone_number.written(e164, trunk.number_format, trunk.country)}@{trunk.domain}"


def _privacy(header: IdentityHeader, *, hidden: bool) -> str | None:
    if header is IdentityHeader.RPID:
        return None  # Remote-Party-ID has a parameter of its own for privacy
    if hidden:
        return "id"
    return None if header is IdentityHeader.NONE else "none"


def _diversion(diversion: Diversion, trunk: Trunk) -> str:
    return f"<{uri(diversion.number, trunk)}>;reason={diversion.reason};counter={diversion.counter}"


def _history(diversion: Diversion, trunk: Trunk, to: str) -> str:
    """The number that was called first, and the number to which fsroute forwards the call (RFC 7044)."""
    return f"<{uri(diversion.number, trunk)}>;index=1,<{uri(to, trunk)};cause={_CAUSES[diversion.reason]}>;index=1.1"


_CAUSES = {"unconditional": 302, "user-busy": 486, "no-answer": 408, "deflection": 480, "unavailable": 503}
"""The code of RFC 4458 for each reason of a Diversion header."""


def variables(headers: Headers) -> list[str]:
    """The leg variables with which FreeSWITCH writes these headers. The dial string's writer must still check the values."""
    hidden = headers.privacy == "id" or headers.from_uri == ANONYMOUS_URI
    result = [f"sip_invite_from_uri={headers.from_uri}"]
    if hidden:
        result.append("sip_from_display=Anonymous")
    if headers.identity_uri is None:
        result += ["sip_cid_type=none", f"origination_caller_id_number={_user(headers.from_uri)}"]
        if hidden:
            result.append("sip_h_Privacy=id")
    else:
        kind = "rpid" if headers.identity_header == _HEADER_NAMES[IdentityHeader.RPID] else "pid"
        result += [
            f"sip_cid_type={kind}",
            f"origination_caller_id_number={_user(headers.identity_uri)}",
            f"sip_invite_domain={headers.identity_uri.partition('@')[2]}",
        ]
    asserted = headers.identity_header != _HEADER_NAMES[IdentityHeader.PPI]
    flags = [flag for flag, is_set in (("screen", asserted), ("hide_number", hidden), ("hide_name", hidden)) if is_set]
    result += ["origination_caller_id_name=_undef_", f"origination_privacy={':'.join(flags) or 'no'}"]
    if headers.diversion is not None:
        result.append(f"sip_h_Diversion={headers.diversion}")
    if headers.history_info is not None:
        result.append(f"sip_h_History-Info={headers.history_info}")
    return result


def _user(sip_uri: str) -> str:
    return sip_uri.removeprefix("sip:").partition("@")[0]
