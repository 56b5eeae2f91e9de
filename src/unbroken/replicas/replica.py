"""What an engine has of its replicas: a sink that tells them what it learned, and what they say in return.

    replica = Replica(engine, backplane, name="r1")
    engine.bus.add(replica)          facts go out in batches
    replica.start()                  ... and those of others are folded into the board

In the background it asks for parts of all limits, a little more than was spent, again and again
while they are spent.  While nobody answers it goes on with its share, and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping

from unbroken.core.limits import Pool
from unbroken.engine import Engine
from unbroken.facts import Fact, Hearsay, LimitsTold, Operated, Probed, TargetForced
from unbroken.replicas.backplane import Backplane, Gone, Hold, Switch
from unbroken.replicas.claims import claims_of, claims_of_key
from unbroken.replicas.commons import ALIVE_S
from unbroken.replicas.leases import Claim, Leases
from unbroken.replicas.words import Gathering, decode, encode, set_at
from unbroken.types import Json

__all__ = ["ACTS", "ELSEWHERE", "Replica"]

_LOGGER = logging.getLogger("unbroken")

ROUND_S = 0.5
"""Between two rounds of asking for parts of limits; who is there is known from it too."""
BUSY_S = 0.1
"""The same while requests come in, ..."""
SHORT_S = 0.01
"""... and where one of them waits for room."""
JOIN_S = 1.0
"""A backplane that is not there after so long is gone."""
LEAD = "probes"
"""Held by the one replica that asks providers how they are; when nothing is heard of it, by another one."""
LATER_S = 0.001
"""What is set after something else is later by so much at least."""
ECHOES_MAX = 1_000
"""Acts of others that are on their way to the sinks of this replica."""
ACTS = frozenset(("strategy", "reset", "reload"))
"""What operators do that all replicas do with them; switches of breakers are facts of their own."""


class Replica:
    """One of several that act as one; `name` tells it from the others."""

    def __init__(
        self, engine: Engine, backplane: Backplane, *, name: str, share: float | None = None,
        siblings: Backplane | None = None, wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """`share` as in `Leases`; `siblings` are asked what only the workers of one machine are asked."""
        self._engine, self.backplane, self.name, self._wall = engine, backplane, name, wall
        self._siblings = siblings
        self._gathering = Gathering(engine.board)
        self._leases = Leases(share)
        self._set: dict[str, Switch] = {}
        self._obeyed: dict[str, float] = {}
        self._echoes: set[Fact] = set()
        self._started = self._lately = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._round: asyncio.Task[None] | None = None
        self.joined_at: float | None = None
        self._leads = True
        self.acts: Callable[[Operated | TargetForced, float], None] = lambda _, __: None
        self.answers: dict[str, Callable[[], bytes]] = {}

    # -- beside requests

    def start(self) -> None:
        """Join the others; a second time does nothing."""
        if not self._started:
            self._started = True
            for claim in self._claims():
                if claim.waits:  # until it is known what others hold; requests wait so long
                    claim.tell(0.0, 0.0)
            self.backplane.start(self)
            if self._siblings is not None:
                self._siblings.start(_Asked(self))
            asyncio.get_running_loop().call_later(JOIN_S, self._give_up)

    def stop(self) -> None:
        """Nothing is asked for any more; `drain` says goodbye."""
        self._started = True
        if self._timer is not None:
            self._timer.cancel()
        if self._round is not None:
            self._round.cancel()

    @property
    def siblings(self) -> Backplane:
        """Who is asked what only the workers of one machine are asked."""
        return self._siblings or self.backplane

    def leads(self) -> bool:
        """Whether this is the one that does what only one has to do; alone, each is."""
        return self._leads

    def state(self) -> dict[str, Json]:
        """Whether the others are there, and how many there are, this one counted."""
        there = self.joined_at is not None
        return {"name": self.name, "connected": there, "replicas": self._leases.replicas, "share": self._leases.share}

    def write(self, facts: list[Fact]) -> None:
        """Tell the others what of it they should know."""
        self.start()
        for fact in facts:
            if isinstance(fact, TargetForced | Operated) and fact in self._echoes:
                self._echoes.discard(fact)
            else:
                self._tell(fact)
        if tellings := self._gathering.take():
            self.backplane.say(encode(self.name, tellings, now=self._engine.clock()))
        self._lately = True
        self._soon(BUSY_S)

    async def drain(self) -> None:
        """Tell the last, give back what was held ahead, and go."""
        self.stop()
        with contextlib.suppress(Gone):
            if self.joined_at is not None:
                await self.backplane.hold([_lead(0.0), *self._leases.goodbye(self._claims())])
        await self.backplane.close()
        if self._siblings is not None:
            await self._siblings.close()

    # -- told by the backplane

    def heard(self, words: bytes, at: float) -> None:
        """Others' facts count as if they were ours, where they speak of health; ours come back, and say nothing."""
        try:
            name, facts = decode(words, at)
            for fact in facts if name != self.name else ():
                if isinstance(fact, Hearsay | LimitsTold | Probed):
                    self._engine.board.fold(fact)
                elif isinstance(fact, TargetForced | Operated):
                    self._obey(fact, Switch(set_at(words) or self._wall(), words))
        except ValueError as error:
            _LOGGER.warning("%s", error)
        except Exception:  # whoever listens goes on to listen
            _LOGGER.exception("what a replica said could not be followed")
        self._freed()

    def joined(self, switches: Mapping[str, Switch]) -> None:
        """Of what was set here and there, the later counts."""
        self.joined_at = self._engine.clock()
        for name, switch in switches.items():
            mine = self._set.get(name)
            if mine is None or mine.at < switch.at:
                self._follow(switch)
        for name, mine in self._set.items():
            if name not in switches or switches[name].at < mine.at:
                self._spread(name, mine)
        self._soon(0.0)

    def lost(self, why: str) -> None:
        """Everybody goes on alone."""
        self.joined_at, self._leads = None, True
        self._leases.alone(self._claims())
        self._freed()

    def asked(self, what: str) -> bytes:
        """What this replica has to say to that."""
        answer = self.answers.get(what)
        return answer() if answer is not None else b""

    async def ask(self, what: str) -> list[bytes] | None:
        """What all others have to say to that; None where they are not to be asked."""
        told = await self.siblings.ask(what)
        return None if told is None else [one for one in told if one]

    # -- acts of operators

    def _tell(self, fact: Fact) -> None:
        if isinstance(fact, Operated):
            if fact.problem or fact.what not in ACTS:
                return
            if fact.what == "reload":
                self._forget_strategies()
                if fact.who == "SIGHUP" or fact.who.startswith(("file ", ELSEWHERE)):
                    return
        if isinstance(fact, TargetForced | Operated) and (name := _switch_name(fact)):
            self._spread(name, self._setting(name, fact))
            if self._obeyed.get(name, float("-inf")) >= fact.at:  # heard after it was set here, and not yet told
                self._do(fact, self._set[name].at)
        else:
            self._gathering.add(fact)

    def _setting(self, name: str, fact: TargetForced | Operated) -> Switch:
        """Something is set here, later than all that is known of it, whatever the clocks say."""
        known, now = self._set.get(name), self._wall()
        at = now if known is None else max(now, known.at + LATER_S)
        switch = self._set[name] = Switch(at, encode(self.name, [fact], now=self._engine.clock(), set_at=at))
        return switch

    def _spread(self, name: str, switch: Switch) -> None:
        """For those who are there, and for those who join."""
        self.backplane.say(switch.words)
        self.backplane.keep(name, switch)

    def _forget_strategies(self) -> None:
        """They are what the configuration says again."""
        now = self._engine.clock()
        for name in [name for name in self._set if name.startswith(STRATEGY)]:
            switch = self._setting(name, Operated(now, "", "strategy", name.removeprefix(STRATEGY), ""))
            self.backplane.keep(name, switch)

    def _follow(self, switch: Switch) -> None:
        """Something is set as this says."""
        with contextlib.suppress(ValueError):
            _, facts = decode(switch.words, self._engine.clock())
            for fact in facts:
                if isinstance(fact, TargetForced | Operated):
                    self._obey(fact, switch)

    def _obey(self, fact: TargetForced | Operated, switch: Switch) -> None:
        """Do as an operator has told another replica, unless something later is known; what is told may come late."""
        if name := _switch_name(fact):
            known = self._set.get(name)
            if known is not None and known.at >= switch.at:
                return
            self._set[name], self._obeyed[name] = switch, self._engine.clock()
        if len(self._echoes) < ECHOES_MAX:
            self._echoes.add(fact)
            self._engine.bus.publish(fact)
        self._do(fact, switch.at)

    def _do(self, fact: TargetForced | Operated, at: float) -> None:
        self.acts(fact, at)
        if isinstance(fact, TargetForced):
            self._engine.board.fold(fact)

    # -- parts of limits

    def _claims(self) -> list[Claim]:
        admission = self._engine.admission
        if admission is None:
            return []
        admission.short = self._run_short
        if admission.askers is not None:
            admission.askers.met = self._met
        return list(claims_of(admission, self._engine.clock()))

    def _met(self, asker: str, pool: Pool) -> None:
        """A caller's key is used of which the others were not asked; who is alone has its share of that too."""
        if self._leases.is_alone:
            self._leases.alone(claims_of_key(asker, pool, now=self._engine.clock()))

    def _run_short(self) -> None:
        """A request waits for room."""
        self._soon(SHORT_S)

    def _give_up(self) -> None:
        if self.joined_at is None:
            self.lost("it could not be reached")

    def _soon(self, seconds: float) -> None:
        """The next round, at the latest then."""
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self.joined_at is None or at >= self._timer_at or self._round is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = loop.call_at(at, self._begin), at

    def _begin(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        self._round = asyncio.get_running_loop().create_task(self._go())

    async def _go(self) -> None:
        """One round, and when the next one is."""
        pause_s = ROUND_S
        try:
            pause_s = await self._ask()
        except Gone:
            pass  # who was told of it begins again when they are back
        except Exception:
            _LOGGER.exception("parts of limits could not be asked for")
        self._round = None
        self._soon(pause_s)

    async def _ask(self) -> float:
        """Ask for parts of all limits; in how many seconds to ask again."""
        admission, now = self._engine.admission, self._engine.clock()
        short = admission is not None and bool(admission.gate.waiting)
        asked = self._leases.holds(self._claims(), now=now, short=short)
        self._lately = False
        (lead, *grants), replicas = await self.backplane.hold([_lead(1.0), *(hold for _, hold in asked)])
        self._leads = lead.amount >= 1.0
        if self._leases.granted(asked, grants, replicas=replicas):
            self._freed()
        return SHORT_S * 2 if short else BUSY_S if self._lately else ROUND_S

    def _freed(self) -> None:
        if self._engine.admission is not None:
            self._engine.admission.freed()


class _Asked:
    """The ear for siblings: they ask, and everything else comes over the store."""

    def __init__(self, replica: Replica) -> None:
        self.asked = replica.asked

    def heard(self, words: bytes, at: float) -> None:
        """Nobody says anything here."""

    def joined(self, switches: Mapping[str, Switch]) -> None:
        """The store knows better."""

    def lost(self, why: str) -> None:
        """Whoever started this process sees to its end."""


STRATEGY = "strategy "
ELSEWHERE = "elsewhere: "
"""How whoever has acted at another replica is called."""


def _lead(wanted: float) -> Hold:
    return Hold(LEAD, 0.0, wanted, 1.0, ALIVE_S)


def _switch_name(fact: TargetForced | Operated) -> str:
    """Under which name it is kept for those who join; empty for what is over when it is done."""
    if isinstance(fact, TargetForced):
        return f"breaker {fact.scope}"
    if fact.what == "reset":
        return "statistics"
    return f"{STRATEGY}{fact.about}" if fact.what == "strategy" else ""
