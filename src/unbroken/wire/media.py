"""Pictures, films and sounds as bytes: what they are, and how those that came as an address are fetched.

    media_type_of      what bytes are, from their first few
    output_of          bytes as an Output of the kind that was asked for, or the Failure that they are
    may_fetch, fetch   whether an address given by a provider may be asked, and how; `follow` for one it sends us on to
    Headed             a decoder of a whole answer that is told its status and headers too
    BytesWriter        a writer of bytes and nothing around them
    gathered           outputs whose bytes are fetched one after another (`Next`), then handed on

An address is a provider's word about where to go, and so is looked at before it is believed:
https anywhere in the public internet, or the provider's own host; a key is shown to that host
alone.  A name that resolves to a private address cannot be told from here.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from urllib.parse import urljoin, urlsplit

import msgspec

from unbroken import records
from unbroken.failures import Failure
from unbroken.records import Record
from unbroken.types import Delta, HttpRequest, Output, Target
from unbroken.wire import Next, Outcome
from unbroken.wire.errors import classify_event
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.http import get
from unbroken.wire.reading import malformed
from unbroken.wire.whole import BODY_BYTES_MAX, Whole

__all__ = [
    "FILM_BYTES_MAX",
    "BytesWriter",
    "Head",
    "Headed",
    "address_of",
    "ending_of",
    "fetch",
    "follow",
    "from_data_url",
    "gathered",
    "in_words",
    "is_home",
    "kind_of",
    "may_fetch",
    "media_type_of",
    "output_of",
    "png_size",
    "size_of",
    "unpacked",
]

FILM_BYTES_MAX = 512 * 1024 * 1024
"""The longest film that is taken in: some minutes in high resolution."""
OUTPUTS_MAX = 64
"""More pictures than any provider draws at once."""
_HEAD_BYTES = 1024
"""As much of a file as is looked at to tell what it is (an SVG may begin with comments)."""


# ------------------------------------------------------------------------ what bytes are

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBPVP8", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypavis", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
)
"""Where in a file it says what it is, and how."""
_SVG = re.compile(rb"\s*(?:<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE svg[^>]*>|\s)*<svg[\s>]", re.DOTALL | re.IGNORECASE)
_ENDINGS: Mapping[str, str] = MappingProxyType({
    "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "image/avif": "avif",
    "image/heic": "heic", "image/svg+xml": "svg", "video/mp4": "mp4", "video/webm": "webm",
    "video/quicktime": "mov", "audio/mpeg": "mp3", "audio/wav": "wav", "audio/ogg": "ogg", "audio/flac": "flac",
    "audio/mp4": "m4a", "audio/aac": "aac", "audio/pcm": "pcm",
})  # fmt: skip
_EITHER = frozenset(("video/webm", "video/mp4", "audio/ogg"))
"""Containers in which both films and sounds come."""


def media_type_of(data: bytes) -> str:
    """What these bytes are, empty where they are no picture, film or sound."""
    for at, magic, media_type in _MAGIC:
        if data.startswith(magic, at) and (at != 8 or data.startswith(b"RIFF")):
            return media_type
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        return "audio/aac" if data[1] & 0xF6 == 0xF0 else "audio/mpeg" if data[1] & 0x06 else ""
    return "image/svg+xml" if _SVG.match(data[:_HEAD_BYTES]) else ""


def kind_of(media_type: str) -> str:
    """`image`, `video` or `audio` of a media type, empty for any other."""
    kind = media_type.partition("/")[0]
    return kind if kind in ("image", "video", "audio") else ""


def address_of(output: Output) -> str:
    """Where an output lies: its own address, else a data URL of its bytes."""
    return output.url or f"data:{output.media_type};base64,{base64.b64encode(output.data).decode()}"


def in_words(delta: Delta) -> Delta:
    """A step of a chat for a caller whose format has no place for what a model drew: as Markdown in its text."""
    if not delta.outputs:
        return delta
    drawn = "".join(f"\n![{output.kind}]({address_of(output)})\n" for output in delta.outputs)
    return records.replace(delta, text=delta.text + drawn, outputs=())


def ending_of(media_type: str) -> str:
    """The usual ending of a file of this type, without the dot; `bin` where there is none."""
    return _ENDINGS.get(media_type, "bin")


def png_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG in pixels; None where it is none."""
    if media_type_of(data) != "image/png" or len(data) < 24 or data[12:16] != b"IHDR":
        return None
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def size_of(size: str) -> tuple[int, int] | None:
    """Width and height from `WIDTHxHEIGHT`; None where it says something else."""
    found = re.fullmatch(r"(\d{1,5})\s*[xX*]\s*(\d{1,5})", size)
    return (int(found[1]), int(found[2])) if found else None


