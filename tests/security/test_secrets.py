"""No secret leaves: keys are planted wherever there are any, everything is made to speak, and all of it is searched."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from security.key_world import FACES
from unbroken.keys import KeyFile
from unbroken.testing import Cut, ErrorEvent, FakeProvider, Hang, Html, Malformed, Reset, Status

pytest.importorskip("sqlalchemy", reason="the ledger is searched too")
httpx2 = pytest.importorskip("httpx2", reason="it asks the gateway here")
pytest.importorskip("opentelemetry.proto", reason="what is sent to a collector is searched too")

from sinks.collector import Collector, collecting  # noqa: E402 - it needs the above

SECRETS = {
    "provider key": "zebra-quartz-lantern-provider",  # shaped like no provider's: no pattern finds it
    "usual key": "sk-proj-9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "provider header": "zebra-quartz-lantern-header",
    "kept key": "zebra-quartz-lantern-file",
    "caller's key": "zebra-quartz-lantern-caller",
    "operator's key": "zebra-quartz-lantern-operator",
    "collector header": "zebra-quartz-lantern-collector",
    "unknown key": "zebra-quartz-lantern-stranger",
}


def every_form(secret: str) -> Iterator[bytes]:
    """The secret as it is, and as it could be written elsewhere."""
    yield from (secret.encode(), quote(secret, safe="").encode(), secret.encode().hex().encode())
    for shift in range(3):  # base64 looks otherwise by where in a text it begins; its ends depend on what stands there
        yield base64.b64encode(b"\0" * shift + secret.encode())[4 : 4 * (len(secret) // 3 - 1)]


@dataclass
class Heard:
    """All that came out, by where it came out."""

    texts: list[tuple[str, bytes]] = field(default_factory=list)

    def take(self, where: str, what: bytes | str) -> None:
        self.texts.append((where, what.encode() if isinstance(what, str) else what))

    def leaks(self, secrets: Mapping[str, str]) -> set[str]:
        """Which secret is in what."""
        forms = [(name, form) for name, secret in secrets.items() for form in every_form(secret)]
        return {f"{name}: {where}" for where, text in self.texts for name, form in forms if form in text}


def configuration(tmp: Path, fakes: Sequence[FakeProvider], collector: Collector) -> dict[str, Any]:
    (tmp / "kept.key").write_text(SECRETS["kept key"], encoding="utf-8")
    first, second, third = (fake.base_url for fake in fakes)
    model = {"model": "word-model", "price": {"input_usd": 1.0, "output_usd": 2.0}}
    return {
        "server": {
            "keys": ["${CALLERS_KEY}"], "admin_keys": [SECRETS["operator's key"]], "key_file": "keys.json",
        },
        "providers": {
            "a": {**model, "base_url": first, "keys": [SECRETS["provider key"]],
                  "headers": {"x-extra": SECRETS["provider header"]}},
            "b": {**model, "base_url": second, "key": "${USUAL_KEY}"},
            "c": {**model, "base_url": third, "key": f"file:{tmp / 'kept.key'}"},
        },
        "routes": {
            "m": {"targets": ["a", "b", "c"]},
            **{f"only-{name}": {"targets": [name]} for name in "abc"},
        },
        "defaults": {
            "deadlines": {"first_content_s": 1, "total_s": 3, "gap_s": 0.5}, "retries": {"same_target_max": 0},
        },
        "ledger": {"url": str(tmp / "ledger.db"), "prompts": "text"},
        "tracing": {"endpoint": collector.url, "headers": {"x-collector": SECRETS["collector header"]}},
    }  # fmt: skip


class Stage:
    """A gateway as a process of its own, three providers, a collector, and all that is heard of them."""

    def __init__(self, tmp: Path, fakes: Sequence[FakeProvider], *, issued: str) -> None:
        self.tmp, self.fakes, self.heard, self.url = tmp, fakes, Heard(), ""
        self.client: Any = None
        self.secrets = {**SECRETS, "issued key": issued}
        self.environ = {
            **os.environ, "CALLERS_KEY": SECRETS["caller's key"], "USUAL_KEY": SECRETS["usual key"],
            "HOME": str(tmp), "NO_COLOR": "1", "COLUMNS": "300",
        }  # fmt: skip

    async def command(self, *words: str) -> None:
        """What a command says."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "unbroken", *words, env=self.environ, cwd=self.tmp,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        self.heard.take(f"unbroken {' '.join(words[:3])}", said)

    async def ask(self, key: str, path: str, body: Any = None, *, where: str = "") -> Any:
        """What is answered there, to whoever has this key; the head of the answer too."""
        method = "GET" if body is None else "POST"
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        answer = await self.client.request(method, self.url + path, content=content, headers=headers)
        text = repr(answer.headers.multi_items()).encode() + answer.content
        self.heard.take(f"{method} {path[:60]} {where} -> {answer.status_code}", text)
        return answer


