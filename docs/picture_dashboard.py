"""Draws docs/dashboard/*.png: the real dashboard, in Chromium, over a gateway whose providers fail.

    python docs/picture_dashboard.py [SECONDS]

Callers ask for so many seconds while one provider fails for a while, one breaks off in the
middle of streams, one is at its limit and one is taken out by the operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import openai
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from unbroken.config import load
from unbroken.faces.cli.demo import gateway_at
from unbroken.faces.cli.remote import Gateway as Operator
from unbroken.testing import Cut, FakeProvider, Speed, Status

FOLDER = Path(__file__).parent / "dashboard"
KEY = "operator-of-the-picture"
CALLERS, PAUSE_S = 7, 1.1
COLOURS = 128
"""A page has few; so it stays small."""
SPEEDS: Mapping[str, Speed] = {
    "alder": Speed(first_token_s=0.25, tokens_per_s=160),
    "birch": Speed(first_token_s=0.4, tokens_per_s=110),
    "cedar": Speed(first_token_s=0.9, tokens_per_s=70),
    "dogwood": Speed(first_token_s=0.15, tokens_per_s=260),
    "elm": Speed(first_token_s=0.6, tokens_per_s=90),
}
ROUTES: Mapping[str, Sequence[str]] = {
    "chat": ("alder/oak-large", "birch/oak-large", "cedar/oak-large", "elm/oak-large"),
    "fast": ("dogwood/oak-small", "alder/oak-small", "birch/oak-small"),
}
PICTURES: Mapping[str, tuple[Literal["light", "dark"], tuple[int, int], float]] = {
    "light": ("light", (1440, 960), 1.0),
    "dark": ("dark", (1440, 960), 1.0),
    "timeline": ("light", (1100, 620), 1.0),
    "phone": ("light", (360, 780), 1.5),
    "phone-dark": ("dark", (360, 780), 1.5),
}
"""Of each picture the colours, the size of the window, and how fine it is."""


def document(fakes: Sequence[FakeProvider]) -> dict[str, Any]:
    """The configuration, as a user would write it."""
    return {
        "server": {"admin_keys": [KEY]},
        "providers": {
            fake.name: {
                "base_url": fake.base_url, "key": f"sk-{fake.name}", "model": "oak-large",
                "price": {"input_usd": 2.5, "output_usd": 10.0},
                "limits": {"requests_per_min": 400 if fake.name == "dogwood" else 2000},
            }
            for fake in fakes
        },
        "routes": {name: {"targets": list(targets)} for name, targets in ROUTES.items()},
        "budgets": [{"usd_per_day": 5}, {"usd_per_day": 0.5, "route": "fast", "then": "downgrade"}],
    }  # fmt: skip


async def ask(client: Any, until: float) -> None:
    """A caller who asks again and again."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        with contextlib.suppress(openai.OpenAIError):
            words = [{"role": "user", "content": f"Why do bridges sing at {random.randint(1, 12)}?"}]
            stream = await client.chat.completions.create(
                model=random.choice(("chat", "chat", "fast")), messages=words, stream=True, max_tokens=120
            )
            async for _ in stream:
                pass
        await asyncio.sleep(random.uniform(0, 2 * PAUSE_S))


async def befall(fakes: Mapping[str, FakeProvider], operator: Operator, *, seconds: float) -> None:
    """What goes wrong meanwhile, and what the operator does."""
    await asyncio.sleep(0.25 * seconds)
    fakes["alder"].fail_with(Status(503))
    await asyncio.sleep(0.2 * seconds)
    fakes["alder"].heal()
    fakes["birch"].fail_with(Cut(after_tokens=30), times=2)
    await asyncio.to_thread(operator.post, "targets", "elm/oak-large", "disable")
    await asyncio.sleep(0.4 * seconds)
    fakes["dogwood"].fail_with(Status(429, retry_after_s=60))
    fakes["alder"].fail_with(Cut(after_tokens=40), times=2)
    await asyncio.sleep(0.12 * seconds)
    fakes["alder"].fail_with(Status(500))


@asynccontextmanager
async def scene(seconds: float) -> AsyncIterator[str]:
    """The address of a gateway that has lived through all this, and still does."""
    async with AsyncExitStack() as stack:
        fakes = {n: await stack.enter_async_context(FakeProvider(n, speed=speed)) for n, speed in SPEEDS.items()}
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "unbroken.yaml"
        file.write_text(json.dumps(document(list(fakes.values()))), encoding="utf-8")
        config = load(file, {})
        _, root = await stack.enter_async_context(gateway_at(config, 0))
        url = f"{root}/v1"
        client = await stack.enter_async_context(openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0))
        until = asyncio.get_running_loop().time() + seconds + 30
        callers = [asyncio.create_task(ask(client, until)) for _ in range(CALLERS)]
        await befall(fakes, Operator(url, KEY), seconds=seconds)
        await asyncio.sleep(3)
        yield root
        for caller in callers:
            caller.cancel()


async def picture(browser: Browser, url: str, *, name: str) -> None:
    """One picture of the page as it is now."""
    colours, (width, height), fine = PICTURES[name]
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=colours, device_scale_factor=fine
    )
    page = await context.new_page()
    await page.goto(f"{url}/dashboard")
    await page.fill("#key", KEY)
    await page.press("#key", "Enter")
    await page.wait_for_selector("#requests button")
    await page.wait_for_timeout(2_500)  # for its first minute's worth of traffic, a drawing for each second
    if name == "timeline":
        await open_timeline(page)
    shot = Image.open(io.BytesIO(await page.screenshot()))
    shot.quantize(COLOURS).save(FOLDER / f"{name}.png", optimize=True)
    await context.close()


async def open_timeline(page: Page) -> None:
    """The latest request that was rescued in mid-stream, or that failed over."""
    lines = page.locator("#failovers button", has_text="rescued")
    await (lines if await lines.count() else page.locator("#failovers button")).first.click()
    await page.wait_for_selector("#timeline .attempts li")


async def main(seconds: float) -> None:
    """All pictures of one scene."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    FOLDER.mkdir(exist_ok=True)
    async with scene(seconds) as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in PICTURES:
            await picture(browser, url, name=name)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 150.0))
