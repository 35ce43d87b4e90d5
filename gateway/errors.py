"""Every error the gateway raises, in one tree.

Each class says what the daemon does about it (`reaction`) and what a person can do (`hint`); an instance carries the
facts. Exceptions of other packages are wrapped where the gateway touches the outside. A bug is an `assert`, never one
of these.
"""

from __future__ import annotations

from enum import Enum


class Reaction(Enum):
    """What the gateway does when an error reaches the part that must decide."""

    STOP = "stop"
    RETRY = "retry"
    DROP = "drop"
    DEGRADE = "degrade"


class GatewayError(Exception):
    """The root. `facts` are what was seen, for logs and reports."""

    reaction = Reaction.STOP
    hint = ""

    def __init__(self, fault: str, *, hint: str = "", **facts: object) -> None:
        super().__init__(fault)
        self.fault = fault
        self.facts = facts
        if hint:
            self.hint = hint

    def __str__(self) -> str:
        return f"{self.fault} ({self.hint})" if self.hint else self.fault


def first_of(errors: BaseExceptionGroup[GatewayError]) -> GatewayError:
    """Return the first error of a group, however deep it lies."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, GatewayError)
    return error


class ConfigError(GatewayError):
    """The configuration cannot be used; `faults` holds one finished sentence per fault."""

    hint = "correct the file, then run `gateway check -c FILE`"

    def __init__(self, fault: str, faults: tuple[str, ...] = (), *, hint: str = "") -> None:
        super().__init__(fault, hint=hint)
        self.faults = faults or (fault,)


class ExpressionError(GatewayError):
    """An expression cannot be compiled; `column` counts from 1."""

    hint = "see docs/reference/expressions.md for what an expression may hold"

    def __init__(self, fault: str, column: int) -> None:
        super().__init__(fault, column=column)
        self.column = column


class DecodeError(GatewayError):
    """A payload cannot be decoded; `reason` is a short word that is counted, `fault` the sentence for a person."""

    reaction = Reaction.DROP
    hint = "the message is in quarantine: `gateway status` counts it by reason"

    def __init__(self, reason: str, fault: str) -> None:
        super().__init__(fault, reason=reason)
        self.reason = reason


class BatchError(GatewayError):
    """Bytes that should be a batch are not: wrong magic, version, checksum, hash or content."""

    reaction = Reaction.DROP
    hint = "the sender still holds the batch; compare both sides with `gateway batch cat`"


class StoreError(GatewayError):
    """The disk refused an operation; `facts` name the path and the errno."""

    reaction = Reaction.DEGRADE
    hint = "check the disk: free space, mount options, kernel log"

    @property
    def is_no_space(self) -> bool:
        """Whether the disk, or our quota of it, is full."""
        return self.facts.get("errno") in {"ENOSPC", "EDQUOT"}


class ContentError(StoreError):
    """A database does not take what was to be written, and never will: something in it, not the disk, is why."""

    hint = "tell the makers of the gateway: what a batch may hold must be storable"


class ArchiveError(GatewayError):
    """A file is no export of a spool, or not a whole one."""

    hint = "export again, and copy the file as a whole"


class LinkError(GatewayError):
    """A connection to a broker failed or was closed."""

    reaction = Reaction.RETRY
    hint = "the gateway tries again by itself"


class MalformedPacketError(LinkError):
    """The peer sent bytes that are not MQTT 5."""

    hint = "the connection was closed and is made anew; see which peer speaks on this port"


class CredentialError(GatewayError):
    """A key, certificate or password file cannot be used."""

    reaction = Reaction.RETRY
    hint = "check path, owner and format of the file"
