"""The keyring: has the key of this moment at hand, and reads it again before it ends.

    good      used at once; when it grows old, a new one is read behind its back
    refused   by a provider (`forget`): read again before it is used again
    none      requests wait for it, all for the same reading

A reading that fails costs nothing while the key of before is good; without one the requests
that wait fail with AUTH, and so does, for some seconds, everybody who comes after them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module

from unbroken.credentials.references import AWS, TOKEN_FILE, reference_of
from unbroken.credentials.source import Held, Source, Unreadable
from unbroken.failures import Failure, FailureKind
from unbroken.types import HttpRequest, Target
from unbroken.wire.errors import redact
from unbroken.wire.sigv4 import sign

__all__ = ["Credentials", "secret"]

STATIC_S = 300.0
"""How old a key may become whose keeper does not say when it ends ..."""
FILE_S = 60.0
"""... and one in a file, which costs nothing to read."""
EARLY_S = 300.0
"""A token is renewed when it has less life left, or less than half of its life."""
LAST_S = 10.0
"""In its last seconds it is not used: it has to arrive, and clocks differ."""
DOUBT_S = 5.0
"""A key that was read so recently is not read again because it was refused: the next one is not there yet."""
REST_S = 10.0
"""How long a keeper is left alone after it failed."""
READ_S_MAX = 20.0
"""How long a reading may take as a whole; clients have limits of their own for its parts."""
WAITING_MAX = 10_000
"""Requests that wait for one key."""
REASON_CHARS = 300

READERS: Mapping[str, str] = {
    "file": "files", TOKEN_FILE: "files", "vault": "vault", "aws-sm": "aws", "aws": "aws",
    "azure-kv": "azure", "azure-ad": "azure", "google": "google",
}  # fmt: skip
"""The module that reads references of a scheme."""
_LOGGER = logging.getLogger("unbroken")

Write = Callable[[Target], HttpRequest]
Ready = Callable[[HttpRequest | Failure], None]


class Credentials:
    """A `Keyring`.  It belongs to one event loop; `clock` gives seconds since 1970."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._keys: dict[str, _Key] = {}

    def authorize(self, target: Target, write: Write, *, ready: Ready) -> None:
        """See `Keyring`."""
        key = self._key(target.credential or AWS)
        now = self._clock()
        if (held := key.current(now)) is not None:
            if key.is_due(now):
                self._read(key)
            ready(self._authorized(target, write, held=held))
        elif key.rests(now) or len(key.waiting) >= WAITING_MAX:
            ready(_no_key(target, key))
        else:
            key.waiting.append(partial(self._authorize_later, target, write, ready=ready, key=key))
            self._read(key)

    def forget(self, credential: str) -> bool:
        """A provider refused this key (`credential` as in `Target`): whether another try may be made with a newer one.

        It is read again before it is used again, unless that was done in the last seconds.
        """
        key = self._keys.get(credential or AWS)
        return key is not None and key.doubt(self._clock())

    # -- reading

    def _key(self, name: str) -> _Key:
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = _Key(name)
        return key

    def _read(self, key: _Key) -> None:
        """Read in a thread, unless that is under way; the loop hears of it, or of the time that it took.

        A thread of its own, and a daemon: one that hangs must keep neither the loop's pool from
        looking up hosts nor the program from ending.
        """
        if key.reading is not None:
            return
        loop, anew = asyncio.get_running_loop(), key.refused

        def over(found: Held | str) -> None:
            alarm.cancel()
            late = key.reading is not alarm
            if not late:
                key.reading = None
            if isinstance(found, Held) or not late:  # a key that comes late is a key
                self._settle(key, found)

        def read() -> None:
            found = key.read(anew=anew)
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(over, found)

        alarm = key.reading = loop.call_later(READ_S_MAX, over, f"there was no answer in {READ_S_MAX:g} s")
        threading.Thread(target=read, name="unbroken reads a key", daemon=True).start()

    def _settle(self, key: _Key, found: Held | str) -> None:
        """A reading is over: everybody who waited goes on, each on its own."""
        key.settle(found, self._clock())
        waiting, key.waiting = key.waiting, []
        loop = asyncio.get_running_loop()
        for goes_on in waiting:
            loop.call_soon(goes_on)

    # -- using

    def _authorize_later(self, target: Target, write: Write, *, ready: Ready, key: _Key) -> None:
        held = key.current(self._clock())
        if held is None:
            ready(_no_key(target, key))
            return
        try:
            written = self._authorized(target, write, held=held)
        except (KeyError, ValueError) as error:
            message = f"{target.name} cannot be asked this: {error}"
            written = Failure(kind=FailureKind.REQUEST, message=message, sent=False)
        ready(written)

    def _authorized(self, target: Target, write: Write, *, held: Held) -> HttpRequest | Failure:
        """The request with this key in it, or signed with it."""
        signs, region = target.auth == "sigv4", target.options.get("region", "")
        if signs is not bool(held.key_id):
            what = "AWS' credentials sign requests" if held.key_id else "its requests are signed"
            return _unfit(target, f"{what}: `auth: sigv4` goes with `{AWS}`, and only with it")
        if not signs:
            return write(replace(target, key=held.key))
        if not region:
            return _unfit(target, "its requests are signed for a region, and `region` is not set")
        return sign(
            write(target), key_id=held.key_id, secret=held.key, token=held.session, region=region,
            service=target.options.get("service", "bedrock"), at=datetime.fromtimestamp(self._clock(), UTC),
        )  # fmt: skip


