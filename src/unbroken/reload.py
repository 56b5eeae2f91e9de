"""Another configuration for a gateway that runs, without a request lost: read aside, checked, put in place at once.

Requests under way go on by the configuration that they began with.  What is known of targets
that stay the same (breakers, measures, limits, statistics, connections) stays known.  A file
with anything wrong in it is refused, and everything goes on as it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from unbroken.assemble import follow
from unbroken.cache.meaning import MeaningsUnavailable
from unbroken.config import Config, ConfigError, Problem, Server
from unbroken.config_file import explained
from unbroken.engine import Engine
from unbroken.facts import Operated
from unbroken.keys import KeyFileError
from unbroken.types import Target

__all__ = ["WATCH_S", "House", "Outcome", "Reloader", "change", "differences"]

_LOGGER = logging.getLogger("unbroken")

WATCH_S = 1.0
"""How often the file is looked at; a change is taken up when it has not changed any more for so long."""
NAMES_MAX = 8
"""Of what is new or gone, are named; the others are counted."""
_AT_ONCE = frozenset((
    "server", "accounts", "targets", "routes", "aliases", "defaults", "budgets", "source", "warnings", "metrics",
))  # fmt: skip
_OF_SERVER_AT_ONCE = frozenset(("keys", "admin_keys", "body_limit_mb", "key_file", "issued"))


class House(Protocol):
    """What goes by a configuration: a gateway."""

    config: Config
    engine: Engine

    def adopt(self, config: Config) -> None:
        """Go by this one from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt to reload; `at` is seconds since 1970.

    `changes` says what is different now, `restart` what of it only holds after a restart.
    Where it was refused, `problem` says why, in the words of `unbroken check`, and `problems`
    each of them with its place.
    """

    at: float
    who: str
    changes: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    problem: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the new configuration is in place."""
        return not self.problem


def change(house: House, config: Config) -> None:
    """Have a gateway and its engine go by another configuration; what cannot be had is raised and changes nothing."""
    follow(house.engine, house.config, new=config)
    house.adopt(config)


class Reloader:
    """Reloads a gateway's configuration, when it is told to and when its file has changed.

    A change of the file of keys takes up that alone: a key is revoked also while the configuration is being
    written and has mistakes in it.
    """

    def __init__(
        self, house: House, load: Callable[[], Config], *, file: Path | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """`load` reads the configuration anew, and may raise ConfigError; `file` is what is watched."""
        self._house, self._load, self.file, self._wall = house, load, file, wall
        self._turn = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Outcome] | None = None
        self._watched, self._keys = _Watched(file), _Watched(self._key_file)
        self.loaded_at = wall()
        self.last: Outcome | None = None

    @property
    def watching(self) -> bool:
        """Whether a change of the file is noticed."""
        return self._timer is not None

    # -- reloading

    async def reload(self, who: str) -> Outcome:
        """Read the configuration anew and put it in place, or say why not; one after the other."""
        async with self._turn:
            self._watched, keys = _Watched(self.file), _Watched(self._key_file)
            outcome = await self._attempt(self._load, who)
            if outcome.ok:  # else the file of keys has not been taken up either
                self._keys = keys if keys.file == self._key_file else _Watched(self._key_file)
            return outcome

    async def reload_keys(self, who: str) -> Outcome:
        """Read the file of keys anew, and nothing else."""
        async with self._turn:
            self._keys = _Watched(self._key_file)
            return await self._attempt(self._house.config.with_keys_anew, who)

    def soon(self, who: str) -> None:
        """Reload in the background."""
        self._task = asyncio.get_running_loop().create_task(self.reload(who))

    @property
    def _key_file(self) -> Path | None:
        name = self._house.config.server.key_file
        return Path(name) if name else None

    async def _attempt(self, load: Callable[[], Config], who: str) -> Outcome:
        try:
            outcome = self._put(await asyncio.to_thread(load), who)
        except ConfigError as error:
            problem = explained(error.problems)
            outcome = Outcome(at=self._wall(), who=who, problem=problem, problems=tuple(error.problems))
        except (MeaningsUnavailable, KeyFileError, OSError) as error:
            outcome = Outcome(at=self._wall(), who=who, problem=str(error))
        except Exception as error:
            _LOGGER.exception("the configuration could not be reloaded")
            outcome = Outcome(at=self._wall(), who=who, problem=f"a defect: {type(error).__name__}; see the log")
        self._tell(outcome)
        return outcome

    def _put(self, config: Config, who: str) -> Outcome:
        before, self.loaded_at = self._house.config, self._wall()
        changes, restart = tuple(differences(before, config)), tuple(_after_restart(before, config))
        change(self._house, config)
        return Outcome(at=self.loaded_at, who=who, changes=changes, restart=restart)

    def _tell(self, outcome: Outcome) -> None:
        engine, source = self._house.engine, self._house.config.source
        self.last = outcome
        engine.bus.publish(Operated(engine.clock(), outcome.who, "reload", source, problem=outcome.problem))
        if outcome.ok:
            said = "; ".join((*outcome.changes, *(f"{what}: after a restart" for what in outcome.restart)))
            _LOGGER.warning("configuration reloaded (%s): %s", outcome.who, said or "nothing has changed")
        else:
            _LOGGER.error("the new configuration is refused, the old one stays (%s):\n%s", outcome.who, outcome.problem)

    # -- watching

    def watch(self) -> None:
        """Look at the files again and again, until `stop`; without any there is nothing to look at."""
        if (self.file or self._key_file) and self._timer is None:
            self._again()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> bool:
        """Whether the file is another one than was read, and has been so for a while; one that is gone is no change."""
        return self._watched.changed()

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(WATCH_S, self._wake)

    def _wake(self) -> None:
        self._again()
        if self.look():
            self.soon(f"file {self.file}")
        elif self._keys.changed():
            self._task = asyncio.get_running_loop().create_task(self.reload_keys(f"file {self._key_file}"))


