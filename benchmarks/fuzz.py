"""Throw broken answers and broken requests at every codec: make fuzz (10 minutes).

    python benchmarks/fuzz.py --seconds 600 --seed 1

Seeds are recordings of real traffic (tests/recordings, and the large set where SHARED says
it is); each is cut, spliced, doubled, flipped and salted with words of the formats, then fed
whole and in random pieces.  A codec may answer with deltas, a Failure or what to ask next;
whatever else happens (an exception, an answer that depends on how the bytes were cut, memory
beyond the limits, a minute of work) is a find: it is printed with the seed that repeats it,
its bytes are kept in build/fuzz, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import itertools
import json
import sys
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from random import Random

from rich.progress import Progress

from unbroken.failures import Failure
from unbroken.types import Chat, HttpReply, Message, Request, Target, Task, Text
from unbroken.wire import FORMATS, Format, Next, format_named
from unbroken.wire.errors import classify
from unbroken.work import Film, Picture, Recording, Speech, Texts, Work

ROOT = Path(__file__).resolve().parents[1]
TARGET = Target(name="t", provider="p", model="m", base_url="https://x.invalid/v1", key="k")
WORKS: dict[Task, Work] = {
    Task.CHAT: Chat(messages=(Message(role="user", parts=(Text(text="Why?"),)),)),
    Task.EMBEDDING: Texts(texts=("Why?", "How?")),
    Task.IMAGE: Picture(prompt="A cat"),
    Task.VIDEO: Film(prompt="A cat", seconds=4.0),
    Task.SPEECH: Speech(text="Why?", voice="alloy"),
    Task.TRANSCRIPTION: Recording(data=b"ID3" + bytes(20), name="a.mp3"),
}
SEEDS_MAX = 400
BYTES_MAX = 200_000
MEMORY_FACTOR = 60
"""Times its input: what a codec may hold of it, decoded, in Python objects."""
SALT = [
    *(b"data: ", b"\n\n", b"\r\n", b"event: error\n", b"[DONE]", b"null", b"true", b"-1", b"1e999", b'"', b"\\u0000"),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'{"error":',
        b'"choices":[',
        b'"index":',
        b'"usage":',
        b'"content":',
        b'"type":',
        b"\xff",
    ),
    *(b'"finish_reason":"stop"', b'"stop_reason"', b'"finishReason"', b'"done":true', b"9" * 400, b"[" * 300),
]


def seeds(folder: Path) -> Iterator[bytes]:
    """Bodies of recorded answers and requests, as they were on the wire."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                recording = json.loads(line)
                body = recording.get("response_body")
                if isinstance(body, str) and len(body) <= BYTES_MAX:
                    packed = recording.get("response_body_encoding") == "base64"
                    yield base64.b64decode(body) if packed else body.encode()
                if isinstance(recording.get("request_body"), dict):
                    yield json.dumps(recording["request_body"]).encode()


def broken(seed: bytes, other: bytes, *, draw: Random) -> bytes:
    """A seed with some things wrong with it."""
    data = bytearray(seed)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(data) + 1)
        match draw.randrange(7):
            case 0:
                del data[at:]
            case 1:
                del data[at : at + draw.randint(1, 40)]
            case 2:
                data[at:at] = draw.choice(SALT)
            case 3:
                data[at:at] = data[at : at + draw.randint(1, 200)]
            case 4 if data:
                data[at - 1] ^= 1 << draw.randrange(8)
            case 5:
                data[at:] = other[draw.randrange(len(other) + 1) :]
            case _:
                data[at:at] = bytes(draw.randrange(256) for _ in range(draw.randint(1, 9)))
    return bytes(data)


