"""What there is to choose from, as each face's clients ask: routes, aliases, then each target by its own name.

    /v1/models              OpenAI's shape; Anthropic's for who sends `anthropic-version`, Google's with its key header
    /v1beta/models          Google's
    /api/tags, show, ps     Ollama's, with /api/version and /api/pull, which its tools ask before they ask a model

When a model was made and how large its file is nobody knows here: times are 1970, sizes 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec

from unbroken.config import Config
from unbroken.faces.pages import Call, Page, json_reply
from unbroken.faces.visitor import Reply
from unbroken.failures import Failure, FailureKind
from unbroken.keys import Holder
from unbroken.types import Json, Target, Task

__all__ = ["OLLAMA_VERSION", "Listed", "Lists", "listed", "no_model"]

OLLAMA_VERSION = "0.13.5"
"""The release of Ollama whose API is spoken here: its tools refuse a server that seems too old."""
UNKNOWN_TIME = "1970-01-01T00:00:00Z"
NEVER = "2318-01-01T00:00:00Z"
"""How Ollama says that a model stays loaded."""
ANTHROPIC_PAGE, GEMINI_PAGE, PAGE_MAX = 20, 50, 1000
"""How many models a page has where the caller does not say, as at Anthropic and Google, and at most."""

Object = dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A name that a request may give, and what is known of whoever answers to it."""

    id: str
    owner: str
    context_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()
    tasks: frozenset[Task] = frozenset(Task)


def listed(config: Config) -> Iterator[Listed]:
    """All names: routes, other names for them, targets."""
    for name in (*config.routes, *config.aliases):
        if (route := config.resolve(name)) is not None:
            yield _listed(name, route.targets, owner="unbroken")
    by_name: dict[str, list[Target]] = {}
    for target in config.targets:
        by_name.setdefault(f"{target.provider}/{target.model}", []).append(target)
    for name in sorted(by_name.keys() - config.routes.keys() - config.aliases.keys()):
        yield _listed(name, by_name[name], owner=name.partition("/")[0])


def _listed(name: str, targets: Sequence[Target], *, owner: str) -> Listed:
    """What the first one that says so holds is how long a prompt may be; what any of them can do can be done."""
    unknown = any(not target.capabilities for target in targets)
    able: frozenset[str] = frozenset().union(*(target.capabilities for target in targets))
    return Listed(
        id=name,
        owner=owner,
        context_tokens=next((t.context_tokens for t in targets if t.context_tokens), None),
        capabilities=able | ({"tools", "vision"} if unknown else set()),
        tasks=frozenset[Task]().union(*(target.tasks for target in targets)),
    )


def no_model(name: str) -> Failure:
    """The failure of asking for a model that is not listed."""
    message = f"The model {name[:100]!r} is no route or target of this gateway; GET /v1/models lists them."
    return Failure(kind=FailureKind.REQUEST, message=message, status=404, code="model_not_found", param="model")


class Lists:
    """The pages that list models."""

    def __init__(self, config: Config) -> None:
        self._all = tuple(listed(config))
        self._by_id = {model.id: model for model in self._all}

    def pages(self) -> list[Page]:
        """Those of every face."""
        one, many = self._one, self._many
        return [
            Page(method="GET", path="/v1/models", answer=many),
            Page(method="GET", path="/v1/models/{model}", answer=one),
            Page(method="GET", path="/v1beta/models", answer=many),
            Page(method="GET", path="/v1beta/models/{model}", answer=one),
            Page(method="GET", path="/api/tags", answer=self._tags),
            Page(method="GET", path="/api/ps", answer=self._loaded),
            Page(method="GET", path="/api/version", answer=_version),
            Page(method="POST", path="/api/show", answer=self._show),
            Page(method="POST", path="/api/pull", answer=self._pull),
        ]

    def found(self, name: str, holder: Holder) -> Listed | None:
        """The model of this name, which Ollama's tools may give a tag; None where there is none for this caller."""
        model = self._by_id.get(name) or self._by_id.get(name.removesuffix(":latest"))
        return model if model is not None and _is_for(holder, model) else None

    def _seen(self, call: Call) -> Sequence[Listed]:
        """Those that the caller's key may be used for."""
        return [m for m in self._all if _is_for(call.holder, m)] if call.holder.limited else self._all

    # -- OpenAI, Anthropic, Google

    def _many(self, call: Call) -> Reply:
        return json_reply(call, _MANY.get(call.spoken.name, _openai_list)(self._seen(call), call.query))

    def _one(self, call: Call) -> Reply | Failure:
        name = unquote(call.values["model"]).removeprefix("models/")
        model = self.found(name, call.holder)
        return no_model(name) if model is None else json_reply(call, _ONE.get(call.spoken.name, _openai)(model))

    # -- Ollama

    def _tags(self, call: Call) -> Reply:
        return json_reply(call, {"models": [_tag(model) for model in self._seen(call)]})

    def _loaded(self, call: Call) -> Reply:
        """All of them: none has to be loaded first."""
        more = {"expires_at": NEVER, "size_vram": 0}
        models = [_tag(m) | more | {"context_length": m.context_tokens or 0} for m in self._seen(call)]
        return json_reply(call, {"models": models})

    def _show(self, call: Call) -> Reply | Failure:
        model = self._named(call)
        if isinstance(model, Failure):
            return model
        info: Object = {"general.architecture": "unbroken", "general.basename": model.id}
        if model.context_tokens:
            info["unbroken.context_length"] = model.context_tokens
        tag = _tag(model)
        shown = {"license": "", "modelfile": f"FROM {model.id}", "parameters": "", "template": "{{ .Prompt }}"}
        shown |= {name: tag[name] for name in ("details", "modified_at")}
        return json_reply(call, shown | {"model_info": info, "capabilities": list(_abilities(model))})

    def _pull(self, call: Call) -> Reply | Failure:
        """What is listed is there already."""
        model = self._named(call)
        return model if isinstance(model, Failure) else json_reply(call, {"status": "success"})

    def _named(self, call: Call) -> Listed | Failure:
        try:
            asked = msgspec.json.decode(call.body, type=_Asked)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return Failure(kind=FailureKind.REQUEST, message="The body must be a JSON object that names a model.")
        name = asked.model or asked.name
        model = self.found(name, call.holder)
        return no_model(name) if model is None else model


