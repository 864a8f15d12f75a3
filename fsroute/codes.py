"""The codes by which fsroute says why: in the log, in JSON, in channel variables, in the audit log.

A code is an interface: programs compare it, so it never changes. Its sentence is for the documents, which are made from
these tables (scripts/make_docs.py).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Code(StrEnum):
    """A code, and what it means in one sentence."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    @classmethod
    def named(cls, value: str) -> Self | None:
        """The member with this value, None if there is none."""
        return next((member for member in cls if member.value == value), None)


class ReasonCode(Code):
    """Why a call goes where it goes. `Decision.code` is the deciding one; a refused caller ID decides by its own code."""

    ROUTED = "routed", "A rule of the called number decided: its targets ring, or its last one takes the call."
    RULE_MATCHED = "rule_matched", "This rule applies."
    BASE_RULE = "base_rule", "No other rule applies, so the base rule does."
    RULE_DISABLED = "rule_disabled", "The rule was skipped: it is switched off."
    CALLER_ANONYMOUS = "caller_anonymous", "The rule was skipped: it is not for anonymous callers."
    CALLER_NOT_ANONYMOUS = "caller_not_anonymous", "The rule was skipped: it is for anonymous callers only."
    CALLER_NOT_LISTED = "caller_not_listed", "The rule was skipped: it is for other callers."
    TIME_OUTSIDE = "time_outside", "The rule was skipped: its time profile does not match now."
    TARGET_DISABLED = "target_disabled", "The target was left out: it is switched off."
    ENDPOINT_DISABLED = "endpoint_disabled", "The endpoint was left out: it is switched off."
    NUMBER_DISABLED = "number_disabled", "The hosted number is switched off."
    TRUNK_DISABLED = "trunk_disabled", "The trunk was not used: it is switched off."
    NO_ENDPOINTS = "no_endpoints", "The user or ring group has no endpoint."
    NOT_REGISTERED = "not_registered", "The endpoint was left out: no phone is registered for it."
    CONTACT_REFUSED = "contact_refused", "A registered contact was left out: it is not a plain SIP address."
    NO_TRUNK = "no_trunk", "The target was left out: no trunk of the account leads to the number."
    LOOP = "loop", "The target was left out: the call was already at this number."
    HOP_LIMIT = "hop_limit", "The target was left out: the call passed through trunks too often (setting `hop_limit`)."
    HOSTED_HERE = "hosted_here", "The dialled number is hosted here, so the call stays inside."
    EXTENSION_RULES = "extension_rules", "An extension or short code follows the rules of the user's number."
    DUPLICATE = "duplicate", "The same phone or number is in the stage twice: it rings once."
    AFTER_FINAL = "after_final", "The target was left out: the call has already ended before it."
    NO_TIME_LEFT = "no_time_left", "The target was left out: the ring time is over before it would start."
    LEG_LIMIT = "leg_limit", "The leg was left out: FreeSWITCH rings at most 128 at a time, and a plan has at most 512."
    STAGE_LIMIT = "stage_limit", "The stage was left out: a plan has at most 128."
    NUMBER_LIMIT = (
        "number_limit",
        "The target was left out: fsroute follows at most 128 hosted numbers for one call, and 16 one after another.",
    )
    ROW_LIMIT = (
        "row_limit",
        "Rows were left out: a number has more rules, targets or caller filters than `fsroute load` accepts.",
    )
    TRUNK_LIMIT = "trunk_limit", "The trunk is not tried: a leg tries at most 8 trunks."
    EMPTY_PLAN = "empty_plan", "Nothing of this rule can ring: the next rule follows."
    FINAL_TARGET = "final_target", "Nobody answered: the last target of the rule (mailbox, announcement, hang-up) follows."
    NEXT_ROUND = "next_round", "Nobody answered so far: the remaining stages of the rule ring."
    RULES_EXHAUSTED = "rules_exhausted", "Nobody answered, and no rule follows: the call ends with the cause of the outcome."
    NO_RULE = "no_rule", "The number has no rule for this call."
    RULE_GONE = "rule_gone", "The rule was deleted while its targets rang."
    CALLER_READ = "caller_read", "The caller's number was read as the trunk writes it; FreeSWITCH shows another one."
    AREA_CODE = "area_code", "A user dialled a local number: it was completed with the account's area code."
    LOCAL_NUMBER = "local_number", "A user dialled a local number, and the account has no area code: the call ends."
    PHONE_CONTEXT_MALFORMED = (
        "phone_context_malformed",
        "The `phone-context` of the number is neither the beginning of a number nor a domain name: the call ends.",
    )
    NUMBER_UNKNOWN = "number_unknown", "The called number is not hosted here: the call ends."
    DESTINATION_TOO_LONG = (
        "destination_too_long",
        "What was dialled is longer than any number (128 characters): the call ends, and no table is read.",
    )
    ACCOUNT_UNKNOWN = "account_unknown", "`fsroute_account` names no row of `accounts`: the call ends."
    ACCOUNT_SUSPENDED = "account_suspended", "The account is suspended: the call ends."
    TRUNK_UNKNOWN = "trunk_unknown", "`fsroute_trunk` names no row of `trunks`."
    USER_UNKNOWN = "user_unknown", "`fsroute_user` names no row of `users`."
    EMERGENCY_LINE_UNKNOWN = (
        "emergency_line_unknown",
        "An emergency call of an account without a network number: the carrier knows the line only by its trunk.",
    )
    EMERGENCY = "emergency", "A user called an emergency number: the account's trunks are tried one after the other."
    PROTECTED = (
        "protected",
        "A user called a short number that must always get through: no suspension and no permission stops the call.",
    )
    EXTENSION = "extension", "A user called an extension or a short code of the account."
    TRUNK = "trunk", "A user called a number outside: a trunk of the account carries the call."
    NOT_A_NUMBER = "not_a_number", "A user dialled what is neither an extension nor a number: the call ends."
    NO_NETWORK_NUMBER = "no_network_number", "The account has no network number, so no call can leave it."
    CALL_FAILED = "call_failed", "A user's call was not answered: it ends with the cause of the called side."
    DESTINATION_BARRED = "destination_barred", "The account may not call this number."
    TRANSFER_RECALL = (
        "transfer_recall",
        "Nobody answered a transferred call: it returns to its transferor, or goes where `accounts.failed_transfer` says.",
    )
    TRANSFEROR_UNKNOWN = (
        "transferor_unknown",
        "A call was transferred by a leg that is no phone of ours, or before it was answered: the call ends.",
    )
    CALLER_ID = "caller_id", "Which number a leg to a carrier shows, with the caller-ID code of the reason."


