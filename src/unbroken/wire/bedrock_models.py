"""What Bedrock's Converse format leaves to its models: thinking and top_k, each family's in its own words.

    read_more(fields) -> Chat's own words for them, and what is left
    write_more(chat, model=..., unsaid=...) -> fields

They stand in `additionalModelRequestFields`, which Bedrock hands to the model as they are.
An effort becomes the closest word or budget that a family knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from unbroken.types import Chat, Json
from unbroken.wire import Unsaid

__all__ = ["read_more", "write_more"]

Object = dict[str, Any]

_BUDGETS = {"low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 32768}
"""Tokens that come closest to a word for an effort."""
_BUDGET_MIN = 1024
_OF_THREE = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


# -------------------------------------------------------------------------- reading


def read_more(fields: Mapping[str, Json]) -> tuple[Object, Object]:
    """What these fields say in `Chat`'s words, and those of them that say something else."""
    rest = dict(fields)
    known: Object = {}
    for name in ("thinking", "reasoning_config", "reasoningConfig", "reasoning_effort"):
        found = _read_thinking(rest.get(name), effort=_effort_in(rest.get("output_config")))
        if found:
            known.update(found)
            del rest[name]
    effort = _effort_in(rest.get("output_config"))
    if effort and len(rest["output_config"]) == 1:
        known.setdefault("reasoning_effort", effort)
        del rest["output_config"]
    sampling = rest.get("inferenceConfig")
    if type(rest.get("top_k")) is int:
        known["top_k"] = rest.pop("top_k")
    elif isinstance(sampling, dict) and set(sampling) == {"topK"} and type(sampling["topK"]) is int:
        known["top_k"] = rest.pop("inferenceConfig")["topK"]
    return known, rest


def _effort_in(config: Json) -> str:
    effort = config.get("effort") if isinstance(config, dict) else None
    return effort if isinstance(effort, str) else ""


def _read_thinking(value: Json, *, effort: str) -> Object:
    """An effort or a budget, nothing where the value has no shape that we know."""
    if isinstance(value, str):
        return {"reasoning_effort": value}
    if not isinstance(value, dict):
        return {}
    kind, budget, word = value.get("type"), value.get("budget_tokens"), value.get("maxReasoningEffort")
    if kind == "disabled":
        return {"reasoning_effort": "none"}
    if kind == "enabled" and type(budget) is int:
        return {"reasoning_tokens": budget}
    if kind == "enabled" and isinstance(word, str):
        return {"reasoning_effort": word}
    return {"reasoning_effort": effort or "high"} if kind == "adaptive" else {}


# -------------------------------------------------------------------------- writing


class _Wish(NamedTuple):
    """How much thinking is wanted: a word of `_BUDGETS`, the tokens where they were named, and the answer's limit."""

    word: str
    tokens: int | None
    max_tokens: int | None


def _budget(wish: _Wish) -> Object:
    """Claude until its version 4.5: so many tokens, fewer than the whole answer may have."""
    tokens = wish.tokens
    if tokens is None:
        tokens = _BUDGETS[wish.word]
        tokens = tokens if wish.max_tokens is None else min(tokens, wish.max_tokens - 1)
    if tokens < _BUDGET_MIN:
        raise ValueError(f"it takes {_BUDGET_MIN} tokens and more, within the limit of the answer")
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def _adaptive(wish: _Wish) -> Object:
    return {"thinking": {"type": "adaptive"}, "output_config": {"effort": wish.word}}


def _graded(wish: _Wish) -> Object:
    return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": _OF_THREE[wish.word]}}


def _named(wish: _Wish) -> Object:
    return {"reasoning_effort": _OF_THREE[wish.word]}


def _configured(wish: _Wish) -> Object:
    return {"reasoning_config": _OF_THREE[wish.word]}


class _Family(NamedTuple):
    """Models by their ids: how they are told to think, not to think, and to draw from the first k words."""

    ids: str
    think: Callable[[_Wish], Object] | None = None
    rest: Object | None = None
    top_k: Callable[[int], Object] | None = None


def _claude_top_k(k: int) -> Object:
    return {"top_k": k}


def _nova_top_k(k: int) -> Object:
    return {"inferenceConfig": {"topK": k}}


_NO_THINKING: Object = {"thinking": {"type": "disabled"}}
_FAMILIES = (
    _Family(r"claude-(?:3-7|(?:opus|sonnet|haiku)-4-(?:1|5|\d{8})(?!\d))", _budget, _NO_THINKING, _claude_top_k),
    _Family(r"claude-(?:3|v2|instant)", None, {}, _claude_top_k),
    _Family(r"claude", _adaptive, _NO_THINKING, _claude_top_k),
    _Family(r"nova-2", _graded, {"reasoningConfig": {"type": "disabled"}}, _nova_top_k),
    _Family(r"nova-", None, {}, _nova_top_k),
    _Family(r"gpt-oss", _named),
    _Family(r"qwen3", _configured, {}),
    _Family(r""),
)
"""The first whose pattern is found counts; the last is for models whose words we do not know."""


def write_more(chat: Chat, *, model: str, unsaid: Unsaid) -> Object:
    """The fields for a model of this id; what it has no words for is told to `unsaid`."""
    family = next(family for family in _FAMILIES if re.search(family.ids, model))
    fields: Object = {}
    if chat.top_k is not None and family.top_k is not None:
        fields.update(family.top_k(chat.top_k))
    elif chat.top_k is not None:
        unsaid.lack("top_k", f"not for {model}")
    if chat.reasoning_effort is not None:
        fields.update(_write_effort(chat, family, model=model, unsaid=unsaid))
    elif chat.reasoning_tokens is not None and chat.reasoning_tokens >= 0:
        fields.update(_write_tokens(chat, family, model=model, unsaid=unsaid))
    return fields


def _write_effort(chat: Chat, family: _Family, *, model: str, unsaid: Unsaid) -> Object:
    word = "low" if chat.reasoning_effort == "minimal" else chat.reasoning_effort or ""
    wish = _Wish(word, chat.reasoning_tokens or None, chat.max_tokens)
    if word == "none" and family.rest is not None:
        return family.rest
    if word not in _BUDGETS or family.think is None:
        unsaid.lack("reasoning_effort", f"{word} is unknown for {model}")
        return {}
    return _thinking(family, wish, name="reasoning_effort", unsaid=unsaid)


def _write_tokens(chat: Chat, family: _Family, *, model: str, unsaid: Unsaid) -> Object:
    """A budget, which where there is none becomes the word for the largest that is not above it."""
    tokens = chat.reasoning_tokens or 0
    if tokens == 0 and family.rest is not None:
        return family.rest
    if tokens == 0 or family.think is None:
        unsaid.lack("reasoning_tokens", f"not for {model}")
        return {}
    word = next((word for word in ("high", "medium") if tokens >= _BUDGETS[word]), "low")
    return _thinking(family, _Wish(word, tokens, chat.max_tokens), name="reasoning_tokens", unsaid=unsaid)


def _thinking(family: _Family, wish: _Wish, *, name: str, unsaid: Unsaid) -> Object:
    assert family.think is not None
    try:
        return family.think(wish)
    except ValueError as error:
        unsaid.lack(name, str(error))
        return {}
