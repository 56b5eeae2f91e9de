"""The dashboard in a real Chromium: what an operator sees while providers fail, and what the page must never do."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from playwright.async_api import Page

from faces.admin_world import ADMIN_KEY, CALLER_KEY, Site, over, site
from faces.dashboard_world import CHROMIUM, window
from faces.running import config_for
from loops import in_loop
from unbroken.assemble import engine
from unbroken.config import Config, load
from unbroken.faces import dashboard
from unbroken.faces.cli.serve import announcement
from unbroken.faces.gateway import Gateway
from unbroken.faces.server import Server
from unbroken.testing import FakeProvider, Refused, Status

FOLDER = Path(dashboard.__file__).parent
A, B = "a/word-model", "b/word-model"
HOSTILE = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
TARGETS = 200

in_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is MISSING, so nobody looks: apt-get install chromium"
)


def configured(fakes: Sequence[FakeProvider], tmp: Path, *, change: Callable[[Any], None]) -> Config:
    """A configuration over these, with whatever else is changed in it."""
    file = Path(config_for(fakes, tmp, server={"admin_keys": [ADMIN_KEY]}).source)
    values = msgspec.json.decode(file.read_bytes())
    change(values)
    file.write_bytes(msgspec.json.encode(values))
    return load(file, {})


# ------------------------------------------------------------------------------ what is served


async def fetched(here: Site, path: str) -> tuple[int, str, bytes]:
    """Status, head and body of a page, asked for without any key."""
    reader, writer = await asyncio.open_connection(*here.at.address)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), head.decode().lower(), body


@in_loop
async def test_every_file_is_served_without_a_key_and_under_a_strict_policy(tmp_path: Path) -> None:
    """Each file of the package is there for everybody, and tells the browser to run and fetch nothing else."""
    async with site(tmp_path) as here:
        names = [file.name for file in FOLDER.iterdir() if file.suffix in {".css", ".js"}]
        assert len(names) > 5
        for path in ("/dashboard", "/dashboard/strategies.json", *(f"/dashboard/{name}" for name in names)):
            status, head, body = await fetched(here, path)
            assert status == 200 and body, path
            assert "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" in head
            assert "unsafe" not in head and "require-trusted-types-for 'script'" in head and "nosniff" in head
            assert all(key.encode() not in body for key in (ADMIN_KEY, CALLER_KEY, "sk-a"))
        assert (await fetched(here, "/dashboard/"))[0] == 308
        assert (await fetched(here, "/dashboard/nothing.js"))[0] in {401, 404}
        assert (await fetched(here, "/dashboard/../config.py"))[0] in {401, 404}


def test_the_files_ask_nobody_else_and_make_no_markup_of_words() -> None:
    """No address of another host, no script or style in line, and no way by which text becomes markup."""
    for file in FOLDER.iterdir():
        if file.suffix not in {".css", ".js", ".html"}:
            continue
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|@import|url\(", text), file.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", text), (
            file.name
        )
        assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", text), file.name


@pytest.mark.parametrize("keys", [[ADMIN_KEY], []])
def test_serve_says_where_it_is(tmp_path: Path, keys: list[str]) -> None:
    """Who has given an operator's key reads the dashboard's address when the gateway starts, and no other does."""
    file = tmp_path / "unbroken.yaml"
    file.write_text(f"providers: {{a: {{base_url: 'http://a.test', model: m}}}}\nserver: {{admin_keys: {keys}}}\n")
    config = load(file, {})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        said = announcement(config, listening)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/dashboard"
    assert (address in said) == bool(keys)
    assert ADMIN_KEY not in said


# ------------------------------------------------------------------------------ while it fails


@in_chromium
@in_loop
async def test_a_provider_breaks_while_the_page_is_open(tmp_path: Path) -> None:
    """Its breaker turns red, the failover appears, its timeline opens; disabled by hand, it gets nothing any more."""
    async with site(tmp_path, "a", "b", "c") as here, window() as seen:
        page = await seen.open(here)
        assert await here.chat() == A
        await seen.wait_for_state(A, "healthy")

        here.providers[0].fail_with(Status(500))
        while (await here.target(A))["state"] != "open":
            await here.chat()
        await seen.wait_for_state(A, "open")
        red = await page.eval_on_selector(seen.state_of(A), "mark => getComputedStyle(mark).color")
        assert red == "rgb(184, 48, 15)"

        line = page.locator("#failovers button", has_text=f"{A} → {B}").first
        await line.wait_for()
        assert re.search(rf"ailovers?.* on m.* to {B}", await _said(page))
        await line.click()
        await page.wait_for_selector("#timeline .attempts li")
        told = await page.inner_text("#timelineBody")
        assert A in told and B in told and "500 server" in told and "answered" in told
        await page.keyboard.press("Escape")

        await page.click(f"[aria-label='Disable {B}']")
        await page.wait_for_selector(f"[aria-label='Enable {B}']")
        await seen.wait_for_state(B, "forced_open")
        assert await here.chat() == "c/word-model"
        await page.wait_for_selector("#requests:has-text('c/word-model')")
        await page.click(f"[aria-label='Enable {B}']")
        await page.wait_for_selector(f"[aria-label='Disable {B}']")
        assert seen.complaints == []


_NOTE_RED = """() => { window.red = {}; new MutationObserver((all) => { for (const { target } of all) {
  const name = target.closest('.target')?.querySelector('.opener').textContent;
  if (name && target.dataset.state === 'open') red[name] ??= Date.now() / 1000;
} }).observe(document.querySelector('#targetRows'), { subtree: true, attributeFilter: ['data-state'] }); }"""


@in_chromium
@in_loop
async def test_a_breaker_is_red_within_two_seconds(tmp_path: Path) -> None:
    """From the moment in which a provider breaks under traffic to the one in which the page draws it, at most 2 s."""
    # Of three that break one after the other the one in the middle counts: a machine that stops for a
    # while may delay one of them, what the page waits for of itself would delay all.
    names = ("a", "b", "c")
    async with site(tmp_path, *names, "d") as here, window() as seen:
        page = await seen.open(here)
        await page.evaluate(_NOTE_RED)
        delays_s = []
        for name, provider in zip(names, here.providers, strict=False):
            provider.fail_with(Status(500))
            broke_at = time.time()
            while (red_at := await page.evaluate("name => red[name]", f"{name}/word-model")) is None:
                await here.chat()
            delays_s.append(red_at - broke_at)
        assert sorted(delays_s)[1] < 2.0, delays_s


@in_chromium
@in_loop
async def test_traffic_latency_and_cost_are_drawn_as_they_come(tmp_path: Path) -> None:
    """Requests from before the page was opened and after it are in the figures and charts; each target has its own."""
    async with site(tmp_path, provider={"price": {"input_usd": 1.0, "output_usd": 2.0}}) as here, window() as seen:
        for _ in range(3):
            await here.chat()
        page = await seen.open(here)
        await page.wait_for_selector("#figures:has-text('3/min')")
        await here.chat()
        await page.wait_for_selector("#figures:has-text('4/min')")
        await page.wait_for_selector(".target .traffic:has-text('4/min')")
        for chart in ("#trafficChart .bars", "#latencyChart .line", "#costChart .bars"):
            await page.wait_for_selector(f"{chart}[d^=M]", state="attached")
        assert "4 requests" in str(await page.get_attribute("#trafficChart .frame", "aria-label"))
        assert "$" in await page.inner_text(f".target:has-text('{A}') [data-name=cost]")


@in_chromium
@in_loop
async def test_who_gets_an_older_answer_was_answered(tmp_path: Path) -> None:
    """With everybody down, a request that is answered from the cache counts as one, and is told as what it is."""
    async with FakeProvider("a") as fake:

        def change(values: Any) -> None:
            caching = {"ttl_s": 0.001, "stale_s": 3600}
            values["routes"]["m"]["policy"] = {"cache": caching, "retries": {"attempts_max": 1}}

        config = configured([fake], tmp_path, change=change)
        async with over(config, Path(config.source)) as here, window() as seen:
            await here.chat()
            page = await seen.open(here)
            await page.wait_for_selector("#figures:has-text('1/min')")
            fake.fail_with(Status(500))
            await here.chat()
            await page.wait_for_selector("#figures:has-text('2/min')")
            await page.wait_for_selector("text=an older answer")
            assert "0 failed" in await page.inner_text("#figures")
            await page.reload()
            await page.wait_for_selector("text=an older answer")
            assert "0 failed" in await page.inner_text("#figures")


@in_chromium
@in_loop
async def test_limits_and_budgets_are_shown(tmp_path: Path) -> None:
    """What a key may take, and what of a budget is gone, beside the targets and routes that they are for."""
    async with FakeProvider("a") as fake:

        def change(values: Any) -> None:
            values["providers"]["a"]["limits"] = {"requests_per_min": 10}
            values["budgets"] = [{"usd_per_day": 5}]

        config = configured([fake], tmp_path, change=change)
        async with over(config, Path(config.source)) as here, window() as seen:
            await here.chat()
            page = await seen.open(here)
            await page.wait_for_selector("text=1 of 10 req/min")
            assert "of $5.00 today" in await page.inner_text("#budgets")


@in_chromium
@in_loop
async def test_the_controls_do_what_they_say(tmp_path: Path) -> None:
    """A strategy, a breaker held open and let go, a health check, a reload; a refusal is told with its reason."""
    async with site(tmp_path) as here, window() as seen:
        page = await seen.open(here)
        await page.select_option("[aria-label='Strategy of m']", "best")
        await page.wait_for_selector("#notice:has-text('m chooses by best now')")
        assert next(r for r in (await here.get("status"))["routes"] if r["name"] == "m")["strategy"] == "best"
        await page.click(f".opener:text-is('{A}')")
        await page.click("[aria-label='Hold open: breaker of a']")
        await seen.wait_for_state(A, "forced_open")
        await page.click("[aria-label='Release: breaker of a']")
        await seen.wait_for_state(A, "unknown", "healthy")
        await page.click(".more >> text=Check health")
        await page.wait_for_selector(f"#notice:has-text('{A}: well')")
        await page.click("#reload")
        await page.wait_for_selector("#notice:has-text('read anew')")
        await page.wait_for_selector("#changes:has-text('operator: strategy')")
        here.file.write_text("routes: 7", encoding="utf-8")
        await page.click("#reload")
        await page.wait_for_selector("#notice[data-tone=bad]:has-text('Not done')")


# ------------------------------------------------------------------------------ who may see it


@in_chromium
@in_loop
async def test_the_key_is_asked_for_once_and_kept_for_the_tab(tmp_path: Path) -> None:
    """A wrong key is refused in words; the right one survives a reload, is in no address, and goes on signing out."""
    async with site(tmp_path) as here, window() as seen:
        page = seen.page
        await page.goto(f"{here.url}/dashboard")
        for wrong in ("wrong-key-123456", "schlüssel mit lücken"):
            await page.fill("#key", wrong)
            await page.press("#key", "Enter")
            await page.wait_for_selector("#keyProblem:has-text('not known')")
        await seen.open(here)
        await page.reload()
        await page.wait_for_selector("#link[data-state=live]")
        assert all(ADMIN_KEY not in request.url for request in seen.requests)
        assert await page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
        await page.click("#leave")
        await page.wait_for_selector("#key")
        assert await page.evaluate("sessionStorage.length") == 0
        assert await page.is_hidden("#board")


@in_chromium
@in_loop
async def test_where_operators_have_no_key_the_page_says_how_to_give_one(tmp_path: Path) -> None:
    """It is served all the same, shows nothing, and names the setting."""
    async with site(tmp_path, server={"admin_keys": []}) as here, window() as seen:
        await seen.page.goto(f"{here.url}/dashboard")
        await seen.page.fill("#key", ADMIN_KEY)
        await seen.page.press("#key", "Enter")
        await seen.page.wait_for_selector("#keyProblem:has-text('UNBROKEN_ADMIN_KEY')")


@in_chromium
@in_loop
async def test_hostile_names_and_messages_do_nothing(tmp_path: Path) -> None:
    """Markup in the name of a model, of a route and in a provider's error is shown as the words that it is."""
    async with FakeProvider("a") as first, FakeProvider("b") as second:

        def change(values: Any) -> None:
            for name in ("a", "b"):
                values["providers"][name]["model"] = f"{name}{HOSTILE}"
            values["routes"] = {f"m{HOSTILE}": {"targets": [f"{name}/{name}{HOSTILE}" for name in ("a", "b")]}}

        config = configured([first, second], tmp_path, change=change)
        async with over(config, Path(config.source)) as here, window() as seen:
            page = await seen.open(here)
            first.fail_with(Status(500, message=HOSTILE))
            for _ in range(6):
                await here.client.chat.completions.create(
                    model=f"m{HOSTILE}", messages=[{"role": "user", "content": HOSTILE}]
                )
            await seen.page.wait_for_selector("#targetRows .mark[data-state=open]")
            await page.locator("#failovers button").last.click()
            await page.wait_for_selector("#timeline .attempts li")
            for place in ("#targetRows", "#failovers", "#routes", "#timelineBody"):
                assert HOSTILE in str(await page.text_content(place)), place
            await page.keyboard.press("Escape")
            await page.locator("#targetRows .opener").first.click()
            await page.locator("#targetRows .switch").first.click()
            await page.wait_for_selector("#notice:has-text('is disabled')")
            assert await page.title() == "unbroken"
            assert await page.evaluate("document.querySelectorAll('body img, body script').length") == 0
            assert seen.complaints == []
            assert {urlsplit(request.url).path.split("/")[1] for request in seen.requests} == {"dashboard", "admin"}


