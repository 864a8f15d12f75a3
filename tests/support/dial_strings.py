"""What FreeSWITCH reads in a dial string. The strings themselves are in tests/unit/switch/test_dialstring.py."""

from __future__ import annotations

from fsroute.simulator.dialstring_reader import Parsed, ParsedLeg


def leg(endpoint: str, *, error: bool = False, **variables: str) -> ParsedLeg:
    return ParsedLeg(variables, endpoint, error=error)


def parsed(*groups: list[ParsedLeg], **variables: str) -> Parsed:
    """Groups that ring one after another, each with the legs that ring together, and the variables for all legs."""
    return Parsed(variables, tuple(tuple(group) for group in groups))


def bridge(*groups: list[ParsedLeg], limit_s: int, **variables: str) -> Parsed:
    """A whole bridge string of fsroute; FreeSWITCH ends each group after `limit_s`."""
    limits = {
        "ignore_early_media": "true",
        "originate_continue_on_timeout": "true",
        "originate_timeout": str(limit_s),
    }
    return parsed(*groups, **limits, **variables)


_DEMO_USERS = {
    "1001": ("reception", "11"),
    "1002": ("reception", "11"),
    "1003": ("workshop", "12"),
    "1004": ("office", "13"),
}


def demo_phone(name: str, ring_s: int) -> ParsedLeg:
    """The leg to a phone of scripts/demo.sql, before its registered contacts are known."""
    user, extension = _DEMO_USERS[name]
    variables = {
        **_times(ring_s),
        "fsroute_account": "acme",
        "fsroute_user": user,
        "fsroute_endpoint": name,
        "fsroute_shown": extension,
    }
    return ParsedLeg(variables, f"user/{name}@acme.example")


def trunk_call(ring_s: int, *, shown: str, **more: str) -> ParsedLeg:
    """The leg to a mobile through the demo's trunk; it presents the number `shown`, on account acme's network number."""
    variables = {
        **_times(ring_s),
        "sip_h_X-FSRoute-Hops": "1",
        "sip_invite_from_uri": f"sip:{shown}@carrier.example",
        "sip_cid_type": "pid",
        "origination_caller_id_number": "+492214710100",
        "sip_invite_domain": "carrier.example",
        "origination_caller_id_name": "_undef_",
        "origination_privacy": "screen",
    }
    return ParsedLeg(variables | more, "sofia/gateway/carrier/+491713920042")


def _times(ring_s: int) -> dict[str, str]:
    return {"leg_timeout": str(ring_s), "leg_progress_timeout": str(ring_s)}


def forwarded_call(ring_s: int, *, by: str, **variables: str) -> ParsedLeg:
    """The same for a call that the number `by` forwards unconditionally: `by` is shown, and named in a Diversion header."""
    diversion = f"<sip:{by}@carrier.example>;reason=unconditional;counter=1"
    return trunk_call(ring_s, shown=by, sip_h_Diversion=diversion, **variables)


DEMO_TOGETHER = bridge(
    [
        demo_phone("1001", 20),
        demo_phone("1002", 20),
        demo_phone("1003", 20),
        forwarded_call(
            20,
            by="+492214710100",
            group_confirm_key="1",
            group_confirm_file="tone_stream://%(300,200,880,1320)",
            group_confirm_timeout="10",
        ),
    ],
    limit_s=32,
)
"""What a call to +492214710100 rings, the demo's number with a parallel rule."""

DEMO_ONE_AFTER_ANOTHER = bridge(
    [demo_phone("1001", 15), demo_phone("1002", 15)],
    [demo_phone("1003", 10)],
    [forwarded_call(25, by="+492214710200")],
    limit_s=27,
)
"""What a call to +492214710200 rings, the demo's number with a sequential rule."""