class _Watched:
    """A file, and what it looked like when it was read."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._known = self._last = _signature(file)

    def changed(self) -> bool:
        """Whether it is another one than was read, and the same as at the last look; one that is gone is none."""
        now, before = _signature(self.file), self._last
        self._last = now
        return now is not None and now == before and now != self._known


def _signature(file: Path | None) -> tuple[int, int, int] | None:
    """By what a file is known to be the same; None where it is not there."""
    try:
        told = file.stat() if file is not None else None
    except OSError:
        return None
    return None if told is None else (told.st_mtime_ns, told.st_size, told.st_ino)


# ---------------------------------------------------------------------------- what is different


def differences(old: Config, new: Config) -> Iterator[str]:
    """What is different, in words: names only."""
    for noun, before, after in (
        ("target", _by_name(old), _by_name(new)),
        ("route", old.routes, new.routes),
        ("alias", old.aliases, new.aliases),
    ):
        yield from (f"{noun} {said}" for said in _compared(before, after))
    server = (of.name for of in fields(Server) if getattr(old.server, of.name) != getattr(new.server, of.name))
    yield from (f"server.{name} changed" for name in server)
    others = ("defaults", "budgets", "metrics")
    yield from (f"{name} changed" for name in others if getattr(old, name) != getattr(new, name))


def _by_name(config: Config) -> Mapping[str, Target]:
    return {target.name: target for target in config.targets}


def _compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What was added, removed and changed: by name, as far as there is room."""
    found = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and new[name] != old[name]],
    }
    for what, names in found.items():
        more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
        if names:
            yield f"{what}: {', '.join(names[:NAMES_MAX])}{more}"


def _after_restart(old: Config, new: Config) -> Iterator[str]:
    """What is different and stays as it was until the process is started again."""
    for of in fields(Server):
        if of.name not in _OF_SERVER_AT_ONCE and getattr(old.server, of.name) != getattr(new.server, of.name):
            yield f"server.{of.name}"
    for of in fields(Config):
        if of.compare and of.name not in _AT_ONCE and getattr(old, of.name) != getattr(new, of.name):
            yield of.name
