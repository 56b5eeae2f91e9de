"""The base of every noun that is made while requests are served."""

from __future__ import annotations

from typing import dataclass_transform

import msgspec
from msgspec.structs import replace

__all__ = ["Record", "replace"]


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, frozen=True, gc=False):
    """An immutable value, compared by its fields.

    Several are made for every event of a stream: one of these takes 0.1 us to make, a dataclass
    0.5 us, a frozen dataclass 1.7 us.  The garbage collector does not look at them, so none
    may hold what leads back to itself.  `replace` makes a changed copy.
    """
