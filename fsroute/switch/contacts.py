"""The phones that are registered for an endpoint, and which of them fsroute may dial. Pure.

A phone chooses the text of its Contact, and FreeSWITCH returns it unchanged. With `sofia_contact` in a dial string, anybody
who knows one phone's password could add legs to any call (`;x=a,sofia/gateway/...`) and run commands on the switch
(`;x=a,[execute_on_ring=system ...]...`). And `user/1001` rings one phone only, as soon as another leg rings too.

So fsroute queries the contacts before it dials. FreeSWITCH puts them into a channel variable, the next snapshot contains
them, and fsroute dials only those that have the form of a plain SIP address, in a text of its own.

Facts (mod_sofia.c and sofia_reg.c of FreeSWITCH 1.11):

  * `sofia_contact profile/user@domain` returns `sofia/PROFILE/sip:...,sofia/PROFILE/sip:...` or `error/...`. With `*` for
    the profile it drops contacts that begin like another contact.
  * `set` expands its value once, and does not expand the result of an API command. app_disable_expand_variables switches off
    the earlier expansion of every application's argument: with both expansions, FreeSWITCH would run `${...}` in a Contact.
  * Behind NAT or a proxy, FreeSWITCH itself appends `;fs_path=` with an encoded address, as the last parameter. The Event
    Socket does not encode it again, so it arrives decoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from urllib.parse import quote

from fsroute.codes import ReasonCode
from fsroute.model import ContactDial, Decision, EndpointDial, Leg, Plan, Reason, Registered, ResolvedPlan, Stage
from fsroute.routing.limits import MAX_LEGS, from_zero
from fsroute.routing.planner import rounds
from fsroute.switch import dialstring

VARIABLE = "fsroute_contacts"

FILTERS = ("sip_exclude_contact", "sip_match_user_agent")
"""Channel variables with which a dialplan excludes phones: then FreeSWITCH's reply is valid for this call only."""

_ADDRESS = re.compile(
    r"sips?:(?:(?P<user>[A-Za-z0-9_.!~*+&-]{1,64})@)?"
    r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
    r"(?:;[A-Za-z0-9_.+-]{1,64}(?:=[A-Za-z0-9_.!~*+-]{1,128})?){0,16}"
    r"\Z"
)
"""A SIP address as phones register it (RFC 3261, 25.1, without escapes, headers and passwords)."""

_REMEMBERED = 4096
"""Replies of FreeSWITCH whose result is kept: the reply for a phone is the same until the phone registers again."""

_LONGEST_REMEMBERED = 4096
"""Characters of such a reply: a dozen phones. A phone chooses the length of its Contact, and the memory is for all."""

_PATH = ";fs_path="
_PATH_TEXT = re.compile(r"[A-Za-z0-9_.!~*+&:@;=<>,\[\]-]{1,512}\Z")

_TELEPHONE_NUMBER = re.compile(r"[.-]*\+?(?:[.-]*[0-9]){6}[0-9.-]*\Z")
"""A registered user part of this form makes an INVITE to a telephone number: six digits or more, which may have separators
between them (RFC 3966, 5.1.1). A Contact can contain a carrier's address: the carrier would connect the call and charge the
operator."""


def endpoints(plan: Plan) -> tuple[EndpointDial, ...]:
    """The endpoints of a plan, each once."""
    found = plan.memo.endpoints
    if found is None:
        found = plan.memo.endpoints = _endpoints(plan)
    return found


def _endpoints(plan: Plan) -> tuple[EndpointDial, ...]:
    dials = (leg.dial for stage in plan.stages for leg in stage)
    return tuple(dict.fromkeys(dial for dial in dials if isinstance(dial, EndpointDial)))


def query(queried: Sequence[EndpointDial], profiles: Sequence[str], mark: str) -> str:
    """The value that FreeSWITCH expands to the contacts of these endpoints in these SIP profiles.

    `mark` precedes each reply. It must be new and unguessable, so that no Contact can contain it and pass as the reply for
    another endpoint.
    """
    return "".join(
        f"{mark}${{sofia_contact({profile}/{endpoint.user}@{endpoint.domain})}}"
        for endpoint in queried
        for profile in profiles
    )