class _Key:
    """One reference: what was read there, until when it is good, and who waits for it."""

    __slots__ = ("_credential", "_lock", "_source", "changed_at", "held", "name", "read_at", "reading", "refused",
                 "renew_at", "rests_until", "waiting", "why")  # fmt: skip

    def __init__(self, credential: str) -> None:
        self._credential = credential
        self.name = _name(credential)
        self.held: Held | None = None
        self.read_at = self.changed_at = self.renew_at = self.rests_until = 0.0
        self.refused = False
        self.why = ""
        self.waiting: list[Callable[[], None]] = []
        self.reading: asyncio.TimerHandle | None = None
        self._source: Source | None = None
        self._lock = threading.Lock()

    def current(self, now: float) -> Held | None:
        """The key, if it can be used."""
        held = self.held
        if held is None or self.refused or (held.until is not None and now >= held.until - LAST_S):
            return None
        return held

    def is_due(self, now: float) -> bool:
        """Whether a newer one should be read; also where somebody set the clock back."""
        return not self.read_at <= now < self.renew_at and not self.rests(now)

    def rests(self, now: float) -> bool:
        """Whether the last reading failed a moment ago."""
        return 0.0 < self.rests_until - now <= REST_S

    def doubt(self, now: float) -> bool:
        """A provider refused it: whether the next one that is used may be another."""
        if self.rests(now):
            return False
        if 0.0 <= now - self.read_at < DOUBT_S:
            self.renew_at = min(self.renew_at, self.read_at + DOUBT_S)
            return now - self.changed_at < DOUBT_S  # it may be the one of before that was refused
        self.refused = self.held is not None
        return self.refused

    def settle(self, found: Held | str, now: float) -> None:
        """Take over what was read, or keep what there is."""
        self.refused = False
        if isinstance(found, Held) and found.until is not None and now >= found.until - LAST_S:
            found = "what it gave has ended already"
        if isinstance(found, Held):
            if self.held is not None and found.key != self.held.key:
                self.changed_at = now
            self.held, self.why = found, ""
            self.read_at, self.rests_until = now, 0.0
            self.renew_at = now + self._lasts_s(found, now)
            return
        if found != self.why:
            kept = "; the key of before is used" if self.current(now) else ""
            _LOGGER.warning("no key from %s: %s%s", self.name, found, kept)
        self.why, self.rests_until = found, now + REST_S

    def _lasts_s(self, held: Held, now: float) -> float:
        if held.until is not None:
            return held.until - now - min(EARLY_S, (held.until - now) / 2)
        return FILE_S if self.name.startswith("file:") or self.name == TOKEN_FILE else STATIC_S

    # -- in a thread

    def read(self, *, anew: bool) -> Held | str:
        """The key, or why there is none; never raises, and no error leaves it: secrets may hang on one."""
        if not self._lock.acquire(blocking=False):
            return "an earlier reading is still under way"
        try:
            if self._source is None:
                self._source = _opened(self._credential)
            return self._source.read(anew=anew)
        except Unreadable as error:
            return redact(" ".join(str(error).split()))[:REASON_CHARS]
        except Exception as error:  # noqa: BLE001 - a client of somebody else's; its words may hold anything
            return f"reading it failed ({type(error).__name__})"
        finally:
            self._lock.release()


def secret(said: str) -> str:
    """What a reference refers to, read at once, which may take seconds; anything else is a secret itself.

    OSError where it cannot be read; a key that changes is read anew by asking again.
    """
    try:
        if reference_of(said) is None:
            return said
        return _opened(said).read(anew=True).key
    except (Unreadable, ValueError) as error:
        raise OSError(redact(str(error))[:REASON_CHARS]) from None


def _opened(credential: str) -> Source:
    """The reader of this reference."""
    try:
        reference = reference_of(credential)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    if reference is None:
        raise Unreadable("that is no reference to a key")
    try:
        reader = import_module(f"unbroken.credentials.{READERS[reference.scheme]}")
    except ImportError as error:
        package = error.name or str(error)
        raise Unreadable(f"it needs {package}, which is not installed: pip install 'unbroken[secrets]'") from None
    found: Source = reader.source(reference)
    return found


def _name(credential: str) -> str:
    """What it is called where it is shown: somebody may have put the key itself there."""
    try:
        return credential if reference_of(credential) else "its credential"
    except ValueError:
        return f"its {credential.partition(':')[0]} reference"


def _no_key(target: Target, key: _Key) -> Failure:
    return _unfit(target, f"no key from {key.name}: {key.why or 'too many requests wait for it'}")


def _unfit(target: Target, why: str) -> Failure:
    message = f"{target.name} was not asked: {why}"
    return Failure(kind=FailureKind.AUTH, message=message, sent=False, cool_s=REST_S)
