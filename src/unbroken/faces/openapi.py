"""The gateway's own paths as an OpenAPI document, served at `/openapi.json` and committed as docs/openapi.json.

Paths and methods are those that the gateway answers at; bodies are described as far as every
caller of a format has to write them, since whatever else a format knows is passed on.

    described(doors)     doors: method, path, and the name of the format or "" for a page
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unbroken import __version__

__all__ = ["described"]

Object = dict[str, Any]

_TEXT: Object = {"type": "string"}
_NAME: Object = {"type": "string", "minLength": 1, "description": "A route, `provider/model`, or `auto`."}
_ANY_OBJECT: Object = {"type": "object"}


def _list(of: Object) -> Object:
    return {"type": "array", "items": of, "minItems": 1}


def _object(*required: str, **properties: Object) -> Object:
    return {"type": "object", "properties": properties, "required": list(required)}


def _turns(*roles: str) -> Object:
    return _list(_object("role", "content", role={"enum": list(roles)}, content=_TEXT))


_PARTS = _list(_object("text", text=_TEXT))
_STREAM: Object = {"type": "boolean"}
_CHAT = _object("model", "messages", model=_NAME, messages=_turns("system", "user", "assistant"), stream=_STREAM)
_UPLOAD = _object("model", "file", model=_NAME, file={"type": "string", "format": "binary"})
_BODIES: Mapping[str, Object] = {
    "openai_chat": _CHAT,
    "openai_responses": _object("model", "input", model=_NAME, input=_TEXT, stream=_STREAM),
    "openai_completions": _object("model", "prompt", model=_NAME, prompt=_TEXT, stream=_STREAM),
    "openai_embeddings": _object("model", "input", model=_NAME, input={"anyOf": [_TEXT, _list(_TEXT)]}),
    "openai_images": _object("model", "prompt", model=_NAME, prompt=_TEXT),
    "openai_audio": _object("model", "input", "voice", model=_NAME, input=_TEXT, voice=_TEXT),
    "anthropic": _object(
        "model", "max_tokens", "messages", model=_NAME, max_tokens={"type": "integer", "minimum": 1},
        messages=_turns("user", "assistant"), stream=_STREAM,
    ),
    "ollama": _CHAT,
    "ollama_embeddings": _object("model", "input", model=_NAME, input={"anyOf": [_TEXT, _list(_TEXT)]}),
    "cohere": _CHAT,
    "cohere_embeddings": _object("model", "texts", model=_NAME, texts=_list(_TEXT)),
    "gemini": _object("contents", contents=_list(_object("parts", role={"enum": ["user", "model"]}, parts=_PARTS))),
    "gemini_media": _ANY_OBJECT,
    "bedrock": _object(
        "messages", messages=_list(_object("role", "content", role={"enum": ["user", "assistant"]}, content=_PARTS))
    ),
    "huggingface": _object("inputs", inputs=_TEXT),
}  # fmt: skip
"""What callers of a format write at least."""
_UPLOADS = ("/v1/images/edits", "/v1/audio/transcriptions", "/v1/audio/translations")
"""Where files are sent, as forms."""
_PAGE_BODIES: Mapping[str, Object] = {
    "/v1/videos": _object("model", "prompt", model=_NAME, prompt=_TEXT),
    "/v1/messages/count_tokens": _object("model", "messages", model=_NAME, messages=_turns("user", "assistant")),
    "/api/generate": _object("model", "prompt", model=_NAME, prompt=_TEXT, stream=_STREAM),
    "/api/embeddings": _object("model", "prompt", model=_NAME, prompt=_TEXT),
    "/api/show": _object("model", model=_NAME),
    "/api/pull": _object("model", model=_NAME),
    "/admin/targets/{name}/health": _object(word={"type": "boolean"}),
    "/admin/routes/{name}/strategy": _object("strategy", strategy=_TEXT),
    "/admin/breakers/{scope}": _object("open", open={"type": ["boolean", "null"]}),
}
_TAGS = (
    ("/admin", "operators"),
    ("/dashboard", "dashboard"),
    ("/v1beta", "gemini"),
    ("/api/", "ollama"),
    ("/v1/messages", "anthropic"),
    ("/v1/", "openai"),
)
"""Whose page it is, by where it lies."""
_OPEN = ("/", "/health", "/healthz", "/readyz", "/openapi.json")
_FAILURES: Mapping[str, str] = {
    "4XX": "The caller's: 400 it cannot be understood or done, 401 no key of this gateway was shown, 403 the key is "
    "not good for this, 404 there is no such model or nothing here, 405 another method is answered here, 413 the body "
    "is too large, 422 a provider found fault with it, 429 a limit or a budget is reached and `Retry-After` says when "
    "to come back.",
    "5XX": "Ours, or the providers': 500 the gateway has a defect, 502 no target answered well, 503 nobody has room or "
    "everybody is ill (`Retry-After` says when to come back), 504 no target answered in time.",
}


def described(doors: Iterable[tuple[str, str, str]]) -> Object:
    """The document, OpenAPI 3.1."""
    paths: dict[str, Object] = {}
    for method, path, spoken in doors:
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, spoken=spoken)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "unbroken",
            "version": __version__,
            "description": "A gateway that keeps AI calls answered when providers fail. Each format's callers are "
            "answered in its own words; what their own documentation says of fields holds here.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                **{name: {"type": "apiKey", "in": "header", "name": name} for name in ("x-api-key", "x-goog-api-key")},
                "operator": {"type": "http", "scheme": "bearer", "description": "One of `server.admin_keys`."},
            },
            "responses": {f"failure-{status}": _failure(said) for status, said in _FAILURES.items()},
        },
    }


def _operation(method: str, path: str, *, spoken: str) -> Object:
    body = _body(method, path, spoken=spoken)
    names = re.findall(r"\{(\w+)\}", path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]
    return {
        "operationId": method.lower() + re.sub(r"[^A-Za-z0-9]+", "_", path),
        "tags": [spoken or next((tag for place, tag in _TAGS if path.startswith(place)), "gateway")],
        "parameters": parameters,
        **({"requestBody": body} if body else {}),
        "responses": {
            "200": {"description": "The answer.", "content": {"*/*": {}}},
            **{status: {"$ref": f"#/components/responses/failure-{status}"} for status in _FAILURES},
        },
        "security": _security(path),
    }


def _body(method: str, path: str, *, spoken: str) -> Object | None:
    if method != "POST":
        return None
    if path in _UPLOADS:
        form = _UPLOAD if "audio" in path else _object(
            "model", "prompt", "image", model=_NAME, prompt=_TEXT, image={"type": "string", "format": "binary"}
        )  # fmt: skip
        return {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    schema = _BODIES.get(spoken) or _PAGE_BODIES.get(path) or _ANY_OBJECT
    return {"required": "required" in schema, "content": {"application/json": {"schema": schema}}}


def _security(path: str) -> Sequence[Object]:
    if path.startswith("/admin/"):
        return [{"operator": []}]
    if path in _OPEN or path.startswith("/dashboard"):
        return []
    return [{"bearer": []}, {"x-api-key": []}, {"x-goog-api-key": []}]


def _failure(said: str) -> Object:
    return {
        "description": said,
        "headers": {"x-request-id": {"schema": _TEXT}},
        "content": {"application/json": {"schema": _ANY_OBJECT}},
    }