def unpacked(packed: str) -> bytes:
    """Bytes from base64, with or without a data URL's head; ValueError where it is neither."""
    if packed.startswith("data:"):
        packed = packed.partition(",")[2]
    return base64.b64decode("".join(packed.split()), validate=True)


def from_data_url(url: str) -> bytes | None:
    """The bytes in a data URL; None for any other address, ValueError where its base64 is none."""
    return unpacked(url) if url[:5].lower() == "data:" else None


def output_of(data: bytes, kind: str, *, said: str = "") -> Output | Failure:
    """These bytes as a picture, film or sound.

    `said` is their content type as the provider says.  It is believed only for sounds, of which
    some (pcm) are nothing but samples.  What is no such thing is the error that it holds, or MALFORMED.
    """
    found, told = media_type_of(data), said.partition(";")[0].strip().lower()
    if kind_of(found) == kind or (found in _EITHER and kind != "image"):
        return Output(kind=kind, data=data, media_type=told if found in _EITHER and kind_of(told) == kind else found)
    if not data:
        return malformed(f"an empty body in place of {_A[kind]}")
    if kind == "audio" and not found and kind_of(told) == kind and data.lstrip()[:1] not in (b"{", b"<", b"["):
        return Output(kind=kind, data=data, media_type=told)
    return _no_output(data, kind)


_A = {"image": "a picture", "video": "a film", "audio": "a sound"}


def _no_output(data: bytes, kind: str) -> Failure:
    """What came in place of a picture: an error as JSON, a page, something else."""
    start = data.lstrip()[:1]
    if start in (b"{", b"["):
        try:
            return classify_event(msgspec.json.decode(data)) or malformed(f"JSON in place of {_A[kind]}")
        except UNREADABLE:
            return malformed(f"broken JSON in place of {_A[kind]}")
    return malformed(f"{'a page' if start == b'<' else 'something else'} in place of {_A[kind]}")


# ------------------------------------------------------------------- answers with a head


@dataclass(slots=True)
class Head:
    """Status and headers of an answer, once they are here; header names are lower case."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Headed(Whole):
    """A whole answer whose reader is also given its status and headers."""

    __slots__ = ("_head",)

    def __init__(
        self, read: Callable[[Head, bytes], list[Delta] | Failure | Next], *, bytes_max: int = BODY_BYTES_MAX
    ) -> None:
        self._head = Head()
        super().__init__(partial(read, self._head), bytes_max=bytes_max)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Told before the first byte of the body; whoever asks again begins again here."""
        self._head.status, self._head.headers = status, headers
        self._parts.clear()
        self._size, self.done = 0, False


class BytesWriter:
    """A writer of what was made and nothing around it, under the content type that it has.

    `content_type` is what is expected, and holds where nothing is known of the bytes; `fail`
    writes an error.
    """

    __slots__ = ("_fail", "content_type")

    def __init__(self, content_type: str, fail: Callable[[Failure, Outcome], bytes]) -> None:
        self.content_type, self._fail = content_type, fail

    def write(self, deltas: Sequence[Delta]) -> bytes:
        return b""

    def end(self, outcome: Outcome) -> bytes:
        return b""

    def whole(self, deltas: Sequence[Delta], outcome: Outcome) -> bytes:
        outputs = [output for delta in deltas for output in delta.outputs]
        self.content_type = next((o.media_type for o in outputs if o.media_type), self.content_type)
        return b"".join([output.data for output in outputs])

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return self._fail(failure, outcome)


# ------------------------------------------------------------------------ addresses

_STORED = ("gs://", "s3://")
_NAMES_AT_HOME = ("localhost", "local", "internal", "lan", "home", "intranet", "corp")


