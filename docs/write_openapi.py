"""Writes docs/openapi.json, the gateway's own paths: make openapi."""

from __future__ import annotations

import json
from pathlib import Path

from unbroken.assemble import engine
from unbroken.config import Config
from unbroken.faces.gateway import Gateway
from unbroken.faces.openapi import described

DOCUMENT = Path(__file__).with_name("openapi.json")


def text() -> str:
    """The document of a gateway without any configuration: paths depend on none."""
    config = Config.from_env({})
    return json.dumps(described(Gateway(config, engine(config)).doors()), indent=1) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(text(), encoding="utf-8")
    print(DOCUMENT.name)
