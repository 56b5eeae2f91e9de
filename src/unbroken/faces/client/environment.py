"""The environment as a configuration, with the variables of applications that have used Pollinations and OpenRouter.

    POLLINATIONS_API_TOKEN    the key to Pollinations, which works without one too
    POLLINATIONS_TEXT_API     where its texts are made, and ..._IMAGE_API where its pictures are
    OPENROUTER_API_KEY        the key to OpenRouter; OPENROUTER_ENABLED=false leaves it out all the same
    OPENROUTER_DEFAULT_MODEL  the model that is asked for there
    TEXT_API_RATE_LIMIT       requests a minute to each provider, and IMAGE_API_RATE_LIMIT for pictures

Where those two are the only providers, they are asked as these applications do: see `_HABITS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from unbroken.config import Config, ConfigError, Problem

__all__ = ["config_of", "limits_of"]

Environ = Mapping[str, str]
Values = dict[str, Any]

TEXTS, IMAGES, ROUTER = "pollinations", "pollinations-images", "openrouter"
TEXT_API, IMAGE_API = "POLLINATIONS_TEXT_API", "POLLINATIONS_IMAGE_API"
RATE_LIMITS = {"text": "TEXT_API_RATE_LIMIT", "image": "IMAGE_API_RATE_LIMIT"}
IMAGE_MODEL = "flux"

_POLLINATIONS: Values = {"weight": 2, "timeout_s": 15, "again": 2}
_HABITS: Mapping[str, Values] = {
    TEXTS: _POLLINATIONS,
    IMAGES: _POLLINATIONS,
    ROUTER: {"weight": 1, "timeout_s": 30, "again": 1},
}
"""In order of priority: the share under `weighted`, the time for one answer, and how often the same is asked again."""
_TOTAL_S = 60
"""Room for both of their timeouts and the waits between."""
_BREAKER_AT = 3
_NO = frozenset(("0", "false", "no", "off"))


def config_of(environ: Environ) -> Config:
    """The configuration that the environment makes; ConfigError where a variable makes no sense."""
    there = Config.from_env(environ)
    providers: dict[str, Values] = {name: {"model": account.model} for name, account in there.accounts.items()}
    if _value(environ, "OPENROUTER_ENABLED").lower() in _NO:
        providers.pop(ROUTER, None)
    if ROUTER in providers and (model := _value(environ, "OPENROUTER_DEFAULT_MODEL")):
        providers[ROUTER]["model"] = model
    _add_pollinations(providers, environ)
    ours = {name: providers[name] for name in _HABITS if name in providers}
    if not ours and providers.keys() == there.accounts.keys():
        return there
    if not providers:  # nothing is left of what the environment has
        return Config()
    values = _habitual(ours) if ours.keys() == providers.keys() else {"providers": providers}
    return Config.from_values(values, environ)


def limits_of(environ: Environ) -> Mapping[str, int]:
    """Requests a minute by kind of work, where they are limited; ConfigError names the variable."""
    return {kind: _whole(environ, name) for kind, name in RATE_LIMITS.items() if _value(environ, name)}


def _habitual(providers: dict[str, Values]) -> Values:
    """The two of them with the habits of the applications that use them."""
    if ROUTER in providers:
        providers[ROUTER]["tasks"] = ["chat"]  # asked for a picture it would deny its model, which would then rest
    for name, section in providers.items():
        timeout_s = _HABITS[name]["timeout_s"]
        section["deadlines"] = {"read_s": timeout_s, "total_s": _TOTAL_S}
        section["same_target_max"] = _HABITS[name]["again"]
    targets = [{"target": name, "weight": _HABITS[name]["weight"]} for name in providers]
    return {
        "providers": providers,
        "routes": {"auto": {"strategy": "priority", "targets": targets}},
        "defaults": {"breaking": {"consecutive": _BREAKER_AT}},
    }


def _add_pollinations(providers: dict[str, Values], environ: Environ) -> None:
    """One provider for texts and one for pictures: they have models of their own, and perhaps addresses."""
    texts, images = _value(environ, TEXT_API), _value(environ, IMAGE_API)
    if not (texts or images or TEXTS in providers):
        return
    section = providers.setdefault(TEXTS, {"model": "openai"})
    section["tasks"] = ["chat"]
    drawing = providers[IMAGES] = {"like": TEXTS, "model": IMAGE_MODEL, "tasks": ["image"]}
    if texts:
        section["base_url"] = _text_url(texts)
    if images:
        drawing["base_url"] = _image_url(images)


def _text_url(url: str) -> str:
    """The base address of a chat API that may be given with its path, or without any."""
    url = url.rstrip("/").removesuffix("/chat/completions")
    parts = urlsplit(url)
    if parts.path:
        return url
    return f"{url}/openai" if (parts.hostname or "").startswith("text.") else f"{url}/v1"


def _image_url(url: str) -> str:
    """The address below which pictures are drawn."""
    return url.rstrip("/").removesuffix("/prompt").removesuffix("/image")


def _value(environ: Environ, name: str) -> str:
    return environ.get(name, "").strip()


def _whole(environ: Environ, name: str) -> int:
    text = _value(environ, name)
    if not text.isdecimal() or int(text) < 1:
        message = "must be a whole number of requests a minute, 1 or more"
        raise ConfigError([Problem(file="environment", line=0, key=name, message=message)])
    return int(text)
