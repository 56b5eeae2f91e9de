"""What the tests of the dashboard share: a real Chromium, and an operator who looks through it at a gateway."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, Page, Request, async_playwright

from faces.admin_world import ADMIN_KEY, Site

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDE = (1440, 1000)
PATIENCE_MS = 20_000
"""For what takes milliseconds on a machine that has nothing else to do."""


@dataclass
class Window:
    """A page in Chromium, with all that it asked for and all that it complained about."""

    page: Page
    requests: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def note(self, request: Request) -> None:
        """It asked for something."""
        self.requests.append(request)

    async def open(self, here: Site, key: str = ADMIN_KEY) -> Page:
        """Look at this gateway as its operator."""
        await self.page.goto(f"{here.url}/dashboard")
        await self.page.fill("#key", key)
        await self.page.press("#key", "Enter")
        await self.page.wait_for_selector("#link[data-state=live]")
        await self.page.wait_for_selector("#targetRows .target")
        return self.page

    def state_of(self, target: str) -> str:
        """A selector of the state that is shown for a target."""
        return f".target:has(.opener:text-is('{target}')) .state .mark"

    async def wait_for_state(self, target: str, *states: str) -> None:
        """Until one of these is shown for it."""
        wanted = ", ".join(f"{self.state_of(target)}[data-state={state}]" for state in states)
        await self.page.wait_for_selector(wanted)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a screen; its sandbox wants another user than root."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield started
        finally:
            await started.close()


@asynccontextmanager
async def window(size: tuple[int, int] = WIDE, **options: Any) -> AsyncIterator[Window]:
    """One page of a Chromium of its own."""
    async with browser() as started:
        context = await started.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        context.set_default_timeout(PATIENCE_MS)
        made = Window(await context.new_page())
        made.page.on("request", made.note)
        made.page.on("console", lambda said: made.complaints.append(said.text) if said.type == "error" else None)
        made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
        yield made
