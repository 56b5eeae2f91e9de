"""Conversations in Anthropic's Messages format, both ways: everything around the messages.

    read_chat(fields) -> Chat                   a caller's body, for a target of another format
    write_chat(chat, target, ...) -> fields     a conversation, for a target of this one

`Target.options` knows these words here:

    version      of the API, as `anthropic-version` says it; from 2026-10-21 on it has no temperature
    max_tokens   the limit of an answer whose caller named none
    thinking     `budget` or `adaptive`: how a model is told to think, if its name does not say
    system       `inline` where system messages may stand between the turns

Anthropic counts thoughts among the tokens of an answer and wants a limit for them all, so a
budget for thinking is kept below it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from unbroken.types import Chat, Json, Target, Tool
from unbroken.wire import Unsaid
from unbroken.wire.anthropic_messages import Blocks, says_nothing, write_messages, wrong
from unbroken.wire.asked import decoded

__all__ = ["MAX_TOKENS", "VERSION", "read_chat", "version_of", "write_chat"]

VERSION = "2023-06-01"
"""The API's version unless the target names one.

It takes all that the next one (2026-10-21) takes and sampling parameters besides, and is the
only one that other servers of this format know.
"""
MAX_TOKENS = 8192
"""The limit of an answer whose caller named none, because the format demands one.

Each of Anthropic's current models can give so much, and few answers are longer.
"""
_WITHOUT_SAMPLING = "2026-10-21"
_BUDGET_MIN = 1024
"""Tokens; Anthropic takes no smaller budget for thinking."""
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 65536}
_EFFORTS = ((0, "none"), (1024, "low"), (8192, "medium"), (24576, "high"))
"""The least budget that comes closest to a word for it, as in the OpenAI chat format."""
_TIERS = {"auto": "auto", "standard_only": "default"}
"""Anthropic's words for how soon to answer, and OpenAI's."""
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_HINTS = ("cache_control", "diagnostics", "speed", "user_profile_id", "workspace_id")
"""Fields that change no answer, beside `metadata` and `service_tier`."""
_TOOL = frozenset(("name", "description", "input_schema", "strict", "type"))
_TOOL_MARKS = ("cache_control", "eager_input_streaming")
_OF_TOOLS = "tools[]."
"""What begins the name of an extra that stands in single tools; its value is theirs by their names."""
_DEFERRED = f"{_OF_TOOLS}defer_loading"
"""The hint that holds which tools the model is told of only when it looks for them: elsewhere it knows them at once."""
_OF_REQUEST = frozenset(("model", "stream"))

Object = dict[str, Any]


def version_of(target: Target) -> str:
    """The API's version that this target is asked in."""
    return target.options.get("version") or VERSION


# -------------------------------------------------------------------------- reading


def read_chat(fields: Mapping[str, bytes]) -> Chat:
    """The conversation in a body's raw fields; ValueError names the field that has the wrong shape."""
    body = decoded(fields, but=_OF_REQUEST)
    body = {name: value for name, value in body.items() if value is not None}
    blocks = Blocks()
    messages = (*blocks.system(body.pop("system", None)), *blocks.turns(body.pop("messages", None)))
    known: Object = {
        "max_tokens": _taken(body, "max_tokens", int),
        "temperature": _taken(body, "temperature", int, float),
        "top_p": _taken(body, "top_p", int, float),
        "top_k": _taken(body, "top_k", int),
        "stop": _strings(_taken(body, "stop_sequences", list) or []),
    }
    hints: Object = {name: body.pop(name) for name in _HINTS if name in body}
    _read_metadata(body, hints)
    tools, extras = _read_tools(_taken(body, "tools", list) or [], blocks.marks)
    if _DEFERRED in extras:
        hints[_DEFERRED] = extras.pop(_DEFERRED)
    if _clears_thoughts(body.get("context_management")):
        hints["context_management"] = body.pop("context_management")
    known |= _read_choice(body)
    known |= _read_output(body)
    _read_thinking(body, known, hints=hints)
    return Chat(messages=messages, tools=tools, extras={**body, **extras}, hints={**hints, **blocks.marks}, **known)


def _taken(body: Object, name: str, *kinds: type) -> Json:
    """A field, taken out of the body; ValueError where it is of none of these kinds."""
    value = body.pop(name, None)
    if value is None or (isinstance(value, kinds) and not isinstance(value, bool)):
        return value
    raise wrong(name, f"must be {' or '.join(_WORDS[kind] for kind in kinds)}")


_WORDS = {str: "a string", list: "an array", dict: "an object", int: "an integer", float: "a number"}


def _strings(values: list[Json]) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise wrong("stop_sequences", "must be an array of strings")
    return tuple(values)


