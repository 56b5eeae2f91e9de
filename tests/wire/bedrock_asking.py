"""What the tests of Bedrock's format ask with: its target, and requests in its words and in others'."""

from __future__ import annotations

import base64
import json
from typing import Any

from unbroken.types import Message, Request, Target, Text
from unbroken.wire.bedrock import read_request, write_request
from wire import asking

__all__ = ["CLAUDE", "PNG", "TARGET", "USER", "asked", "foreign", "written"]

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
TARGET = Target(name="t", provider="b", model=CLAUDE, base_url="https://x.invalid", key="k")
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
USER = Message(role="user", parts=(Text("Hello"),))


def asked(path: str = "/model/m/converse", **fields: Any) -> Request:
    """A request that came in this format."""
    fields.setdefault("messages", [{"role": "user", "content": [{"text": "Hello"}]}])
    request = read_request(path, json.dumps(fields).encode())
    assert isinstance(request, Request), request
    return request


def foreign(*messages: Message, choices: int = 1, **fields: Any) -> Request:
    """A request that came in another format."""
    return asking.foreign(asking.talk(*(messages or (USER,)), **fields), choices=choices)


def written(request: Request, target: Target = TARGET, **options: Any) -> dict[str, Any]:
    """The body that a target is sent."""
    body: dict[str, Any] = json.loads(write_request(request, target, **options).body)
    return body