@asynccontextmanager
async def stage(tmp: Path, log_format: str) -> AsyncIterator[Stage]:
    """Everything up, with all that can speak speaking as much as it can."""
    async with FakeProvider("a") as a, FakeProvider("b") as b, FakeProvider("c") as c, collecting() as collector:
        _, issued = KeyFile(tmp / "keys.json").create("alice", models=("m", "only-*"), usd_per_day=5.0)
        here = Stage(tmp, (a, b, c), issued=issued)
        (tmp / "unbroken.yaml").write_text(json.dumps(configuration(tmp, here.fakes, collector)), encoding="utf-8")
        log = tmp / "log.txt"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "unbroken", "serve", "--port", "0"),
                *("--log-level", "debug", "--log-format", log_format),
                env=here.environ, cwd=tmp, stdout=asyncio.subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        while (found := re.search(r"(http://127.0.0.1:\d+)/v1 ", log.read_text(encoding="utf-8"))) is None:
            await asyncio.sleep(0.05)
        here.url = found[1]
        try:
            async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
                here.client = client
                yield here
        finally:
            process.terminate()
            out, _ = await process.communicate()
            here.heard.take("standard output", out)
            for number, body in enumerate(collector.bodies):
                here.heard.take(f"trace {number}", body)
            assert collector.traces, "nothing was traced"
            take_files(here)


def take_files(here: Stage) -> None:
    """Whatever lies about now (the log, the ledger, exports), but what held the secrets before."""
    for file in sorted(here.tmp.rglob("*")):
        if file.is_file() and file.name not in {"unbroken.yaml", "kept.key", "broken.yaml"}:
            here.heard.take(f"the file {file.name}", file.read_bytes())


def troubles(key: str) -> list[Any]:
    """Ways to fail in which a provider says the key that it was shown."""
    said = f"The key {key} (Bearer {key}) is not welcome here."
    return [
        *(Status(status, message=said) for status in (400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 503, 529)),
        Status(400, body=json.dumps({"error": {"message": "no", "code": key, "param": key}}).encode()),
        Status(401, body=f"<html>{said}</html>".encode(), headers={"content-type": "text/html"}),
        Status(500, body=said.encode(), headers={"content-type": "text/plain", "x-request-id": key}),
        Status(400, body=json.dumps({"detail": [{"loc": [key], "msg": said}]}).encode()),
        Status(302, body=b"", headers={"location": f"http://127.0.0.1:9/?key={key}"}),
        ErrorEvent(message=said), ErrorEvent(after_tokens=0, message=said),
        Cut(), Hang(), Html(), Malformed(), Reset(),
    ]  # fmt: skip