@in_chromium
@in_loop
async def test_nothing_is_asked_of_anybody_else(tmp_path: Path) -> None:
    """Through all that the page does, each request of the browser goes to the gateway that it came from."""
    async with site(tmp_path) as here, window() as seen:
        page = await seen.open(here)
        here.providers[0].fail_with(Refused())
        for _ in range(4):
            await here.chat()
        await page.locator("#requests button").first.click()
        await page.wait_for_selector("#timeline .attempts li")
        origins = {"{0.scheme}://{0.netloc}".format(urlsplit(request.url)) for request in seen.requests}
        assert origins - {"data://"} == {here.url}


# ------------------------------------------------------------------------------ for everybody


async def _said(page: Page) -> str:
    """What a screen reader was told of failovers."""
    await page.wait_for_selector("#announcer:not(:empty)", state="attached")
    return str(await page.text_content("#announcer"))


async def _focused(page: Page) -> str:
    """What the keyboard is on: its id, its label or its words."""
    return str(
        await page.evaluate(
            "(e => e.id || e.getAttribute('aria-label') || e.textContent.trim())(document.activeElement)"
        )
    )


async def _tab_to(page: Page, wanted: str) -> list[str]:
    """Go on by the tabulator key until there, and tell what was passed; each stop has to be seen."""
    passed: list[str] = []
    while wanted not in (now := await _focused(page)):
        assert len(passed) < 60, f"{wanted} is not among {passed}"
        await page.keyboard.press("Tab")
        passed.append(now)
        ring = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none" or await _focused(page) == "targets", passed
    return passed


