"""What an operator does to a gateway that runs: each act is a fact (who, what, when) and a line in the log.

Switches are the board's: they hold until they are turned back or the process ends, through every
reload.  A strategy is configuration: it holds until the configuration is read anew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from unbroken.config_shape import CHOICES
from unbroken.facts import Fact, Operated, Probed, ProbeStarted, TargetForced
from unbroken.inquiry import Told, free, word
from unbroken.policy import Probing
from unbroken.reload import House, change
from unbroken.status import scopes_of
from unbroken.types import Target

__all__ = ["Checked", "Switches", "Unknown"]

_LOGGER = logging.getLogger("unbroken")

NAMES_MAX = 12
"""Of what there is, are named to whoever asked for what there is not."""


class Unknown(LookupError):
    """There is nothing of this name; the message says what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of asking a target how it is; `state` is well, failing, or unknown where nothing free says it."""

    state: str
    asked: str
    seconds: float
    failure: str = ""


class Switches:
    """Acts on a gateway, in the name of `who`."""

    def __init__(self, house: House) -> None:
        self._house = house

    def target(self, name: str) -> Target:
        """The target of this name, or of this alias; Unknown where there is none."""
        config = self._house.config
        wanted = config.aliases.get(name, name)
        found = next((target for target in config.targets if target.name == wanted), None)
        if found is None:
            raise _unknown("target", name, known=[target.name for target in config.targets])
        return found

    def enable(self, name: str, who: str, *, on: bool) -> list[Target]:
        """Take a target out of every route, or bring it back; all targets that this is about.

        Only the one unless others share its quota: then their health is one.
        """
        scope = self.target(name).quota_scope
        touched = self._force(scope, open_=None if on else True)
        self._note(Operated(self._now, who, "enable" if on else "disable", name))
        return touched

    def force(self, scope: str, who: str, *, open_: bool | None) -> list[Target]:
        """Hold a breaker open or closed, or let it go; the targets that need what it guards.  Unknown where no one."""
        known = scopes_of(self._house.config)
        if scope not in known and scope not in self._house.engine.board.healths():
            raise _unknown("breaker", scope, known=list(known))
        touched = self._force(scope, open_=open_)
        to = "released" if open_ is None else "open" if open_ else "closed"
        self._note(Operated(self._now, who, "breaker", scope, to))
        return touched

    def strategize(self, route: str, who: str, *, strategy: str) -> None:
        """Choose targets by another strategy on this route; Unknown where either is."""
        config, wanted = self._house.config, strategy.replace("_", "-")
        if route not in config.routes:
            raise _unknown("route", route, known=list(config.routes))
        if wanted not in CHOICES["strategy"]:
            raise _unknown("strategy", strategy, known=CHOICES["strategy"])
        self.follow(route, strategy=wanted)
        self._note(Operated(self._now, who, "strategy", route, wanted))

    def follow(self, route: str, *, strategy: str) -> None:
        """Choose so on this route, as another replica was told to; a route that is not here has nothing to choose."""
        config = self._house.config
        if (before := config.routes.get(route)) is not None and strategy in CHOICES["strategy"]:
            change(self._house, replace(config, routes={**config.routes, route: replace(before, strategy=strategy)}))

    async def check(self, name: str, who: str, *, billed: bool) -> Checked:
        """Ask a target how it is: for nothing, or (`billed`) for one word; what it says counts."""
        target, engine = self.target(name), self._house.engine
        account = self._house.config.accounts.get(target.provider)
        probing = account.probe if account is not None else Probing()
        self._note(Operated(self._now, who, "check", name, "a word" if billed else "free"))
        began = self._now
        self._fold(ProbeStarted(began, target, not billed))
        if billed:
            told: Told | None = await word(engine, target)
        else:
            told = await free(engine, target, path=probing.path, timeout_s=probing.timeout_s)
        seconds = self._now - began
        if told is None:
            return Checked(state="unknown", asked="nothing that is free", seconds=seconds)
        self._fold(Probed(self._now, target, not billed, seconds, told.failure, told.usage))
        state, failure = ("failing", str(told.failure)) if told.failure is not None else ("well", "")
        return Checked(state=state, asked="a word" if billed else "free", seconds=seconds, failure=failure)

    def note(self, who: str, what: str, *, about: str = "") -> None:
        """Somebody else saw to it."""
        self._note(Operated(self._now, who, what, about))

    # -- inside

    @property
    def _now(self) -> float:
        return self._house.engine.clock()

    def _force(self, scope: str, *, open_: bool | None) -> list[Target]:
        touched = self.meet(scope)
        self._fold(TargetForced(self._now, scope, open_))
        return touched

    def meet(self, scope: str) -> list[Target]:
        """The targets that need it, which the board knows now: what it guards has its own policy, not the default."""
        touched = scopes_of(self._house.config).get(scope, [])
        for target in touched:
            self._house.engine.board.standing(target)
        return touched

    def _fold(self, fact: Fact) -> None:
        self._house.engine.board.fold(fact)
        self._house.engine.bus.publish(fact)

    def _note(self, fact: Operated) -> None:
        said = ": ".join(filter(None, (f"{fact.what} {fact.about}", fact.to)))
        _LOGGER.warning("operator (%s): %s", fact.who, said)
        self._house.engine.bus.publish(fact)


def _unknown(noun: str, name: str, *, known: Sequence[str]) -> Unknown:
    more = f" and {len(known) - NAMES_MAX} more" if len(known) > NAMES_MAX else ""
    return Unknown(f"there is no {noun} {name[:200]!r}; known here: {', '.join(known[:NAMES_MAX]) or 'none'}{more}")
