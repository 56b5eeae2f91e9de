"""Asks providers how they are, beside callers' requests: the shell around `core.probing`.

The prober hears of callers' requests as a sink does, holds one timer while there is something
to be asked, and one task for each question under way.  What comes of a question is a fact, and
what follows from it the board's affair.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from unbroken.core.probing import Errand, Post, Rounds
from unbroken.engine import KEY_AGAIN_S, Engine
from unbroken.facts import Decided, Fact, Probed, ProbeStarted
from unbroken.failures import Failure, FailureKind
from unbroken.inquiry import Told, free, word
from unbroken.policy import NOTHING_FREE, Probing
from unbroken.types import Target, Task

__all__ = ["Prober", "posts_of"]

NEVER = float("inf")
_LOGGER = logging.getLogger("unbroken")


def posts_of(probing: Mapping[str, Probing], targets: Iterable[Target]) -> list[Post]:
    """Whom to ask what, of these targets: each key the free question, each target that chats for a word."""
    chatting: dict[str, list[Target]] = {name: [] for name in probing}
    for target in targets:
        if target.provider in chatting and Task.CHAT in target.tasks:
            chatting[target.provider].append(target)
    posts = []
    for name, mine in chatting.items():
        how = probing[name]
        by_key = {target.key_scope: target for target in reversed(mine)}
        free_to_ask = how.every_s is not None and how.path != NOTHING_FREE
        posts.append(Post(name, how, tuple(by_key.values()) if free_to_ask else (), tuple(mine) if how.billed else ()))
    return posts


def _refuses_fetched(failure: Failure, target: Target) -> bool:
    """Whether a provider refused a key that is kept elsewhere."""
    return failure.kind is FailureKind.AUTH and failure.sent and bool(target.credential)


def _patient(told: Told, target: Target) -> Told:
    """As with requests: such a key rests for a short time only, as there may be a newer one any moment."""
    if told.failure is None or not _refuses_fetched(told.failure, target):
        return told
    return Told(replace(told.failure, cool_s=KEY_AGAIN_S))


class Prober:
    """Sends what the rounds say is due.

    It begins with the event loop: at `start`, or else when the first facts come.  `asks` is whether it is for this
    process to ask at the moment, and not for another replica, which then tells what it heard.
    """

    def __init__(self, engine: Engine, rounds: Rounds, *, probing: Mapping[str, Probing]) -> None:
        """`probing` is how each provider is asked, by its name."""
        self._engine, self._rounds, self._probing = engine, rounds, probing
        self._started = self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER
        self._tasks: set[asyncio.Task[None]] = set()
        self._useless: set[str] = set()
        self.asks: Callable[[], bool] = lambda: True

    def start(self) -> None:
        """Begin; a second time does nothing."""
        if not self._started:
            self._started = True
            self._rounds.begin(self._engine.clock())
            self._rearm()

    def stop(self) -> None:
        """Ask nothing more, and hang up."""
        self._stopped = True
        self._disarm()
        for task in self._tasks:
            task.cancel()

    def write(self, facts: list[Fact]) -> None:
        """Hear who is wanted, and look whether anything is due sooner by what has happened."""
        if self._stopped:
            return
        self.start()
        for fact in facts:
            if type(fact) is Decided:
                self._rounds.wanted(fact)
        self._rearm()

    # -- time

    def _rearm(self) -> None:
        """An alarm that comes too early is cheap; where nothing is due there is none at all."""
        now = self._engine.clock()
        at = NEVER if self._stopped else self._rounds.wake_at(now)
        if at == NEVER:
            self._disarm()
        elif at < self._timer_at:
            self._disarm()
            self._timer_at = at
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - now), self._wake)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, NEVER

    def _wake(self) -> None:
        self._disarm()
        self.go()
        self._rearm()

    # -- questions

    def go(self) -> None:
        """Send everything that is due by now."""
        now = self._engine.clock()
        for errand in self._rounds.due(now):
            if not self.asks():
                self._rounds.over(errand, now, told=True, well=True)
                continue
            task = asyncio.get_running_loop().create_task(self._run(errand))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, errand: Errand) -> None:
        """One question, from beginning to end."""
        began, told = self._engine.clock(), None
        self._note(ProbeStarted(began, errand.target, errand.free))
        try:
            told = await self._ask(errand)
        except Exception as error:  # noqa: BLE001 - codecs promise not to raise; a probe must not end all probes
            told = self._defect(errand, error)
        finally:
            now = self._engine.clock()
            if told is not None and not self._is_in_doubt(errand, told):
                self._note(Probed(now, errand.target, errand.free, now - began, told.failure, told.usage))
            self._rounds.over(errand, now, told=told is not None, well=told is not None and told.failure is None)
            self._rearm()

    async def _ask(self, errand: Errand) -> Told | None:
        target, probing = errand.target, self._probing[errand.target.provider]
        if not errand.free:
            return _patient(await word(self._engine, target), target)
        told = await free(self._engine, target, path=probing.path, timeout_s=probing.timeout_s)
        if told is None:
            self._say_useless(target.provider)
        return told and _patient(told, target)

    def _is_in_doubt(self, errand: Errand, told: Told) -> bool:
        """Whether a key was refused that may have a successor by now: for nothing, it is simply asked about again."""
        keyring = self._engine.keyring
        if keyring is None or told.failure is None or not _refuses_fetched(told.failure, errand.target):
            return False
        return keyring.forget(errand.target.credential) and errand.free

    def _defect(self, errand: Errand, error: Exception) -> Told | None:
        """Ours, and so no word about the provider; but a word that was asked for is not asked for on and on."""
        message = f"probing {errand.target.name} failed"
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
        return None if errand.free else Told(Failure(kind=FailureKind.MALFORMED, message=message))

    def _say_useless(self, provider: str) -> None:
        if provider not in self._useless:
            self._useless.add(provider)
            _LOGGER.warning("provider %s: its free question tells nothing; give `probe.path`", provider)

    def _note(self, fact: Fact) -> None:
        self._engine.board.fold(fact)
        self._engine.bus.publish(fact)