def read(text: str, queried: Sequence[EndpointDial], profiles: Sequence[str], mark: str) -> dict[EndpointDial, Registered]:
    """Reads the reply to `query`. Endpoints that are missing in it have no phones."""
    answers = text.split(mark)[1:]
    found: dict[EndpointDial, Registered] = {}
    slots = [(endpoint, profile) for endpoint in queried for profile in profiles]
    for (endpoint, profile), answer in zip(slots, answers, strict=False):
        reader = _contacts if len(answer) <= _LONGEST_REMEMBERED else _contacts.__wrapped__
        new, before = reader(answer, endpoint, profile), found.get(endpoint)
        found[endpoint] = (
            Registered(before.contacts + new.contacts, before.refused + new.refused) if before is not None else new
        )
    return found


@lru_cache(maxsize=_REMEMBERED)
def _contacts(answer: str, endpoint: EndpointDial, profile: str) -> Registered:
    prefix = f"sofia/{profile}/"
    if not answer.startswith(prefix):
        return Registered()  # error/user_not_registered, or a profile that does not exist
    addresses = re.split(f",{re.escape(prefix)}(?=sips?:)", answer.removeprefix(prefix))
    dialled = [_address(address, endpoint) for address in addresses]
    contacts = tuple(dict.fromkeys(ContactDial(profile, address) for address in dialled if address))
    return Registered(contacts, sum(address is None for address in dialled))


def _address(text: str, endpoint: EndpointDial) -> str | None:
    """The address as fsroute dials it, or None if fsroute refuses it."""
    text, path_name, path = text.partition(_PATH)
    found = _ADDRESS.match(text)
    if found is None or (path_name and not _PATH_TEXT.match(path)):
        return None
    user = found["user"] or ""
    if user != endpoint.user and _TELEPHONE_NUMBER.match(user):
        return None
    address = text + (path_name + quote(path, safe="") if path_name else "")
    # An address that fits into no dial string would end the call for the other phones too.
    return address if dialstring.is_contact(address) else None


def resolve(decision: Decision, registered: Mapping[EndpointDial, Registered]) -> Decision:
    """The decision with a leg for each registered phone in place of its endpoint. A stage without any leg is left out."""
    plan, phones = decision.plan, [registered.get(endpoint) for endpoint in endpoints(decision.plan)]
    last = plan.memo.resolved
    if last is None or last.phones != phones:
        last = plan.memo.resolved = _resolve(plan, registered, phones)
    return decision.with_plan(last.plan, last.reasons, last.rounds)


def _resolve(plan: Plan, registered: Mapping[EndpointDial, Registered], phones: list[Registered | None]) -> ResolvedPlan:
    reasons: list[Reason] = []
    stages = [
        _stage([phone for leg in stage for phone in _phones(leg, registered, reasons)], reasons) for stage in plan.stages
    ]
    resolved = Plan(tuple(stage for stage in stages if stage), plan.final)
    # If the first round has no leg left, the second one has: of two rounds one has a leg through a trunk.
    before = rounds(plan)
    gone = len(before) > 1 and not any(stages[: len(before[0])])
    return ResolvedPlan(phones, resolved, tuple(dict.fromkeys(reasons)), int(gone))


def _phones(leg: Leg, registered: Mapping[EndpointDial, Registered], reasons: list[Reason]) -> list[Leg]:
    if not isinstance(leg.dial, EndpointDial):
        return [leg]
    phones = registered.get(leg.dial, Registered())
    if phones.refused:
        reasons.append(
            Reason(ReasonCode.CONTACT_REFUSED, leg.target, f"{phones.refused} contacts are no plain SIP addresses")
        )
    if not phones.contacts:
        reasons.append(Reason(ReasonCode.NOT_REGISTERED, leg.target, "left out: no phone is registered"))
    return [replace(leg, dial=contact) for contact in phones.contacts]


def _stage(legs: list[Leg], reasons: list[Reason]) -> Stage:
    reasons += [
        Reason(ReasonCode.LEG_LIMIT, leg.target, f"left out: more than {MAX_LEGS} legs together") for leg in legs[MAX_LEGS:]
    ]
    return from_zero(legs[:MAX_LEGS])