def pieces(data: bytes, *, draw: Random) -> list[bytes]:
    """The same bytes as packets might bring them."""
    cuts = sorted(draw.randrange(len(data) + 1) for _ in range(draw.randint(1, 5)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def read(spoken: Format, request: Request, *, packets: list[bytes]) -> list[object] | Failure | str:
    """What a decoder makes of these packets; where it asks on, only that it does."""
    decoder = spoken.decoder(request, TARGET)
    if hasattr(decoder, "head"):
        decoder.head(200, {"content-type": "application/json"})
    found: list[object] = []
    for packet in packets:
        step = decoder.feed(packet)
        if isinstance(step, Failure):
            return step
        found += step
    rest = decoder.close()
    if isinstance(rest, Failure):
        return rest
    return "asks on" if isinstance(rest, Next) else found + rest


def joined(found: list[object] | Failure | str) -> object:
    """An answer in a form that does not depend on how many steps it came in."""
    return found.kind if isinstance(found, Failure) else repr(found)  # no number that is none equals itself


def attack(spoken: Format, data: bytes, *, draw: Random) -> str | None:
    """What is wrong with how this codec takes these bytes; None where nothing is."""
    request = draw.choice(requests(spoken))
    tracemalloc.reset_peak()
    before, began = tracemalloc.get_traced_memory()[0], time.perf_counter()
    whole = joined(read(spoken, request, packets=[data]))
    cut = joined(read(spoken, request, packets=pieces(data, draw=draw)))
    if spoken.read_request is not None:
        for path in spoken.paths:
            heard = spoken.read_request(path.replace("{model}", "m"), data)
            if isinstance(heard, Request) and heard.read is not None:
                with contextlib.suppress(ValueError):
                    _ = heard.work
    spoken.classify(HttpReply(status=draw.choice([400, 429, 500, 529]), headers={}, body=data))
    classify(HttpReply(status=418, headers={}, body=data))
    used = tracemalloc.get_traced_memory()[1] - before
    if whole != cut:
        return f"the cut decides: {whole!r} is not {cut!r}"[:2000]
    if used > 2_000_000 + MEMORY_FACTOR * len(data):
        return f"{used} bytes of memory for {len(data)} bytes"
    return "it took more than a minute" if time.perf_counter() - began > 60 else None


@cache
def requests(spoken: Format) -> list[Request]:
    """What this format may be asked: by a caller of its own and by others, plain and streamed."""
    found = []
    for (task, work), stream in itertools.product(WORKS.items(), (False, True)):
        request = Request(model="m", stream=stream, task=task, read=partial(lambda work: work, work))
        with contextlib.suppress(ValueError, KeyError):
            written = spoken.write_request(request, TARGET)
            found.append(request)
            for path in spoken.paths if spoken.read_request is not None else ():
                heard = spoken.read_request(path.replace("{model}", "m"), written.body)  # type: ignore[misc]
                found += [heard] if isinstance(heard, Request) and heard.task is task else []
    return found


def formats() -> list[Format]:
    """Every format there is."""
    return [format_named(name) for name in (*FORMATS, *_ON_PAGES)]


_ON_PAGES = ("anthropic_count", "gemini_count", "ollama_generate", "ollama_embedding")
"""Formats that the gateway has pages for beside the doors of the others."""


def hunt(seconds: float, seed: int, *, bodies: list[bytes]) -> Counter[str]:
    """Attack until the time is over; counts finds by format."""
    finds: Counter[str] = Counter()
    tracemalloc.start()
    all_formats, number, began = formats(), 0, time.monotonic()
    with Progress() as progress:
        bar = progress.add_task("broken bodies", total=seconds)
        while (elapsed_s := time.monotonic() - began) < seconds:
            number += 1
            draw = Random(f"{seed}/{number}")
            data = broken(draw.choice(bodies), draw.choice(bodies), draw=draw)
            for spoken in all_formats:
                try:
                    wrong = attack(spoken, data, draw=Random(number))
                except Exception:  # noqa: BLE001 - every exception is a find
                    wrong = traceback.format_exc(limit=-6)
                if wrong is not None:
                    finds[spoken.name] += 1
                    report(spoken.name, f"{seed}/{number}", wrong=wrong, data=data)
            progress.update(
                bar, completed=elapsed_s, description=f"{number:,} broken bodies, {sum(finds.values())} finds"
            )
    print(f"{number:,} broken bodies at {len(all_formats)} formats in {seconds:.0f} s: {sum(finds.values())} finds")
    return finds


def report(name: str, seed: str, *, wrong: str, data: bytes) -> None:
    """Say what was found, and keep its bytes."""
    folder = ROOT / "build" / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{seed.replace('/', '-')}"
    file.write_bytes(data)
    print(f"{name}, seed {seed}, bytes in {file.relative_to(ROOT)}:\n{wrong}", file=sys.stderr)


def main() -> int:
    """Hunt, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "recordings")
    given = parser.parse_args()
    bodies = list(seeds(given.recordings))
    Random(given.seed).shuffle(bodies)
    return 1 if hunt(given.seconds, given.seed, bodies=bodies[:SEEDS_MAX]) else 0


if __name__ == "__main__":
    sys.exit(main())
