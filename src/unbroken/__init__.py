"""AI calls that stay answered when providers fail.

    from unbroken import Unbroken

Names are loaded when they are first used, so that a program that needs one of them starts
without the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unbroken.config import Config, ConfigError
    from unbroken.faces.client import Answer, Provider, Stream, SyncStream, SyncUnbroken, Unbroken
    from unbroken.faces.sdk import SharedEngine, async_sdk_client, sdk_client, sdk_transport
    from unbroken.failures import (
        DeadlineExceeded,
        Failure,
        FailureKind,
        RequestError,
        TargetsExhausted,
        Tried,
        UnbrokenError,
    )

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "Config",
    "ConfigError",
    "DeadlineExceeded",
    "Failure",
    "FailureKind",
    "Provider",
    "RequestError",
    "SharedEngine",
    "Stream",
    "SyncStream",
    "SyncUnbroken",
    "TargetsExhausted",
    "Tried",
    "Unbroken",
    "UnbrokenError",
    "__version__",
    "async_sdk_client",
    "sdk_client",
    "sdk_transport",
]

if not TYPE_CHECKING:  # a checker that saw `__getattr__` would take every misspelt name for one of ours
    _HOMES = {
        "unbroken.config": ("Config", "ConfigError"),
        "unbroken.faces.client": ("Answer", "Provider", "Stream", "SyncStream", "SyncUnbroken", "Unbroken"),
        "unbroken.faces.sdk": ("SharedEngine", "async_sdk_client", "sdk_client", "sdk_transport"),
        "unbroken.failures": (
            "DeadlineExceeded", "Failure", "FailureKind", "RequestError", "TargetsExhausted", "Tried", "UnbrokenError",
        ),
    }  # fmt: skip

    def __getattr__(name: str) -> Any:
        home = next((module for module, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