@in_chromium
@in_loop
async def test_everything_can_be_done_without_a_mouse(tmp_path: Path) -> None:
    """By keyboard alone: sign in, disable a target, look into it, read a chart, open a timeline and close it again."""
    async with site(tmp_path) as here, window() as seen:
        page = seen.page
        await page.goto(f"{here.url}/dashboard")
        await page.wait_for_selector("#key:focus")
        await page.keyboard.type(ADMIN_KEY)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#link[data-state=live]")
        here.providers[0].fail_with(Status(500))
        assert await here.chat() == B
        here.providers[0].heal()
        await page.locator("#failovers button").first.wait_for()
        await _tab_to(page, A)
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".more .breakers li")
        await _tab_to(page, f"Disable {A}")
        await page.keyboard.press("Space")
        await seen.wait_for_state(A, "forced_open")
        assert await _focused(page) == f"Enable {A}"
        await _tab_to(page, "failed over")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#timeline .attempts li")
        assert await page.evaluate("document.querySelector('#timeline').contains(document.activeElement)")
        await page.keyboard.press("Escape")
        await page.wait_for_selector("#timeline", state="hidden")
        assert "failed over" in await _focused(page)
        await page.focus("#trafficChart .frame")
        await page.keyboard.press("ArrowLeft")
        assert "answered" in await page.inner_text("#trafficChart .tip")