class CallerIdCode(Code):
    """Which number a leg shows, and why. The refusals (callerid/policy.py, REFUSALS) end a call or replace the number."""

    NETWORK_NUMBER = "network_number", "The account's network number: no other number was requested."
    OWN_NUMBER = "own_number", "Granted: the number is hosted here for the account."
    VERIFIED_NUMBER = "verified_number", "Granted: the number is verified for the account."
    VERIFIED_BLOCK = "verified_block", "Granted: the number is in a block that is verified for the account."
    EMERGENCY = "emergency", "An emergency call shows the account's network number."
    PRIVACY_REQUESTED = "privacy_requested", "The user asked to hide the number: nobody's number is shown."
    EMERGENCY_LINE_UNKNOWN = (
        "emergency_line_unknown",
        "An emergency call of an account without a network number, which `fsroute load` refuses: no number is shown.",
    )
    ORIGINAL_CALLER = "original_caller", "A forwarded leg shows the number of its caller."
    ORIGINAL_CALLER_ANONYMOUS = "original_caller_anonymous", "A forwarded leg hides its caller, who requested it."
    ORIGINAL_CALLER_UNKNOWN = (
        "original_caller_unknown",
        "The number of the original caller cannot be read, so a forwarded leg shows the account's own number.",
    )
    CALLER_RECEIVED = "caller_received", "A phone sees the caller's number as it was received."
    CALLER_ANONYMOUS = "caller_anonymous", "A phone sees an anonymous caller."
    INTERNAL_EXTENSION = "internal_extension", "A phone sees the extension of the colleague who calls."
    TRANSFERRED_PARTY = "transferred_party", "A phone sees the transferred party as fsroute showed that party before."
    DESTINATION_ABROAD = (
        "destination_abroad",
        "The number is verified, but the call leaves the country: the network number is shown.",
    )
    NOT_VERIFIED = "not_verified", "Refused: the number was never verified for the account."
    VERIFICATION_PENDING = "verification_pending", "Refused: the verification has not been confirmed."
    VERIFICATION_EXPIRED = "verification_expired", "Refused: the verification has expired."
    VERIFICATION_REVOKED = "verification_revoked", "Refused: the verification was revoked."
    VERIFIED_BY_ANOTHER_ACCOUNT = "verified_by_another_account", "Refused: the number belongs to another account."
    TRIAL_ACCOUNT = "trial_account", "Refused: a trial account shows its own numbers only."
    ACCOUNT_SUSPENDED = "account_suspended", "Refused: the account is suspended."
    CLASS_NEVER_PRESENTED = (
        "class_never_presented",
        "Refused: by the rule of the account's country such a number may never be a caller ID.",
    )
    CLASS_NOT_PRESENTABLE = (
        "class_not_presentable",
        "Refused: by the rule of the account's country such a number needs a setting (`accounts.presents_mobile`).",
    )
    FOREIGN_NUMBER = "foreign_number", "Refused: the account's country allows numbers of its own only."
    NOT_A_NUMBER = "not_a_number", "Refused: the requested caller ID is no E.164 number."
    TRUNK_CAN_NOT_CARRY = (
        "trunk_can_not_carry",
        "Refused: the trunk's identity profile has no header for the network number next to the shown one.",
    )
    CALLER_CLASS_BANNED = "caller_class_banned", "Inbound: the caller's number may never be a caller ID; the call ends."
    CALLER_FROM_FOREIGN_TRUNK = (
        "caller_from_foreign_trunk",
        "Inbound: a number of the country arrived from abroad; it is hidden.",
    )


