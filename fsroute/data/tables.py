"""peewee's models of the tables in schema.sql. tests/integration/data/test_tables.py fails when the two differ.

Constraints are only in schema.sql. Foreign keys are plain fields: they have two columns each, which peewee cannot express,
and the database enforces them. Models have no behaviour and are not bound to a database: queries are.
"""

from __future__ import annotations

from peewee import BooleanField, CompositeKey, IntegerField, Model, TextField

from fsroute.target_kinds import TargetKind


class Account(Model):
    name = TextField(primary_key=True)
    country = TextField()
    timezone = TextField()
    domain = TextField(unique=True)
    status = TextField()
    refused_caller_id = TextField()
    presented_number = TextField(null=True)
    presents_mobile = BooleanField()
    presents_abroad = BooleanField()
    verifies_abroad = BooleanField()
    verification_days = IntegerField()
    approves_blocks = BooleanField()
    transferred_caller_id = TextField()
    failed_transfer = TextField()
    area_code = TextField(null=True)

    class Meta:
        table_name = "accounts"


class CallPermission(Model):
    account = TextField()
    prefix = TextField()
    allowed = BooleanField()

    class Meta:
        table_name = "call_permissions"
        primary_key = CompositeKey("account", "prefix")


class Number(Model):
    number = TextField(primary_key=True)
    account = TextField()
    enabled = BooleanField()
    is_network_number = BooleanField()

    class Meta:
        table_name = "numbers"


class User(Model):
    account = TextField()
    name = TextField()
    extension = TextField(null=True)

    class Meta:
        table_name = "users"
        primary_key = CompositeKey("account", "name")


class Endpoint(Model):
    account = TextField()
    name = TextField()
    user_name = TextField(null=True)
    enabled = BooleanField()

    class Meta:
        table_name = "endpoints"
        primary_key = CompositeKey("account", "name")


class UserNumber(Model):
    account = TextField()
    number = TextField()
    user_name = TextField()
    kind = TextField()
    short_code = TextField(null=True)

    class Meta:
        table_name = "user_numbers"
        primary_key = CompositeKey("account", "number")


class RingGroup(Model):
    account = TextField()
    name = TextField()

    class Meta:
        table_name = "ring_groups"
        primary_key = CompositeKey("account", "name")


class RingGroupMember(Model):
    account = TextField()
    ring_group = TextField()
    position = IntegerField()
    endpoint = TextField()

    class Meta:
        table_name = "ring_group_members"
        primary_key = CompositeKey("account", "ring_group", "position")


class TimeProfile(Model):
    account = TextField()
    name = TextField()
    timezone = TextField(null=True)
    holiday_region = TextField(null=True)

    class Meta:
        table_name = "time_profiles"
        primary_key = CompositeKey("account", "name")


class TimeProfileRange(Model):
    account = TextField()
    time_profile = TextField()
    position = IntegerField()
    first_weekday = TextField(null=True)
    last_weekday = TextField(null=True)
    start_time = TextField(null=True)
    end_time = TextField(null=True)
    first_date = TextField(null=True)
    last_date = TextField(null=True)
    holidays = TextField()

    class Meta:
        table_name = "time_profile_ranges"
        primary_key = CompositeKey("account", "time_profile", "position")


class Rule(Model):
    account = TextField()
    number = TextField()
    position = IntegerField()
    type = TextField()
    mode = TextField()
    ring_s = IntegerField(null=True)
    anonymous = BooleanField(null=True)
    time_profile = TextField(null=True)
    enabled = BooleanField()

    class Meta:
        table_name = "rules"
        primary_key = CompositeKey("number", "position")


class RuleCaller(Model):
    number = TextField()
    rule_position = IntegerField()
    caller = TextField()

    class Meta:
        table_name = "rule_callers"
        primary_key = CompositeKey("number", "rule_position", "caller")


class RuleTarget(Model):
    account = TextField()
    number = TextField()
    rule_position = IntegerField()
    position = IntegerField()
    ring_group: TextField
    user_name: TextField
    for _kind in TargetKind:
        vars()[_kind.value] = TextField(null=True)
    del _kind
    start_s = IntegerField()
    ring_s = IntegerField(null=True)
    caller_id = TextField(null=True)
    confirm = BooleanField(null=True)
    enabled = BooleanField()

    class Meta:
        table_name = "rule_targets"
        primary_key = CompositeKey("number", "rule_position", "position")


class IdentityProfile(Model):
    name = TextField(primary_key=True)
    from_number = TextField()
    identity_header = TextField()
    identity_number = TextField()
    diversion = BooleanField()
    history_info = BooleanField()

    class Meta:
        table_name = "identity_profiles"


class Trunk(Model):
    name = TextField(primary_key=True)
    gateway = TextField()
    country = TextField()
    domain = TextField()
    identity_profile = TextField()
    number_format = TextField()
    called_number_in = TextField()
    is_foreign = BooleanField()
    enabled = BooleanField()

    class Meta:
        table_name = "trunks"


class TrunkRoute(Model):
    account = TextField()
    prefix = TextField()
    position = IntegerField()
    trunk = TextField()

    class Meta:
        table_name = "trunk_routes"
        primary_key = CompositeKey("account", "prefix", "position")


class VerifiedNumber(Model):
    account = TextField()
    first_number = TextField()
    last_number = TextField()
    method = TextField()
    state = TextField()
    verified_at = TextField(null=True)
    expires_at = TextField(null=True)
    revoked_at = TextField(null=True)
    verified_by = TextField(null=True)
    source = TextField(null=True)

    class Meta:
        table_name = "verified_numbers"
        primary_key = CompositeKey("account", "first_number")


class VerificationAttempt(Model):
    id = TextField(primary_key=True)
    account = TextField()
    first_number = TextField()
    last_number = TextField()
    method = TextField()
    state = TextField()
    language = TextField(null=True)
    code_hash = TextField(null=True)
    tries = IntegerField()
    started_at = TextField()
    started_by = TextField()
    code_expires_at = TextField(null=True)
    outcome = TextField(null=True)
    answer = TextField(null=True)
    delivered_at = TextField(null=True)
    settled_at = TextField(null=True)
    evidence = TextField(null=True)
    approved_by = TextField(null=True)

    class Meta:
        table_name = "verifications"


class AuditRow(Model):
    id = IntegerField(primary_key=True)
    at = TextField()
    actor = TextField()
    origin = TextField()
    action = TextField()
    account = TextField()
    first_number = TextField()
    last_number = TextField()
    verification = TextField(null=True)
    method = TextField(null=True)
    state = TextField(null=True)
    expires_at = TextField(null=True)
    reason = TextField(null=True)

    class Meta:
        table_name = "audit_log"


class SchemaVersion(Model):
    version = IntegerField(primary_key=True)
    tables_version = IntegerField()

    class Meta:
        table_name = "schema_version"


MODELS: tuple[type[Model], ...] = (
    SchemaVersion,
    Account,
    CallPermission,
    Number,
    User,
    Endpoint,
    UserNumber,
    RingGroup,
    RingGroupMember,
    TimeProfile,
    TimeProfileRange,
    Rule,
    RuleCaller,
    RuleTarget,
    IdentityProfile,
    Trunk,
    TrunkRoute,
    VerifiedNumber,
    VerificationAttempt,
    AuditRow,
)
