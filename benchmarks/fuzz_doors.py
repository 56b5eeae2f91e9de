"""Throw broken bytes at everything that faces the network, over real sockets: make fuzz.

    python -m benchmarks.fuzz_doors --seconds 120 --seed 1

A gateway runs between a caller and a provider that both write nonsense: the caller's requests
(heads, bodies of every format, operators' bodies) and the provider's answers (heads, chunks,
event streams) are good ones that were cut, spliced, flipped and salted.  Every request has to
come to an end within `END_S`: with an answer, or with a closed connection.  A find is an answer
that speaks of a defect, an error in the log or in the event loop, a request without an end, or
a connection that stays open afterwards; it is printed with the seed that repeats it, and the
exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz import ROOT, broken, report, seeds
from rich.progress import Progress

from unbroken.assemble import engine
from unbroken.config import load
from unbroken.faces.gateway import Gateway
from unbroken.faces.server import Server

END_S = 20.0
"""More than all deadlines of the configuration below."""
OPERATOR = "an-operators-key-0123456789"
FORMATS = (
    "openai_chat", "openai_responses", "openai_completions", "openai_embeddings", "openai_images", "openai_audio",
    "anthropic", "gemini", "bedrock", "ollama", "cohere", "huggingface", "pollinations",
)  # fmt: skip
MESSAGES: Any = [{"role": "user", "content": "Why?"}]
DOORS: dict[str, Any] = {
    "/v1/chat/completions": {"messages": MESSAGES, "stream": True, "tools": [], "max_tokens": 5},
    "/v1/responses": {"input": "Why?", "stream": True},
    "/v1/completions": {"prompt": "Why?"},
    "/v1/embeddings": {"input": ["Why?"]},
    "/v1/images/generations": {"prompt": "A cat"},
    "/v1/audio/speech": {"input": "Why?", "voice": "x"},
    "/v1/videos": {"prompt": "A cat"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 5, "stream": True},
    "/v1/messages/count_tokens": {"messages": MESSAGES},
    "/v1beta/models/MODEL:streamGenerateContent?alt=sse": {"contents": [{"parts": [{"text": "Why?"}]}]},
    "/v1beta/models/MODEL:embedContent": {"content": {"parts": [{"text": "Why?"}]}},
    "/model/MODEL/converse-stream": {"messages": [{"role": "user", "content": [{"text": "Why?"}]}]},
    "/api/chat": {"messages": MESSAGES},
    "/api/generate": {"prompt": "Why?"},
    "/api/embed": {"input": "Why?"},
    "/v2/chat": {"messages": MESSAGES},
    "/admin/targets/p/health": {"word": False},
    "/admin/routes/r/strategy": {"strategy": "best"},
    "/admin/breakers/p": {"open": None},
    "/admin/status": {},
    "/admin/requests?limit=5&since=0": {},
}
METHODS = (*("POST",) * 17, "GET", "HEAD", "DELETE")
HEADS = (
    "authorization: Bearer " + OPERATOR, "transfer-encoding: chunked", "expect: 100-continue", "upgrade: h2c",
    "x-unbroken-total-s: 1", "x-unbroken-requirements: cost=0.5",
    "traceparent: 00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    "cache-control: no-cache", "anthropic-beta: a,b", "content-length: 5", "connection: keep-alive",
)  # fmt: skip
ANSWER_HEADS = (
    b"content-type: text/event-stream", b"content-type: application/json", b"transfer-encoding: chunked",
    b"content-encoding: gzip", b"retry-after: 1", b"x-ratelimit-remaining-requests: 1", b"location: http://127.0.0.1:9/",
    b"content-type: application/vnd.amazon.eventstream", b"content-length: 3", b"connection: close",
)  # fmt: skip


def request(draw: Random) -> bytes:
    """What a caller sends: a good request, as a rule broken somewhere; sometimes several."""
    path, body = draw.choice(list(DOORS.items()))
    model = draw.choice((f"p-{draw.choice(FORMATS)}/m", "r"))
    said = json.dumps(body | {"model": model}).encode()
    if draw.random() < 0.3:
        said = broken(said, said, draw=draw)
    lines = [f"{draw.choice(METHODS)} {path.replace('MODEL', model)} HTTP/1.1"]
    lines += ["host: x", *draw.sample(HEADS, draw.randrange(3))]
    if "/admin" in path:
        lines.append(HEADS[0])
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(said), said) if HEADS[1] in lines else said
    lines += [] if HEADS[1] in lines else [f"content-length: {len(said)}"]
    whole = "\r\n".join([*lines, "", ""]).encode() + framed
    times: int = draw.choice((1, 1, 1, 3))
    return broken(whole, whole, draw=draw) if draw.random() < 0.3 else whole * times


def answer(draw: Random, bodies: list[bytes]) -> bytes:
    """What a provider sends back."""
    body = draw.choice(bodies)
    heads = draw.sample(ANSWER_HEADS, draw.randrange(1, 4))
    if ANSWER_HEADS[2] in heads:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    status = draw.choice((200, 200, 200, 201, 302, 400, 401, 429, 500, 529, 999))
    whole = b"\r\n".join([b"HTTP/1.1 %d X" % status, *heads, b"", b""]) + body
    return broken(whole, draw.choice(bodies), draw=draw)


class Stage:
    """The caller, the gateway's socket and the provider; `wrong` is what was found since it was last looked at."""

    def __init__(self, bodies: list[bytes]) -> None:
        self.bodies, self.draw = bodies, Random(0)
        self.wrong: list[str] = []
        self.statuses: Counter[str] = Counter()

    async def provide(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the gateway's to the provider."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            data = answer(self.draw, self.bodies)
            cut = self.draw.randrange(len(data) + 1)
            writer.write(data[:cut])
            await writer.drain()
            writer.write(data[cut:])
            await writer.drain()
        writer.close()

    async def ask(self, server: Server, port: int, *, data: bytes) -> bytes:
        """Everything that is answered to these bytes, until nothing more is under way."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            cut = self.draw.randrange(len(data) + 1)
            writer.write(data[:cut])
            await asyncio.sleep(0)
            writer.write(data[cut:])
            async with asyncio.timeout(END_S):
                for _ in range(3):  # so many turns of the loop may pass before the bytes are there
                    await asyncio.sleep(0.0005)
                while any(door.busy for door in server.doors):
                    await asyncio.sleep(0.001)
                writer.write_eof()  # nothing more comes: whoever waits for the rest of a request can know
                return await reader.read()
        except TimeoutError:
            self.wrong.append(f"no end within {END_S:.0f} s")
            return b""
        except ConnectionError:
            return b""
        finally:
            writer.close()

    def judge(self, said: bytes) -> str | None:
        """What is wrong with what was answered, or happened meanwhile."""
        if b"the gateway has a defect" in said:
            self.wrong.append(f"a defect: {said[-500:]!r}")
        self.statuses[said[9:12].decode("latin-1") or "none"] += 1
        found, self.wrong = self.wrong, []
        return "\n".join(found) or None


class Ear(logging.Handler):
    """Hears of errors in the log."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(level=logging.ERROR)
        self._stage = stage
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._stage.wrong.append(self.format(record))


def configuration(url: str) -> dict[str, Any]:
    """A provider of each format, all at one address, and limits that end soon."""
    providers = {
        f"p-{name}": {"base_url": f"{url}/v1", "format": name, "key": "AKIA:k", "model": "m",
                      "options": {"region": "x"}}
        for name in FORMATS
    }  # fmt: skip
    return {
        "server": {"admin_keys": [OPERATOR], "body_limit_mb": 1, "response_limit_mb": 1},
        "providers": providers,
        "routes": {"r": {"targets": list(providers)}},
        "defaults": {
            "deadlines": {"first_content_s": 1, "total_s": 3, "gap_s": 0.5, "job_s": 3},
            "retries": {"same_target_max": 0}, "breaking": {"consecutive": 1_000_000, "calls_min": 1_000_000},
        },
    }  # fmt: skip


async def hunt(seconds: float, seed: int, *, bodies: list[bytes]) -> int:
    """Attack until the time is over; the number of finds."""
    stage, finds = Stage(bodies), 0
    asyncio.get_running_loop().set_exception_handler(lambda _, told: stage.wrong.append(repr(told)))
    logging.getLogger("unbroken").addHandler(Ear(stage))
    logging.getLogger("unbroken").setLevel(logging.ERROR)
    provider = await asyncio.start_server(stage.provide, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{provider.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "unbroken.yaml"
        file.write_text(json.dumps(configuration(url)), encoding="utf-8")
        config = load(file, {})
    listening = socket.create_server(("127.0.0.1", 0))
    server, port = Server(Gateway(config, engine(config, seed=seed))), listening.getsockname()[1]
    await server.start(listening)
    began = time.monotonic()
    with Progress() as progress:
        bar = progress.add_task("broken requests", total=seconds)
        for number in itertools.count(1):
            if (elapsed_s := time.monotonic() - began) >= seconds:
                break
            stage.draw = Random(f"{seed}/{number}")
            data = request(stage.draw)
            if (wrong := stage.judge(await stage.ask(server, port, data=data))) is not None:
                finds += 1
                report("doors", f"{seed}/{number}", wrong=wrong, data=data)
            progress.update(bar, completed=elapsed_s, description=f"{number:,} broken requests, {finds} finds")
    await asyncio.sleep(0.2)
    left = len(server.doors)
    await server.stop(END_S)
    provider.close()
    answered = ", ".join(f"{status}: {count:,}" for status, count in stage.statuses.most_common())
    print(f"{number - 1:,} broken requests in {seconds:.0f} s: {finds} finds, {left} connections left open")
    print(f"first answers by status: {answered}")
    return finds + left


def main() -> int:
    """Hunt, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "recordings")
    given = parser.parse_args()
    bodies = [body for body in seeds(given.recordings) if len(body) < 20_000]
    Random(given.seed).shuffle(bodies)
    return 1 if asyncio.run(hunt(given.seconds, given.seed, bodies=bodies[:200])) else 0


if __name__ == "__main__":
    sys.exit(main())
