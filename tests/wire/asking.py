"""Requests for the tests of wire formats, as they come from callers of another format."""

from __future__ import annotations

from typing import Any

from unbroken.types import Chat, Message, Request, Source, Text

__all__ = ["foreign", "talk"]


def talk(*messages: Message, **fields: Any) -> Chat:
    """A conversation; a greeting where no message is given."""
    return Chat(messages=messages or (Message(role="user", parts=(Text("hello"),)),), **fields)


def foreign(chat: Chat, **more: Any) -> Request:
    """A request for its answer that came in another format."""
    return Request(model="m", source=Source("elsewhere", {}), read=lambda: chat, **more)