def _is_for(holder: Holder, model: Listed) -> bool:
    return holder.may_name(model.id) and holder.may_do(model.tasks)


class _Asked(msgspec.Struct):
    model: str = ""
    name: str = ""


def _version(call: Call) -> Reply:
    return json_reply(call, {"version": OLLAMA_VERSION})


# ------------------------------------------------------------------------- OpenAI's shape


def _openai(model: Listed) -> Object:
    return {"id": model.id, "object": "model", "created": 0, "owned_by": model.owner}


def _openai_list(models: Iterable[Listed], _query: Mapping[str, str]) -> Object:
    return {"object": "list", "data": [_openai(model) for model in models]}


# ---------------------------------------------------------------------- Anthropic's shape


def _anthropic(model: Listed) -> Object:
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.id,
        "created_at": UNKNOWN_TIME,
        "lifecycle": "active",
        "max_input_tokens": model.context_tokens,
    }


def _anthropic_list(models: Sequence[Listed], query: Mapping[str, str]) -> Object:
    """A page behind `after_id`, or the one before `before_id`."""
    names, size = [model.id for model in models], _number(query.get("limit"), ANTHROPIC_PAGE)
    begin, end = 0, len(names)
    if (after := query.get("after_id")) in names:
        begin = names.index(str(after)) + 1
    if (before := query.get("before_id")) in names:
        end = names.index(str(before))
        page, more = models[max(begin, end - size) : end], end - size > begin
    else:
        page, more = models[begin : begin + size], begin + size < end
    return {
        "data": [_anthropic(model) for model in page],
        "has_more": more,
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


# ------------------------------------------------------------------------- Google's shape


def _gemini(model: Listed) -> Object:
    verbs = {Task.CHAT: ("generateContent", "streamGenerateContent", "countTokens"), Task.EMBEDDING: ("embedContent",)}
    return {
        "name": f"models/{model.id}",
        "version": "1",
        "displayName": model.id,
        **({"inputTokenLimit": model.context_tokens} if model.context_tokens else {}),
        "supportedGenerationMethods": [verb for task in verbs if task in model.tasks for verb in verbs[task]],
    }


def _gemini_list(models: Sequence[Listed], query: Mapping[str, str]) -> Object:
    """A page; its token is where the next one begins."""
    begin, size = _number(query.get("pageToken"), 0), _number(query.get("pageSize"), GEMINI_PAGE)
    page = [_gemini(model) for model in models[begin : begin + size]]
    more = begin + size < len(models)
    return {"models": page, **({"nextPageToken": str(begin + size)} if more else {})}


def _number(said: str | None, otherwise: int) -> int:
    return min(int(said), PAGE_MAX) if said and said.isdecimal() and len(said) < 9 and int(said) else otherwise


_MANY = {"anthropic": _anthropic_list, "gemini": _gemini_list}
_ONE = {"anthropic": _anthropic, "gemini": _gemini}


# ------------------------------------------------------------------------- Ollama's shape


def _tag(model: Listed) -> Object:
    details = {
        "parent_model": "", "format": "", "family": "unbroken", "families": ["unbroken"], "parameter_size": "",
        "quantization_level": "",
    }  # fmt: skip
    return {
        "name": model.id,
        "model": model.id,
        "modified_at": UNKNOWN_TIME,
        "size": 0,
        "digest": hashlib.sha256(model.id.encode()).hexdigest(),
        "details": details,
    }


_WORDS = {"tools": "tools", "vision": "vision", "reasoning": "thinking"}
"""Our names for what a model can do, and Ollama's."""


def _abilities(model: Listed) -> Iterator[str]:
    if Task.CHAT in model.tasks:
        yield "completion"
        yield from (word for name, word in _WORDS.items() if name in model.capabilities)
    elif Task.EMBEDDING in model.tasks:
        yield "embedding"
