"""Makes the channel snapshot for the bench: a recorded one, with the variables of a carrier's call.

The recording is of a SIP call on loopback. A carrier's INVITE has more headers, which become channel variables. This module
adds them, so that the snapshot is as long as in service (about 180 lines, 7.6 kB).
"""

from __future__ import annotations

import json
from pathlib import Path

from fsroute.simulator.simulated_channel import encode

TOP = Path(__file__).resolve().parents[2]
RECORDING = TOP / "tests" / "recordings" / "answered.json"

_NAME = "J%C3%B6rg%2050%25%20A"
"""The recorded caller's name, as `Caller-Caller-ID-Name` has it. It is replaced, because a per cent sign in a name is
rare."""

_CARRIER = {
    "sip_user_agent": "Carrier SBC 7.4.2 (build 1183)",
    "sip_allow": "PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS",
    "sip_supported": "timer, 100rel, replaces, histinfo",
    "sip_P-Asserted-Identity": '"Jörg Müller" <sip:+493023125001@carrier.example;user=phone>',
    "sip_Privacy": "none",
    "sip_cid_type": "pid",
    "sip_h_P-Early-Media": "supported",
    "sip_h_P-Charging-Vector": "icid-value=4f6e652063616c6c;icid-generated-at=192.0.2.3;orig-ioi=carrier.example",
}
"""Channel variables that only a carrier's call has."""


def template() -> str:
    """The snapshot with the marks @NUMBER@, @CALLER@, @UUID@ and @VARIABLES@, which load.c replaces for each call."""
    turns = json.loads(RECORDING.read_text(encoding="utf-8"))["turns"]
    text: str = next(turn["text"] for turn in turns if turn["speaker"] == "freeswitch")
    lines = dict(line.split(": ", 1) for line in text.strip().split("\n"))
    for original, marker in ((lines["Unique-ID"], "@UUID@"), (lines["Caller-Destination-Number"], "@NUMBER@")):
        text = text.replace(original, marker)
    caller = lines["Caller-Caller-ID-Number"].removeprefix(encode("+"))
    text = text.replace(_NAME, encode("Jörg Müller")).replace("J%C3%B6rg%2050%25%20%41", encode("Jörg Müller"))
    added = "".join(f"variable_{name}: {encode(value)}\n" for name, value in _CARRIER.items())
    text = text.replace("Content-Type: command/reply\n", f"{added}@VARIABLES@\nContent-Type: command/reply\n", 1)
    return text.replace(caller, "@CALLER@")


def switch(text: str) -> str:
    """The Core-UUID of the FreeSWITCH that sent a snapshot."""
    return text.partition("Core-UUID: ")[2].partition("\n")[0]