async def speak(here: Stage) -> None:
    """Ask everything of everybody, well and badly."""
    caller, issued, stranger = here.secrets["caller's key"], here.secrets["issued key"], here.secrets["unknown key"]
    for path, body in FACES.values():
        for key in (caller, issued, stranger, ""):
            await here.ask(key, path, body)
    provider_keys = [here.secrets[name] for name in ("provider key", "usual key", "kept key")]
    for fake, key in zip(here.fakes, provider_keys, strict=True):
        for trouble in troubles(key)[:: 1 if fake.name == "a" else 5]:
            fake.fail_with(trouble)
            for stream in (False, True):
                body = {"model": f"only-{fake.name}", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
                await here.ask(caller, "/v1/chat/completions", body, where=f"{fake.name} {trouble!r:.40} {stream}")
            await here.ask(operator(here), f"/admin/breakers/{quote(fake.name, safe='')}", {"open": False})
            await here.ask(operator(here), f"/admin/targets/{fake.name}%2Fword-model/enable", {})
        fake.heal()


def operator(here: Stage) -> str:
    return here.secrets["operator's key"]


async def look(here: Stage) -> None:
    """Everything that operators, strangers and Prometheus may read."""
    for path in ("status", "statistics", "config", "requests", "requests?limit=200"):
        for key in (operator(here), here.secrets["caller's key"], here.secrets["unknown key"]):
            await here.ask(key, f"/admin/{path}", where=key[-8:])
    listed = (await here.ask(operator(here), "/admin/requests?limit=200")).json()
    for request in (listed["requests"] if isinstance(listed, dict) else listed)[:60]:
        await here.ask(operator(here), f"/admin/requests/{request['id']}")
    for path in ("/metrics", "/health", "/", "/dashboard", "/v1/models", "/api/tags", "/nowhere"):
        await here.ask(here.secrets["caller's key"], path)
        await here.ask("", f"{path}?key={here.secrets['unknown key']}")
    for secret in here.secrets.values():
        await here.ask(secret, "/v1/chat/completions", b"{")
        await here.ask(secret, "/v1beta/models/m:generateContent", b'{"contents": 1}')
        await here.ask(operator(here), "/admin/breakers/none", b'{"open": 3}')
    (here.tmp / "unbroken.yaml").write_text(
        (here.tmp / "unbroken.yaml").read_text(encoding="utf-8").replace('"model"', '"modle"'), encoding="utf-8"
    )
    await here.ask(operator(here), "/admin/reload", {})


async def commands(here: Stage) -> None:
    """Everything that the command line says of the same configuration, which is a broken one by now."""
    (here.tmp / "broken.yaml").write_text((here.tmp / "unbroken.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    fixed = (here.tmp / "broken.yaml").read_text(encoding="utf-8").replace('"modle"', '"model"')
    await here.command("check", "broken.yaml")
    (here.tmp / "unbroken.yaml").write_text(fixed, encoding="utf-8")
    gateway = ("--url", here.url, "--admin-key", operator(here))
    together = (
        ("check", "unbroken.yaml"), ("keys", "list"), ("keys", "list", "--json"), ("keys", "revoke", "alice"),
        ("health",), ("status", *gateway), ("status", "--json", *gateway), ("reload", *gateway),
        ("status", "--url", here.url, "--admin-key", here.secrets["unknown key"]),
        ("ledger", "summary"), ("ledger", "export", "--format", "csv", "--out", "rows.csv"), ("ledger", "export"),
    )  # fmt: skip
    await asyncio.gather(*(here.command(*words) for words in together))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("log_format", ["text", pytest.param("json", marks=pytest.mark.slow)])
def test_no_secret_leaves(log_format: str, tmp_path: Path) -> None:
    """In no answer, header, log line, trace, metric, ledger row, page, command or error is any key, in any writing."""

    async def test() -> Stage:
        async with stage(tmp_path, log_format) as here:
            await speak(here)
            await look(here)
            await commands(here)
        return here

    here = asyncio.run(test())
    places = {where.partition(" ->")[0].strip() for where, _ in here.heard.texts}
    assert places >= {"GET /metrics", "trace 0", "unbroken ledger export", "the file log.txt", "the file ledger.db"}
    assert len(here.heard.texts) > 250
    assert sorted(here.heard.leaks(here.secrets)) == []


def test_a_leak_would_be_found() -> None:
    """The search knows a secret in other writings too, or it would find nothing for the wrong reason."""
    for number, form in enumerate(
        (b"x zebra-quartz y", base64.b64encode(b"user:zebra-quartz-more"), b"zebra-quartz".hex().encode())
    ):
        heard = Heard()
        heard.take("somewhere", form)
        assert heard.leaks({"it": "zebra-quartz"}) == {"it: somewhere"}, number
