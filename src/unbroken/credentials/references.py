"""How a key that is kept elsewhere is named.

    file:PATH                    vault:MOUNT/PATH#FIELD       google:adc, google:PATH
    hf-token-file                aws-sm:NAME_OR_ARN#FIELD     azure-ad:, azure-ad:SCOPE
                                 azure-kv:VAULT/SECRET        aws:, aws:PROFILE

A reference is no secret: it may stand in a configuration, an error and a log.  What is
read here is only the words; nothing is opened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["AWS", "TOKEN_FILE", "Reference", "auth_of", "hugging_face_file", "reference_of"]

AWS = "aws:"
"""What a target that signs its requests uses where nothing else is said: AWS' usual chain."""
TOKEN_FILE = "hf-token-file"  # noqa: S105 - the name of a reference
"""The file that `hf auth login` writes."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference, taken apart: `place` is what its keeper calls it, `field` what is wanted of it."""

    scheme: str
    place: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class _Form:
    """How references of one scheme go on after the colon, and how that is explained."""

    pattern: re.Pattern[str]
    looks: str


_FORMS: Mapping[str, _Form] = {
    "file": _Form(re.compile(r"(?://(?=/))?(?P<place>.+)"), "file:PATH"),
    TOKEN_FILE: _Form(re.compile(r"(?P<place>)"), TOKEN_FILE),
    "vault": _Form(re.compile(r"/?(?P<place>[^/#]+/[^#]+?)/?(?:#(?P<field>.+))?"), "vault:MOUNT/PATH#FIELD"),
    "aws-sm": _Form(re.compile(r"(?P<place>[^#]+)(?:#(?P<field>.+))?"), "aws-sm:NAME_OR_ARN#FIELD"),
    "azure-kv": _Form(
        re.compile(r"(?P<place>https://[^/]+|[A-Za-z0-9-]+)/(?:secrets/)?(?P<field>[A-Za-z0-9-]+(?:/[A-Za-z0-9]+)?)/?"),
        "azure-kv:VAULT/SECRET, with the vault's name or its https:// address",
    ),
    "google": _Form(re.compile(r"(?P<place>.+)"), "google:adc or google:PATH of a service account's key"),
    "azure-ad": _Form(re.compile(r"(?P<place>(?:(?:https|api)://.+)?)"), "azure-ad: or azure-ad:SCOPE"),
    "aws": _Form(re.compile(r"(?P<place>.*)"), "aws: or aws:PROFILE"),
}


def reference_of(key: str) -> Reference | None:
    """What a configured key refers to; None where it is a key itself, ValueError where it is half a reference."""
    scheme, colon, rest = key.partition(":")
    if scheme not in _FORMS or bool(colon) is (scheme == TOKEN_FILE):
        return None
    form = _FORMS[scheme]
    found = form.pattern.fullmatch(rest)
    if found is None:
        raise ValueError(f"a reference to a key reads {form.looks}")
    return Reference(scheme, **{name: value or "" for name, value in found.groupdict().items()})


def auth_of(key: str) -> str:
    """How what this refers to has to be shown, as in `Target.auth`; empty where any key would do."""
    scheme = key.partition(":")[0] if ":" in key else ""
    return {"aws": "sigv4", "google": "bearer", "azure-ad": "bearer"}.get(scheme, "")


def hugging_face_file(environ: Mapping[str, str]) -> str:
    """Where Hugging Face's own tools keep the token: HF_TOKEN_PATH, in HF_HOME, or in the user's cache."""
    cache = environ.get("XDG_CACHE_HOME", "~/.cache")
    home = environ.get("HF_HOME", f"{cache}/huggingface")
    return _expanded(environ.get("HF_TOKEN_PATH", f"{home}/token"), environ)


def _expanded(path: str, environ: Mapping[str, str]) -> str:
    """A path with `~` and `$NAME` filled in from this environment, as a shell would; what is not set stays."""
    home = environ.get("HOME") or environ.get("USERPROFILE") or "~"
    path = home + path[1:] if path == "~" or path.startswith("~/") else path
    return _VARIABLE.sub(lambda found: environ.get(found[1] or found[2], found[0]), path)


_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})", re.ASCII)