DecisionCode = ReasonCode | CallerIdCode
"""What decides a call, and each reason for it: a refused caller ID decides too."""


class VerificationCode(Code):
    """Why a verification was refused: `code` of a refusal, `refused` in JSON, `reason` in the audit log."""

    NOT_E164 = "not_e164", "The number is not written in E.164; `meant` is the number that was probably meant."
    NOT_A_NUMBER = "not_a_number", "The text is no telephone number."
    ACCOUNT_UNKNOWN = "account_unknown", "There is no such account."
    VERIFICATION_UNKNOWN = "verification_unknown", "There is no verification with this id."
    CODE_MALFORMED = "code_malformed", "The text cannot be a verification code."
    BLOCK_MALFORMED = "block_malformed", "The two numbers are no block."
    TEXT_MALFORMED = "text_malformed", "A text that the audit log needs is missing, too long or not printable."
    TRIAL_ACCOUNT = "trial_account", "A trial account verifies no numbers."
    ACCOUNT_SUSPENDED = "account_suspended", "The account is suspended."
    OWN_NUMBER = "own_number", "The number is hosted here for the account: it needs no verification."
    IN_BLOCK = "in_block", "The number is in a block that is verified for the account; to revoke it, revoke the block."
    CLASS_NEVER_PRESENTED = (
        "class_never_presented",
        "By the rule of the account's country such a number may never be a caller ID.",
    )
    NO_MOBILE_NUMBER = "no_mobile_number", "The gateway sends a code by SMS to mobile numbers only."
    DESTINATION_BARRED = "destination_barred", "The account may not call the number."
    EXPENSIVE_NUMBER = (
        "expensive_number",
        "The number is of an expensive kind: a row of `call_permissions` must allow its range.",
    )
    FOREIGN_NUMBER = "foreign_number", "The number is abroad, and the account may not send codes abroad."
    NOT_CONFIGURED = "not_configured", "The settings for this method (an SMS gateway, or a switch for calls) are missing."
    AWAITS_APPROVAL = "awaits_approval", "A block that begins with the number waits for its approval."
    NUMBER_LIMIT = "number_limit", "The number got enough codes for one day; `retry_at` says when the next one can be sent."
    ACCOUNT_LIMIT = "account_limit", "The account sent enough codes for one hour; `retry_at` says when it can send again."
    TOTAL_LIMIT = (
        "total_limit",
        "All accounts together sent enough codes for one day; `retry_at` says when the next one can be sent.",
    )
    KIND_LIMIT = (
        "kind_limit",
        "Numbers of this kind got enough codes for one day; `retry_at` says when the next one can be sent.",
    )
    COUNTRY_LIMIT = (
        "country_limit",
        "Numbers of this country got enough codes for one day; `retry_at` says when the next one can be sent.",
    )
    GUESS_LIMIT = (
        "guess_limit",
        "The account gave too many wrong codes in one day; `retry_at` says when it can go on.",
    )
    CALL_PAUSE = "call_pause", "The number was called for a code a moment ago; `retry_at` says when it can be called again."
    HOSTED_BY_ANOTHER_ACCOUNT = (
        "hosted_by_another_account",
        "Conflict: another account hosts the number. An operator decides.",
    )
    VERIFIED_BY_ANOTHER_ACCOUNT = (
        "verified_by_another_account",
        "Conflict: the number is verified for another account. An operator decides.",
    )
    WRONG_CODE = "wrong_code", "The verification code is wrong."
    TRIES_USED_UP = "tries_used_up", "The verification code was wrong too often: start a new verification."
    CODE_EXPIRED = "code_expired", "The verification code is too old: start a new verification."
    ALREADY_VERIFIED = "already_verified", "This attempt has already verified the number."
    ATTEMPT_FAILED = "attempt_failed", "The attempt has failed: start a new verification."
    ATTEMPT_CANCELLED = "attempt_cancelled", "The attempt was cancelled, or a newer one replaced it."
    ATTEMPT_IN_CONFLICT = "attempt_in_conflict", "Another account holds the number. An operator decides."
    HAS_NO_CODE = "has_no_code", "The attempt was entered by hand: it is approved, not confirmed."
    NEEDS_ITS_CODE = "needs_its_code", "The attempt has a code: it is confirmed, not approved."
    SAME_PERSON = "same_person", "The person who entered an attempt cannot approve it."
    NOT_VERIFIED = "not_verified", "The number is not verified, so it cannot be revoked."