def _clears_thoughts(management: Json) -> bool:
    """Whether nothing but thoughts of earlier turns is left out, which no other provider is told anyway."""
    edits = management.get("edits") if isinstance(management, dict) and management.keys() == {"edits"} else None
    kinds = [edit.get("type") if isinstance(edit, dict) else None for edit in edits or []]
    return isinstance(edits, list) and all(str(kind).startswith("clear_thinking_") for kind in kinds)


def _read_metadata(body: Object, hints: Object) -> None:
    """Whose request it is and how soon it is wanted, in OpenAI's words."""
    metadata = dict(_taken(body, "metadata", dict) or {})
    if user := metadata.pop("user_id", None):
        hints["user"] = user
    if metadata:
        hints["metadata"] = metadata
    if tier := _taken(body, "service_tier", str):
        hints["service_tier"] = _TIERS.get(tier, tier)


def _read_tools(tools: list[Json], marks: dict[str, bool]) -> tuple[tuple[Tool, ...], Object]:
    """Tools that the caller runs, and the extras: what stands besides in them, and the tools that Anthropic runs."""
    mine: list[Tool] = []
    extras: Object = {}
    for i, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise wrong(f"tools[{i}]", "must be an object")
        if tool.get("type", "custom") not in (None, "custom"):
            extras.setdefault("tools", []).append(tool)
            continue
        if not isinstance(tool.get("name"), str):
            raise wrong(f"tools[{i}].name", "must be a string")
        mine.append(_read_tool(tool))
        for name, value in tool.items():
            if name in _TOOL_MARKS and value:
                marks[_OF_TOOLS + name] = True
            elif name not in _TOOL and not says_nothing(value):
                extras.setdefault(_OF_TOOLS + name, {})[tool["name"]] = value
    return tuple(mine), extras


def _read_tool(tool: Object) -> Tool:
    strict = tool.get("strict")
    return Tool(
        name=tool["name"],
        description=str(tool.get("description") or ""),
        parameters=tool.get("input_schema"),
        strict=strict if isinstance(strict, bool) else None,
    )


def _read_choice(body: Object) -> Object:
    choice = body.get("tool_choice")
    if not isinstance(choice, dict):
        return {}
    kind, name, alone = choice.get("type"), choice.get("name"), choice.get("disable_parallel_tool_use")
    known: Object = {"parallel_calls": not alone} if isinstance(alone, bool) else {}
    if kind == "tool" and isinstance(name, str):
        known["tool_choice"] = {"name": name}
    elif isinstance(kind, str) and kind in _CHOICES:
        known["tool_choice"] = _CHOICES[kind]
    else:
        return {}
    del body["tool_choice"]
    return known


def _read_output(body: Object) -> Object:
    """The schema of `output_config.format` (`output_format`, as it was called in its beta), and the effort."""
    config = dict(_taken(body, "output_config", dict) or {})
    form = config.get("format") or body.get("output_format")
    known: Object = {}
    if isinstance(form, dict) and form.get("type") == "json_schema" and isinstance(form.get("schema"), dict):
        known["schema"] = form["schema"]
        config.pop("format", None)
        body.pop("output_format", None)
    if isinstance(config.get("effort"), str):
        known["reasoning_effort"] = config.pop("effort")
    config = {name: value for name, value in config.items() if value is not None}
    if config:
        body["output_config"] = config
    return known


def _read_thinking(body: Object, known: Object, *, hints: Object) -> None:
    """How to think; without a word for how much, a model that decides that itself does it with high effort."""
    thinking = body.get("thinking")
    thinking = thinking if isinstance(thinking, dict) else {}
    match thinking.get("type"):
        case "enabled" if type(thinking.get("budget_tokens")) is int:
            known["reasoning_tokens"] = thinking["budget_tokens"]
        case "disabled":
            if effort := known.get("reasoning_effort"):
                hints["output_config.effort"] = effort
            known["reasoning_effort"] = "none"
        case "adaptive":
            known.setdefault("reasoning_effort", "high")
        case _:
            return
    if display := thinking.get("display"):
        hints["thinking.display"] = display
    del body["thinking"]


# -------------------------------------------------------------------------- writing