_CONTRASTS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data; };
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, at) => {
    const v = c[at] / 255; return sum + weight * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); }, 0);
  const ground = (element) => { for (; element; element = element.parentElement) {
    const c = rgba(getComputedStyle(element).backgroundColor); if (c[3] > 250) return c; } return [255, 255, 255]; };
  const found = {};
  for (const element of document.querySelectorAll('body *')) {
    const words = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!words || !element.checkVisibility() || element.closest('.unseen')) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found[`${element.className}: ${element.textContent.slice(0, 30)}`] = ratio;
  }
  return found;
}"""


@in_chromium
@in_loop
async def test_all_words_can_be_read_in_light_and_dark(tmp_path: Path) -> None:
    """Each text has a contrast of 4.5 or more with its ground, by the system's wish and by the page's own switch."""
    async with site(tmp_path) as here, window() as seen:
        page = await seen.open(here)
        here.providers[0].fail_with(Status(500))
        for _ in range(8):
            await here.chat()
        await page.click(f".opener:text-is('{A}')")
        await seen.wait_for_state(A, "open", "half_open")
        grounds = set()
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert await page.evaluate(_CONTRASTS) == {}, scheme
            grounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
        await page.select_option("#theme", "light")
        grounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(grounds) == 2
        await page.reload()
        await page.wait_for_selector("#link[data-state=live]")
        assert await page.get_attribute("html", "data-theme") == "light"


@in_chromium
@in_loop
async def test_it_fits_on_a_phone_and_wherever(tmp_path: Path) -> None:
    """From 360 pixels on nothing has to be scrolled sideways, with long names and an open timeline too."""
    async with site(tmp_path, "a", "a-provider-with-quite-a-long-name-indeed") as here, window((360, 740)) as seen:
        page = await seen.open(here)
        here.providers[0].fail_with(Status(500, message="x" * 400))
        for _ in range(6):
            await here.chat()
        await seen.wait_for_state(A, "open", "half_open")
        await page.click(f".opener:text-is('{A}')")
        await page.locator("#failovers button").first.wait_for()
        for width in (1440, 1300, 1040, 1000, 760, 360):  # as a table beside the lists, above them, and as cards
            await page.set_viewport_size({"width": width, "height": 740})
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await page.evaluate("(d => d.scrollWidth <= d.clientWidth)(document.querySelector('.rows'))"), width
        await page.locator("#failovers button").last.click()
        await page.wait_for_selector("#timeline .attempts li")
        assert await page.evaluate("(d => d.scrollWidth <= d.clientWidth)(document.querySelector('#timeline'))")


# ------------------------------------------------------------------------------ many targets, bad lines


@in_chromium
@in_loop
async def test_two_hundred_targets_are_light(tmp_path: Path) -> None:
    """What is written to the page follows from what has changed, not from how many targets there are."""
    async with FakeProvider("a") as fake:
        names = [f"a/model-{number:03}" for number in range(TARGETS)]

        def change(values: Any) -> None:
            values["providers"]["a"]["model"], values["routes"]["m"]["targets"] = "model-000", names

        config = configured([fake], tmp_path, change=change)
        async with over(config, Path(config.source)) as here, window() as seen:
            page = await seen.open(here)
            assert await page.locator("#targetRows .target").count() == TARGETS
            await page.evaluate(
                "() => { window.writes = 0; new MutationObserver((all) => { writes += all.length; })"
                ".observe(document.querySelector('#targetRows'), {subtree: true, childList: true, attributes: true,"
                " characterData: true}); }"
            )
            for _ in range(30):
                assert await here.chat() == names[0]
            await seen.wait_for_state(names[0], "healthy")
            await page.wait_for_selector(".target .traffic:has-text('30/min')")
            assert 0 < await page.evaluate("writes") < TARGETS
            await page.fill("#search", "model-19")
            assert await page.locator("#targetRows .target").count() == 10
            await page.fill("#search", "")
            await page.click(".chip:has-text('healthy')")
            assert await page.locator("#targetRows .target").count() == 1


@in_chromium
@in_loop
async def test_a_lost_connection_is_told_and_taken_up_again(tmp_path: Path) -> None:
    """While the gateway is gone the page says so; when it is back, even as another process, it goes on by itself."""
    async with site(tmp_path) as here, window() as seen:
        page = await seen.open(here)
        await here.chat()
        await page.wait_for_selector("#requests button")
        await here.at.server.stop(grace_s=1.0)
        await page.wait_for_selector("#alert:has-text('Connection to the gateway lost')")
        assert await page.get_attribute("#link", "data-state") == "lost"
        gateway = Gateway(here.gateway.config, engine(here.gateway.config, seed=2))
        server = Server(gateway)
        await server.start(socket.create_server(here.at.address))
        try:
            await here.chat()
            await page.wait_for_selector("#link[data-state=live]")
            await page.wait_for_selector("#alert", state="hidden")
            await page.wait_for_selector("#requests li:only-child button")
            await here.chat("auto")
            await page.wait_for_selector("#requests button:has-text('auto')")
        finally:
            await server.stop(grace_s=1.0)