class DeliveryOutcome(Code):
    """What became of a verification code on its way; the sentence is also what a customer reads."""

    CODE_READ = "code_read", "the call was answered and the code was read to its end"
    BUSY = "busy", "the number was busy"
    NO_ANSWER = "no_answer", "nobody answered"
    CALL_REJECTED = "call_rejected", "the call was rejected"
    NUMBER_UNREACHABLE = "number_unreachable", "the number could not be reached"
    CUT_SHORT = "cut_short", "the call was answered and ended before the code was read; was it a mailbox?"
    PROMPT_FAILED = "prompt_failed", "FreeSWITCH could not play the prompts"
    NO_TRUNK = "no_trunk", "no trunk of the account carries a call to the number"
    SWITCH_UNREACHABLE = "switch_unreachable", "FreeSWITCH cannot be reached"
    SWITCH_REFUSED = "switch_refused", "FreeSWITCH refused the call"
    MESSAGE_ACCEPTED = "message_accepted", "the SMS gateway accepted the message"
    GATEWAY_REFUSED = "gateway_refused", "the SMS gateway refused the message"
    GATEWAY_FAILED = "gateway_failed", "the SMS gateway failed"
    GATEWAY_TIMEOUT = "gateway_timeout", "the SMS gateway did not answer in time"
    GATEWAY_UNREACHABLE = "gateway_unreachable", "the SMS gateway cannot be reached"
    NOT_CONFIGURED = "not_configured", "this way of delivery is not configured"
    INTERRUPTED = "interrupted", "the delivery was interrupted"


def as_markdown(family: type[Code]) -> str:
    """The table of a family for the documents."""
    rows = [f"| `{member.value}` | {member.meaning} |" for member in family]
    return "\n".join(("| code | meaning |", "|---|---|", *rows)) + "\n"
