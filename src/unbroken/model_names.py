"""The many names of one model: how providers, their tools and the lists of prices spell it.

`candidates` gives the spellings to look for, the likeliest first; `Spelling` finds one among
the names of a list, in any case, and where only dated ones are listed the newest of them.
`sameness` is what the names of one open model at all of its hosts have in common.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

__all__ = ["PARTNERS", "Spelling", "candidates", "own_name", "sameness", "undated"]

PARTNERS: Mapping[str, str] = {
    "fireworks-ai": "fireworks",
    "featherless-ai": "featherless",
    "novita": "novita",
    "sambanova": "sambanova",
}
"""The Hugging Face router's names for providers that the catalogue calls otherwise."""

_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "gemini": ("models/", "google/"),
    "vertex": ("publishers/google/models/", "models/", "google/", "publishers/anthropic/models/"),
    "fireworks": ("accounts/fireworks/models/",),
    "mistral": ("mistralai/",),
    "xai": ("x-ai/",),
    "azure": ("azure/",),
}
"""What may stand before a name and says nothing, by provider."""

_DATED = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8})$")
_SHORT_DATED = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4})(?:-v\d+)?(?::\d+)?$")
_PROFILE = re.compile(r"^(?:us|eu|apac|au|jp|ca|us-gov|global)\.")
_ARN = re.compile(r"^arn:aws[\w-]*:bedrock:.*?(?:foundation-model|inference-profile)/")
_REGIONAL = re.compile(r"^(?:us-gov-)?[a-z]{2}-[a-z]+-\d/")
_VENDOR = re.compile(r"^(?:meta|openai|google|mistralai|qwen|nvidia|databricks|moonshotai)[.-](?=[a-z])")
_POINT = re.compile(r"(?<=\d)p(?=\d)")
_NUMBERED = re.compile(r"(?<=[a-z])[-_.]?v(?=\d)")
_HOSTED = re.compile(r"-(?:instruct(?:-turbo)?|it|maas|versatile|hf|tee|fp8(?:-fast|-dynamic)?)$")
_BUILD = re.compile(r"-v?\d+:\d+$")
_TAUGHT = re.compile(r"(?i)-(?:instruct|it|versatile)\b")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[^a-z0-9]+(?=\d)")
_MARK = re.compile(r"[^a-z0-9.]+|(?<!\d)\.|\.(?!\d)")
_VERSION = re.compile(r"(?:-v\d+)?(?::\d+(?::\w+)?)?$")


def candidates(provider: str, name: str) -> Iterator[str]:
    """Spellings of a name at a provider, in the order in which to look for them."""
    names = [name, *_without_prefixes(provider, name)]
    yield from names
    if provider == "bedrock":
        names = [plain for one in names for plain in _bedrock(one)]
        yield from names
    for one in names:
        yield one.removesuffix("-latest").removesuffix("@latest").removesuffix("@default")
        yield undated(one)


def undated(name: str) -> str:
    """Without the date of a snapshot: `gpt-5.4-2026-03-05` is `gpt-5.4`."""
    return _DATED.sub("", name)


def _without_prefixes(provider: str, name: str) -> Iterator[str]:
    for prefix in (*_PREFIXES.get(provider, ()), f"{provider}/"):
        if name.startswith(prefix):
            yield name.removeprefix(prefix)
    if provider == "fireworks" and "/" not in name:
        yield _PREFIXES[provider][0] + name


def _bedrock(name: str) -> Iterator[str]:
    """Without the profile through which it is asked for, and without its version."""
    model = _ARN.sub("", name)
    yield model
    yield (plain := _PROFILE.sub("", model))
    yield _VERSION.sub("", plain)


def sameness(name: str) -> str:
    """The same for all names of an open model, whoever hosts it; of use only for comparison.

    `meta-llama/Llama-3.3-70B-Instruct`, `llama-3.3-70b-versatile`, `llama3.3:70b` and
    `meta.llama3-3-70b-instruct-v1:0` are one.  What says how it was trained, or how large it
    is, stays: only who hosts it, and how, is left out.
    """
    plain = _BUILD.sub("", name.lower().rpartition("/")[2])
    plain = _NUMBERED.sub("-", _POINT.sub(".", plain))
    while (shorter := _HOSTED.sub("", _VENDOR.sub("", plain))) != plain:
        plain = shorter
    return _MARK.sub("", _BETWEEN_DIGITS.sub(".", plain))


def own_name(provider: str, names: Iterable[str]) -> str | None:
    """Which of several names of one model to use at a provider: the plainest, in the form that is asked for there."""
    usable = [name for name in names if not _REGIONAL.match(name)]
    full = [name for name in usable if name.startswith("accounts/")] if provider == "fireworks" else []
    # A base model that was never taught to answer may have the same name but for that word.
    return min(full or usable, key=lambda n: (not _TAUGHT.search(n), bool(_DATED.search(n)), len(n), n), default=None)


class Spelling:
    """The names of a list, to be found however they are written."""

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = {name.lower(): name for name in names}
        self._newest: dict[str, str] = {}
        for name in sorted(self._exact):
            # Sorted, so that the newest of a model's dates is the one that stays.
            self._newest[_SHORT_DATED.sub("", name)] = self._exact[name]

    def key(self, wanted: str) -> str | None:
        """The listed name that is meant, None where there is none."""
        wanted = wanted.lower()
        return self._exact.get(wanted) or self._newest.get(wanted)
