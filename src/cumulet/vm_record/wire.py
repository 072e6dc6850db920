"""What a VM's row and its JSON have in common."""

from __future__ import annotations

from cumulet.wire import ProtoEnum


class VmState(ProtoEnum):
    """`VM.VmState`: what an owner sees. Zero is CLONING, so a state is always written out."""

    CLONING = "CLONING", 0
    CREATING_SNAPSHOT = "CREATING_SNAPSHOT", 1
    DELETED = "DELETED", 2
    DELETING = "DELETING", 3
    DELETING_SNAPSHOT = "DELETING_SNAPSHOT", 4
    FAILED = "FAILED", 5
    HOTPLUGGING = "HOTPLUGGING", 6
    MIGRATING = "MIGRATING", 7
    RECREATING = "RECREATING", 8
    REVERTING_SNAPSHOT = "REVERTING_SNAPSHOT", 9
    RESIZING = "RESIZING", 10
    RESIZING_DISK = "RESIZING_DISK", 11
    ACTIVE = "ACTIVE", 12
    STARTING = "STARTING", 13
    STOPPED = "STOPPED", 14
    STOPPING = "STOPPING", 15
    SUSPENDED = "SUSPENDED", 16
    SUSPENDING = "SUSPENDING", 17
    UNKNOWN = "UNKNOWN", 18
    PENDING = "PENDING", 19


class SshKeySource(ProtoEnum):
    """Whose keys a VM gets besides its custom ones."""

    UNKNOWN = "SSH_KEY_SOURCE_UNKNOWN", 0
    PROJECT = "SSH_KEY_SOURCE_PROJECT", 1
    USER = "SSH_KEY_SOURCE_USER", 2
    NONE = "SSH_KEY_SOURCE_NONE", 3
