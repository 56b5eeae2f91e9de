"""The page about the gateway's doors says what is served, all of it."""

from __future__ import annotations

import re
from pathlib import Path

from unbroken.assemble import engine
from unbroken.config import Config
from unbroken.faces.gateway import Gateway
from unbroken.faces.visitor import Reply
from unbroken.wire import FORMATS, format_named

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gateway.md"
ROWS = re.findall(r"^\| `([A-Z]+) (/\S*)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
UNKNOWN = "is not served here"


def test_every_door_of_a_format_is_in_the_page() -> None:
    """Google's methods once, whatever they are below."""
    doors = {
        (method, re.sub(r"^/v1.*/models/", "/v1beta/models/", path))
        for name in FORMATS
        if (spoken := format_named(name)).read_request is not None
        for path in spoken.paths
        for method in spoken.methods
    }
    assert doors - set(ROWS) == set()


def test_every_row_of_the_page_is_served() -> None:
    """Nothing is promised that is not there: whatever a door says to a body of nothing, it is not that it is none."""
    values = {"providers": {"far": {"base_url": "http://127.0.0.1:9/v1", "model": "x"}}}
    config = Config.from_values({**values, "routes": {"m": {"targets": ["far"], "policy": {}}}}, {})
    gateway = Gateway(config, engine(config))
    for method, path in ROWS:
        if path.startswith(("/prompt", "/image", "/video")):
            continue  # these are asked with their paths alone, and would be answered
        filled = path.replace("{model}", "m").replace("{id}", "video_0")
        answer = gateway.receive(method, filled, headers={}, body=b"no json")
        assert isinstance(answer, Reply), path
        assert (answer.status in (200, 400, 404), UNKNOWN in answer.body.decode()) == (True, False), (method, path)