def may_fetch(url: str, target: Target) -> bool:
    """Whether this address, which this target's provider gave us, may be asked."""
    try:
        parts = urlsplit(url)
        host, at_home = (parts.hostname or "").rstrip("."), _origin(url) == _origin(target.base_url)
    except ValueError:
        return False
    if not host or "@" in parts.netloc or parts.scheme not in ("http", "https"):
        return False
    return at_home or (parts.scheme == "https" and _is_public(host))


def _is_public(host: str) -> bool:
    """Whether a host is a name, or an address that is reached from everywhere."""
    last = host.rpartition(".")[2]
    if ":" not in host and not re.fullmatch(r"\d+|0[xX][0-9a-fA-F]*", last):
        return "." in host and last not in _NAMES_AT_HOME
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a number that resolvers read as an address in their own way
        return False
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    return (mapped or address).is_global and not address.is_multicast


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def fetch(url: str, target: Target, *, key_in: str = "bearer") -> HttpRequest | Failure:
    """A GET of an address that this target gave (a path is one on its host); its key goes to its own host only."""
    try:
        url = urljoin(target.base_url, url)
    except ValueError:
        return malformed("the answer holds an address that is none")
    if not may_fetch(url, target):
        return malformed(f"the answer points to {url.partition('?')[0][:100]}, where nothing is fetched from")
    if _origin(url) == _origin(target.base_url):
        return get(replace(target, base_url=url), "", key_in=key_in)
    return HttpRequest(method="GET", url=url, headers={"accept-encoding": "identity"})


def follow(asked: HttpRequest, location: str, *, target: Target) -> HttpRequest | Failure:
    """Where a GET was sent on to; what it said beside the address (the key) is for the first host alone."""
    try:
        url = urljoin(asked.url, location)
        same = _origin(url) == _origin(asked.url)
    except ValueError:
        return malformed("the answer sends us on to an address that is none")
    if not same and not may_fetch(url, target):
        return malformed(f"the answer sends us on to {url.partition('?')[0][:100]}, where nothing is fetched from")
    return records.replace(asked, url=url, headers=asked.headers if same else {"accept-encoding": "identity"})


def is_home(url: str, target: Target) -> bool:
    """Whether this address is on the target's own host."""
    try:
        return _origin(url) == _origin(target.base_url)
    except ValueError:
        return False


# --------------------------------------------------------------- outputs that are fetched


class _Errand(Record, kw_only=True):
    """What is being fetched for whom; `done` makes the answer of it."""

    kind: str
    target: Target
    done: Callable[[tuple[Output, ...]], list[Delta]]
    key_in: str


def gathered(
    outputs: Sequence[Output],
    target: Target,
    *,
    kind: str,
    done: Callable[[tuple[Output, ...]], list[Delta]],
    key_in: str = "bearer",
) -> list[Delta] | Failure | Next:
    """The answer that `done` makes of these outputs when the bytes of each are here.

    What was put into the caller's own storage (`gs:`, `s3:`) stays there.
    """
    if not outputs or len(outputs) > OUTPUTS_MAX:
        return malformed(f"the answer holds {len(outputs)} outputs")
    return _fetched(tuple(outputs), _Errand(kind=kind, target=target, done=done, key_in=key_in))


def _fetched(outputs: tuple[Output, ...], errand: _Errand) -> list[Delta] | Failure | Next:
    wanted = [not output.data and not output.url.startswith(_STORED) for output in outputs]
    index = wanted.index(True) if any(wanted) else None
    if index is None:
        return errand.done(outputs)
    url, arrived = outputs[index].url, partial(_arrived, outputs=outputs, index=index, errand=errand)
    try:
        inline = from_data_url(url)
    except ValueError:
        return malformed("a data URL in the answer is no base64")
    if inline is not None:
        return arrived(Head(), inline)
    request = fetch(url, errand.target, key_in=errand.key_in)
    if isinstance(request, Failure):
        return request
    return Next(request=request, decoder=partial(Headed, arrived, bytes_max=FILM_BYTES_MAX))


def _arrived(
    head: Head, data: bytes, *, outputs: tuple[Output, ...], index: int, errand: _Errand
) -> list[Delta] | Failure | Next:
    """One output's bytes; what is no picture now will not be one when it is fetched again."""
    found = output_of(data, errand.kind, said=head.content_type)
    if isinstance(found, Failure):
        return replace(found, again=False)
    found = records.replace(found, note=outputs[index].note)
    return _fetched((*outputs[:index], found, *outputs[index + 1 :]), errand)
