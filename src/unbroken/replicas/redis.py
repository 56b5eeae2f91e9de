"""The backplane that Valkey or Redis keeps, for replicas on many machines.

    NAME:said          a stream of what was said, of some thousand entries
    NAME:switches      a hash: how everything is set, and when
    NAME:alive         a sorted set: who was there, and when
    NAME:hold:LIMIT    a hash: who holds how much of a limit
    NAME:value:KEY     values that are kept for a while

All names share a hash tag, so that they lie together in a cluster.  All times are the store's:
how its clock relates to ours is measured whenever something is held, so the clocks of replicas
may differ, and jump, as they like.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from unbroken.replicas.backplane import Found, Gone, Grant, Hearer, Hold, Switch
from unbroken.replicas.commons import ALIVE_S, SAID_MAX, SAID_S, SOON_S

__all__ = ["InRedis"]

_LOGGER = logging.getLogger("unbroken")

Answer = TypeVar("Answer")

ANSWER_S = 0.5
"""A store that takes longer is as good as gone: nobody should learn late of what it has to say."""
LISTEN_S = 1.0
"""How long one reading of the stream waits for news."""
AGAIN_S, AGAIN_S_MAX = 0.1, 2.0
"""When to try again to reach a store that is gone, at first and at most."""
UNDER_WAY_MAX = 1_000
"""Of what is said and kept without waiting for an answer; beyond so many it is left."""
SWITCH_KEEP_S = 30 * 86_400
"""Switches that nobody has touched for a month are forgotten, with everything else."""

_SCHEMES = {"valkey://": "redis://", "valkeys://": "rediss://"}

_HOLD = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local me, alive_ms, soon_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - alive_ms)
redis.call('ZADD', KEYS[1], now, me)
redis.call('PEXPIRE', KEYS[1], alive_ms * 10)
local out = {clock[1] .. '.' .. string.format('%06d', clock[2]), redis.call('ZCARD', KEYS[1])}
for i = 2, #KEYS do
  local at = 4 + (i - 2) * 4
  local spent, wanted, limit = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local keep_ms = tonumber(ARGV[at + 3])
  local others, gone, held = 0, 0, redis.call('HGETALL', KEYS[i])
  for j = 1, #held, 2 do
    if held[j] ~= me then
      local its_spent, its_amount, till, dead = string.match(held[j + 1], '(%S+) (%S+) (%S+) (%S+)')
      if tonumber(till) <= now then
        redis.call('HDEL', KEYS[i], held[j])
      else
        gone = gone + tonumber(its_spent)
        others = others + tonumber(redis.call('ZSCORE', KEYS[1], held[j]) and its_amount or dead)
      end
    end
  end
  local amount = math.max(spent, math.min(wanted, limit - others))
  local dead = keep_ms <= soon_ms and amount or spent
  redis.call('HSET', KEYS[i], me, string.format('%.17g %.17g %.0f %.17g', spent, amount, now + keep_ms, dead))
  redis.call('PEXPIRE', KEYS[i], math.ceil(keep_ms * 2))
  out[#out + 1] = string.format('%.17g', amount)
  out[#out + 1] = string.format('%.17g', others)
  out[#out + 1] = string.format('%.17g', gone)
end
return out
"""
"""`Commons.hold`, where several ask at the same time."""
_KEEP = """
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and tonumber(string.match(known, '^(%S+)')) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""


class InRedis:
    """A `Backplane`.  `url` is redis://, rediss://, valkey:// or unix://; `name` tells gateways of one store apart."""

    def __init__(
        self, url: str, *, replica: str, name: str = "unbroken", password: Callable[[], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`password` is asked for whenever a connection is made."""
        self._replica, self._clock = replica, clock
        self._prefix = f"{{{name}}}"
        self._store = _connected(url, password=password, timeout_s=ANSWER_S)
        self._stream = _connected(url, password=password, timeout_s=LISTEN_S + ANSWER_S)
        self._hold = self._store.register_script(_HOLD)
        self._keep = self._store.register_script(_KEEP)
        self._hearer: Hearer | None = None
        self._listening: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._unsaid: list[bytes] = []
        self._offset_s = 0.0
        self._there = self._closing = False

    # -- as a backplane

    def start(self, hearer: Hearer) -> None:
        if self._listening is None:
            self._hearer = hearer
            self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def close(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=ANSWER_S)
        self._closing = True  # a client that is told to stop at the wrong moment may take that for a time limit
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening}, timeout=LISTEN_S + 2 * ANSWER_S)
        with contextlib.suppress(Gone):
            if self._there:
                await self._answer(self._store.zrem(self._name("alive"), self._replica))
        for one in (self._store, self._stream):
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await one.aclose()

    def say(self, words: bytes) -> None:
        if self._there and len(self._unsaid) < UNDER_WAY_MAX:
            self._unsaid.append(words)
            if len(self._unsaid) == 1 and not self._begin(self._speak()):
                self._unsaid.clear()

    def keep(self, name: str, switch: Switch) -> None:
        at = f"{switch.at:.6f}"
        self._soon(lambda: self._keep(keys=[self._name("switches")], args=[name, at, switch.words, SWITCH_KEEP_S]))

    async def hold(self, holds: Sequence[Hold]) -> tuple[list[Grant], int]:
        keys = [self._name("alive"), *(self._name(f"hold:{hold.name}") for hold in holds)]
        args: list[Any] = [self._replica, ALIVE_S * 1000, SOON_S * 1000]
        for hold in holds:
            args += [repr(hold.spent), repr(hold.wanted), repr(hold.limit), max(1, int(hold.keep_s * 1000))]
        began = self._clock()
        told = await self._answer(self._hold(keys=keys, args=args))
        self._offset_s = (began + self._clock()) / 2 - float(told[0])
        numbers = [float(number) for number in told[2:]]
        return [Grant(*three) for three in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)], int(told[1])

    async def ask(self, what: str) -> list[bytes] | None:
        """Nobody: other machines are looked at one by one, by whoever looks at them."""
        return None

    def get(self, key: str, *, ready: Callable[[Found], None]) -> None:
        async def look() -> None:
            found: Found = None
            with contextlib.suppress(Gone):
                found = await self._value(key)
            ready(found)

        if not self._there or not self._begin(look()):
            asyncio.get_running_loop().call_soon(ready, None)

    def put(self, key: str, value: bytes, *, keep_s: float) -> None:
        keep_ms = max(1, int(keep_s * 1000))
        kept = b"%d " % keep_ms + value
        self._soon(lambda: self._store.set(self._name(f"value:{key}"), kept, px=keep_ms))

    # -- inside

    async def _speak(self) -> None:
        """Say what there is to be said, in its order: one after the other, and at once what came meanwhile."""
        while words := list(self._unsaid):
            pipe = self._store.pipeline(transaction=False)
            for one in words:
                pipe.xadd(self._name("said"), {b"w": one}, maxlen=SAID_MAX, approximate=True)
            try:
                await self._answer(pipe.execute())
            except Gone:
                self._unsaid.clear()
                return
            del self._unsaid[: len(words)]

    def _name(self, what: str) -> str:
        return f"{self._prefix}:{what}"

    async def _value(self, key: str) -> Found:
        name = self._name(f"value:{key}")
        pipe = self._store.pipeline(transaction=False)
        pipe.get(name)
        pipe.pttl(name)
        kept, left_ms = await self._answer(pipe.execute())
        if kept is None or left_ms < 0:
            return None
        keep_ms, _, value = kept.partition(b" ")
        return value, max(0.0, (int(keep_ms) - left_ms) / 1000)

    def _soon(self, act: Callable[[], Any]) -> None:
        """Do it in the background, if the store is there; nobody waits for it."""

        async def do() -> None:
            with contextlib.suppress(Gone):
                await self._answer(act())

        if self._there:
            self._begin(do())

    def _begin(self, work: Coroutine[Any, Any, None]) -> bool:
        if len(self._under_way) >= UNDER_WAY_MAX:
            work.close()
            return False
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return True

    async def _answer(self, asked: Awaitable[Answer]) -> Answer:
        """What the store says; Gone where it says nothing."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asked
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
            raise Gone(str(error)) from None

    def _lost(self, why: str) -> None:
        if self._there and not self._closing:
            self._there = False
            _LOGGER.warning("the store is gone (%s); this replica goes on alone", why)
            if self._hearer is not None:
                self._hearer.lost(why)

    async def _listen(self) -> None:
        """Read what is said, for ever; where the store is gone, begin again when it is back."""
        again_s, last = AGAIN_S, ""
        while not self._closing:
            try:
                last = await self._join(last)
                again_s = AGAIN_S
                while self._there and not self._closing:
                    last = await self._read(last)
            except (RedisError, OSError, TimeoutError, ValueError) as error:
                self._lost(type(error).__name__)
            if not self._closing:
                await asyncio.sleep(again_s)
            again_s = min(2.0 * again_s, AGAIN_S_MAX)

    async def _join(self, last: str) -> str:
        """How everything is set, what was said lately or since we left; from where to read on."""
        async with asyncio.timeout(ANSWER_S):
            began = self._clock()
            seconds, micros = await self._stream.time()
            self._offset_s = (began + self._clock()) / 2 - (seconds + micros / 1e6)
            set_so = await self._stream.hgetall(self._name("switches"))
        assert self._hearer is not None
        was_there, self._there = bool(last), True
        if was_there:
            _LOGGER.warning("the store is there again")
        self._hearer.joined({name.decode(): _switch(value) for name, value in set_so.items()})
        return _later(last, f"{max(0, int((seconds - SAID_S) * 1000))}-0")

    async def _read(self, last: str) -> str:
        """What has been said after this; where to read on."""
        found = await self._stream.xread({self._name("said"): last}, count=100, block=int(LISTEN_S * 1000))
        assert self._hearer is not None
        entries = found[0][1] if found else []
        for number, fields in entries:
            last = number.decode()
            self._hearer.heard(fields.get(b"w", b""), int(last.partition("-")[0]) / 1000 + self._offset_s)
        return last


def _switch(value: bytes) -> Switch:
    at, _, words = value.partition(b" ")
    return Switch(float(at), words)


def _later(one: str, other: str) -> str:
    """The later of two places in a stream; where the store began anew, its clock tells."""

    def order(place: str) -> tuple[int, int]:
        at, _, number = place.partition("-")
        return int(at or 0), int(number or 0)

    return max(one, other, key=order)


def _connected(url: str, *, password: Callable[[], str] | None, timeout_s: float) -> Any:
    """A client that tries once and says so when it fails: what to do then is our affair.

    Its types are those of every protocol and setting at once, so it is `Any` to us.
    """
    for scheme, meant in _SCHEMES.items():
        url = meant + url.removeprefix(scheme) if url.startswith(scheme) else url
    more: Mapping[str, Any] = {} if password is None else {"credential_provider": _Password(password)}
    return Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=ANSWER_S, retry=Retry(NoBackoff(), 0), protocol=2,
        health_check_interval=0, **more,
    )  # fmt: skip


class _Password(CredentialProvider):
    """What redis-py asks for a password; where that is kept may take its time."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read

    def get_credentials(self) -> tuple[str]:
        return (self._read(),)

    async def get_credentials_async(self) -> tuple[str]:
        return (await asyncio.to_thread(self._read),)