def write_chat(chat: Chat, target: Target, *, unsaid: Unsaid, own: bool) -> Object:
    """A conversation as fields of a body; ValueError where this format cannot say it.

    With `own` the conversation is one of this format's own, and its extras and hints are
    written as well; otherwise they came from another format.
    """
    inline = target.options.get("system") == "inline"
    system, turns = write_messages(chat.messages, unsaid=unsaid, own=own, inline=inline)
    _tell_unsaid(chat, unsaid, own=own)
    more = {**chat.extras, _DEFERRED: chat.hints.get(_DEFERRED, {})} if own else {}
    thinking = _write_thinking(chat, target, unsaid=unsaid)
    body: Object = {
        "system": system[0]["text"] if len(system) == 1 and system[0].keys() == {"type", "text"} else system,
        "messages": turns,
        "tools": _write_tools(chat.tools, more),
        "max_tokens": thinking.pop("max_tokens", None) or _limit(chat, target),
        "stop_sequences": list(chat.stop),
        **_write_sampling(chat, target, unsaid=unsaid, thinks=thinking.get("thinking", _OFF) != _OFF),
        **thinking,
        **_write_hints(chat, unsaid, own=own),
    }
    body["tool_choice"] = _write_choice(chat, unsaid, tools=bool(body["tools"]))
    form = _write_schema(chat.schema, target, unsaid=unsaid)
    body["output_config"] = {**body.get("output_config", {}), **form, **more.pop("output_config", {})}
    return {**{name: value for name, value in body.items() if value not in (None, [], {})}, **more}


_OFF = {"type": "disabled"}


def _limit(chat: Chat, target: Target) -> int:
    """The limit of the answer; ValueError where the target's own is no number."""
    return chat.max_tokens if chat.max_tokens is not None else int(target.options.get("max_tokens") or MAX_TOKENS)


def _tell_unsaid(chat: Chat, unsaid: Unsaid, *, own: bool) -> None:
    """What has no word here."""
    if chat.seed is not None:
        unsaid.lack("seed")
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(chat, name):
            unsaid.lack(name)
    if any(not stop.strip() for stop in chat.stop):
        unsaid.lack("stop", "it cannot be white space alone")
    if chat.schema_name:
        unsaid.hint("schema_name")
    if not own:
        for name in chat.extras:
            unsaid.lack(name)


# ------------------------------------------------------------------- thinking, chance

_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d+)(?:[-.](\d{1,2})(?!\d))?")
_ANSWER_TOKENS = 4096
"""What is left for the answer beside a budget for thinking, where the caller set no limit."""


def _decides_itself(target: Target) -> bool:
    """Whether the model is told how hard to think, not how many tokens it may take for that.

    Claude 4.6 was the first; other servers of this format know only budgets.
    """
    if word := target.options.get("thinking"):
        return word == "adaptive"
    found = _CLAUDE.search(target.model)
    return found is not None and (int(found[1]), int(found[2] or 0)) >= (4, 6)


def _write_thinking(chat: Chat, target: Target, *, unsaid: Unsaid) -> Object:
    effort, tokens = chat.reasoning_effort, chat.reasoning_tokens
    if effort is None and tokens is None:
        return {}
    if effort == "none" or (effort is None and tokens == 0):
        return {"thinking": dict(_OFF)}
    forced = chat.tool_choice not in (None, "auto", "none")
    if not _decides_itself(target):
        return _write_budget(chat, target, unsaid=unsaid, forced=forced)
    effort = "low" if effort == "minimal" else effort or _effort_of(tokens)
    config: Object = {"output_config": {"effort": effort}} if effort else {}
    # A model that is made to call a tool does not think, but still takes effort.
    return config if forced else {"thinking": {"type": "adaptive"}, **config}


def _effort_of(tokens: int | None) -> str | None:
    """The word that comes closest to a budget; none for a negative one, which leaves it to the model."""
    if tokens is None or tokens < 0:
        return None
    return [word for least, word in _EFFORTS if tokens >= least][-1].replace("none", "low")


