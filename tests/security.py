"""Users and rights for brokers that are secured."""

from __future__ import annotations

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

USER = "streamer"
"""Who the daemon logs in as: may do what ACLs allow and nothing else."""
OBSERVER = "observer"
"""Who the tests log in as, to look at everything."""
PASSWORDS = {USER: "streamer-password-canary", OBSERVER: "observer-password-canary"}

Right = tuple[str, str, str]
"""Operation, kind of resource, and its name; one that ends with ``*`` is the beginning of names."""


def rights_of_the_daemon(prefix: str) -> list[Right]:
    """What docs/operations.md says that the daemon needs."""
    return [
        ("Read", "topic", f"{prefix}.*"),
        ("Write", "topic", f"{prefix}.*"),
        ("DescribeConfigs", "topic", f"{prefix}.*"),
        ("Create", "topic", f"{prefix}.*"),
        ("DescribeConfigs", "cluster", "kafka-cluster"),
        ("Read", "group", f"{prefix}.streamer"),
        ("Write", "transactional id", f"{prefix}.streamer.*"),
    ]


def grant(admin: AdminClient, rights: list[Right], *, user: str = USER) -> None:
    """Give a user rights, which take effect at once."""
    for done in admin.create_acls([_acl(right, user) for right in rights]).values():
        done.result(30)


def revoke(admin: AdminClient, rights: list[Right], *, user: str = USER) -> None:
    """Take rights away again, each of them granted before."""
    for right in rights:
        acl = _acl(right, user)
        one = AclBindingFilter(
            acl.restype, acl.name, acl.resource_pattern_type, acl.principal, acl.host, acl.operation,
            acl.permission_type,
        )  # fmt: skip
        for done in admin.delete_acls([one]).values():
            assert len(done.result(30)) == 1, right


_KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "cluster": ResourceType.BROKER,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


def _acl(right: Right, user: str) -> AclBinding:
    operation, kind, name = right
    pattern = ResourcePatternType.PREFIXED if name.endswith("*") and name != "*" else ResourcePatternType.LITERAL
    name = name.removesuffix("*") or "*"
    return AclBinding(_KINDS[kind], name, pattern, f"User:{user}", "*", _OPERATIONS[operation], AclPermissionType.ALLOW)