def _write_budget(chat: Chat, target: Target, *, unsaid: Unsaid, forced: bool) -> Object:
    """A budget below the limit of the answer, which counts the thoughts as well."""
    name = "reasoning_effort" if chat.reasoning_tokens is None else "reasoning_tokens"
    tokens = chat.reasoning_tokens
    if tokens is None or tokens < 0:
        tokens = _BUDGETS.get(chat.reasoning_effort or "", _BUDGETS["medium"])
    if chat.max_tokens is not None and (chat.reasoning_tokens is None or tokens >= chat.max_tokens):
        tokens = min(tokens, chat.max_tokens // 2)
    if forced or tokens < _BUDGET_MIN:
        why = "a model that is made to call a tool" if forced else f"with less than {_BUDGET_MIN} tokens for it a model"
        unsaid.lack(name, f"{why} does not think")
        return {}
    thinking: Object = {"thinking": {"type": "enabled", "budget_tokens": tokens}}
    if chat.max_tokens is None:
        thinking["max_tokens"] = max(_limit(chat, target), tokens + _ANSWER_TOKENS)
    if chat.reasoning_tokens is not None and chat.reasoning_effort is not None:
        thinking["output_config"] = {"effort": chat.reasoning_effort}
    return thinking


def _write_sampling(chat: Chat, target: Target, *, unsaid: Unsaid, thinks: bool) -> Object:
    """How much is left to chance."""
    body: Object = {}
    for name in ("temperature", "top_p", "top_k"):
        value = getattr(chat, name)
        if value is None or _is_default(name, chat, target=target):
            continue
        if version_of(target) >= _WITHOUT_SAMPLING:
            unsaid.lack(name, f"version {version_of(target)} has none")
        elif name == "temperature" and not 0 <= value <= 1:
            unsaid.lack(name, "it goes from 0 to 1")
        elif thinks and value != 1 and not (name == "top_p" and value >= _TOP_P_THINKING_MIN):
            unsaid.lack(name, "a model that thinks takes none")
        else:
            body[name] = value
    return body


def _is_default(name: str, chat: Chat, *, target: Target) -> bool:
    """Whether a value says what happens anyway and is refused all the same.

    Claude takes one of temperature and top_p, newer ones no top_p at all, and the API from its
    second version on neither.
    """
    if name == "top_k":
        return chat.top_k in (0, -1)
    if getattr(chat, name) != 1:
        return False
    crowded = name == "top_p" or chat.top_p not in (None, 1)
    return version_of(target) >= _WITHOUT_SAMPLING or (crowded and _CLAUDE.search(target.model) is not None)


_TOP_P_THINKING_MIN = 0.95


# ------------------------------------------------------------------- tools, schema, hints


def _write_tools(tools: tuple[Tool, ...], more: Object) -> list[Object]:
    """The caller's tools, then Anthropic's; what the extras say of single tools is put back."""
    written = [_write_tool(tool) for tool in tools]
    for name in [name for name in more if name.startswith(_OF_TOOLS)]:
        values = more.pop(name)
        for tool in written:
            if tool["name"] in values:
                tool[name.removeprefix(_OF_TOOLS)] = values[tool["name"]]
    return written + list(more.pop("tools", []))


def _write_tool(tool: Tool) -> Object:
    described = {"description": tool.description} if tool.description else {}
    strict = {} if tool.strict is None else {"strict": tool.strict}
    schema = {"type": "object", "properties": {}} if tool.parameters is None else tool.parameters
    return {"name": tool.name, **described, "input_schema": schema, **strict}


def _write_choice(chat: Chat, unsaid: Unsaid, *, tools: bool) -> Object | None:
    """Which tool to call; how many at once is a part of it."""
    choice, parallel = chat.tool_choice, chat.parallel_calls
    if choice is None and parallel is None:
        return None
    if not tools:
        if choice not in (None, "auto", "none"):
            unsaid.lack("tool_choice", "there are no tools")
        unsaid.hint(*(["parallel_tool_calls"] if parallel is not None else []))
        return None
    if choice == "none":
        return {"type": "none"}
    alone = {} if parallel is None else {"disable_parallel_tool_use": not parallel}
    if choice is not None and not isinstance(choice, str):
        return {"type": "tool", "name": choice["name"], **alone}
    return {"type": "any" if choice == "required" else "auto", **alone}


def _write_schema(schema: Mapping[str, Json] | None, target: Target, *, unsaid: Unsaid) -> Object:
    if schema is None:
        return {}
    if not schema:
        unsaid.lack("schema", "it gives JSON only by one, and none was given")
        return {}
    form = _closed(schema) if _CLAUDE.search(target.model) else schema
    return {"format": {"type": "json_schema", "schema": form}}


def _closed(schema: Json) -> Json:
    """A schema whose objects take no fields but their own: Claude takes no other.

    What obeys it obeys the caller's too.
    """
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: inner if name in _VALUES else _closed(inner) for name, inner in schema.items()}
    if schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


_VALUES = frozenset(("const", "default", "enum", "examples"))
"""What holds values in a schema, not schemas."""


def _write_hints(chat: Chat, unsaid: Unsaid, *, own: bool) -> Object:
    """What changes no answer, as far as there are words for it."""
    left = dict(chat.hints)
    user = left.pop("user", None) or left.pop("safety_identifier", None)
    metadata: Object = {"user_id": user} if isinstance(user, str) else {}
    written: Object = {}
    if own:
        metadata.update(left.pop("metadata", {}))
        left.pop(_DEFERRED, None)  # is written with the tools
        written = {name: left.pop(name) for name in (*_HINTS, "context_management") if name in left}
    for mine, word in _TIERS.items():
        if left.get("service_tier") == word:
            written["service_tier"] = mine
            del left["service_tier"]
    unsaid.hint(*left)
    return {"metadata": metadata, **written}
