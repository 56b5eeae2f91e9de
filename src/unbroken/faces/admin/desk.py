"""The paths of operators, who may come in, and what is looked up for them.

    GET   /admin/status                     targets, routes, budgets, sinks, the configuration
    GET   /admin/statistics                 what was counted since the start, or since they were reset
    POST  /admin/statistics/reset
    GET   /admin/config                     the configuration as it was understood, without keys
    GET   /admin/requests                   ?limit=50&since=SECONDS&route=NAME, the newest first
    GET   /admin/requests/{id}              one decision record
    GET   /admin/events                     what happens, as it happens (`events`)
    POST  /admin/targets/{name}/disable     ... /enable
    POST  /admin/targets/{name}/health      {"word": true} asks for a word, which is billed
    POST  /admin/routes/{name}/strategy     {"strategy": "best"}
    POST  /admin/breakers/{scope}           {"open": true | false | null}
    POST  /admin/reload

Names may have slashes and `#` in them, as they are or encoded.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest

import msgspec

from unbroken import __version__
from unbroken.chronicle import RECORDS_MAX, Chronicle
from unbroken.config import Config
from unbroken.config_shape import Secret
from unbroken.faces.admin.events import Events
from unbroken.faces.admin.relay import Relay
from unbroken.faces.admin.switches import Switches, Unknown
from unbroken.faces.admin.whole import Whole
from unbroken.faces.admin.words import Veil, configured
from unbroken.faces.pages import Call, Page, nothing_here
from unbroken.faces.visitor import Later, Reply, Visitor, reply_of
from unbroken.facts import Operated, TargetForced
from unbroken.failures import Failure, FailureKind
from unbroken.ledger import LedgerUnavailable
from unbroken.ledger.record import Record, told
from unbroken.reload import House, Outcome, Reloader
from unbroken.replicas.line import Line
from unbroken.replicas.replica import ELSEWHERE
from unbroken.status import View, digest, standings
from unbroken.tally import Tally
from unbroken.types import Json
from unbroken.wire import path_values

__all__ = ["LAST_EVENT", "Admin"]

_LOGGER = logging.getLogger("unbroken")

PREFIX = "/admin"
REQUESTS, REQUESTS_MAX = 50, RECORDS_MAX
"""How many requests are listed where nobody says, and at most."""
SINCE_MAX = 1e11
"""Seconds since 1970 that no clock shows."""
LAST_EVENT = "last-event-id"
"""The header with which a reader says what it had last."""

Object = dict[str, Json]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An error that has more to say than a failure."""

    status: int
    value: Json


Known = Json | Failure | _Refusal
Said = Known | Visitor | Coroutine[None, None, Known]
"""What a path answers: at once, bit by bit, or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """An operator who was let in: who it is, and what is wanted."""

    who: str
    call: Call
    values: Mapping[str, str] = field(default_factory=dict)

    def body(self, kind: type[msgspec.Struct]) -> Json | Failure:
        """The body read as this; nothing at all is as good as `{}`."""
        try:
            return msgspec.json.decode(self.call.body or b"{}", type=kind)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            return _wrong(f"the body is not as it should be: {error}")


class _Word(msgspec.Struct):
    word: bool = False


class _Strategy(msgspec.Struct):
    strategy: str


class _Breaker(msgspec.Struct):
    open: bool | None


class Admin:
    """Everything under `/admin` of one gateway."""

    def __init__(self, house: House, *, wall: Callable[[], float] = time.time) -> None:
        self._house, self._wall = house, wall
        self.reloader: Reloader | None = None
        self.started_at = self._counted_since = wall()
        self._reset_at = 0.0
        self._tally, self._switches = Tally(), Switches(house)
        self.chronicle = Chronicle(self._epoch_s)
        self._veil = Veil(house.config)
        self.events = Events(self.chronicle, self._states, veil=self._veiled, clock=house.engine.clock)
        self._whole = Whole(house.engine.replica, statistics=self._own_statistics, status=self._own_status)
        if self._whole.replica is not None:
            self._whole.replica.acts = self._obey
            if isinstance(line := self._whole.replica.siblings, Line):
                Relay(line, self.events, engine=house.engine, epoch_s=self._epoch_s)
        self._digest = ""
        self._keys: tuple[Secret, ...] = ()
        self._listening = False
        self._doors: tuple[tuple[str, str, Callable[[Visit], Said]], ...] = (
            ("GET", "/status", self._status),
            ("GET", "/statistics", self._statistics),
            ("POST", "/statistics/reset", self._reset),
            ("GET", "/config", lambda _: configured(house.config)),
            ("GET", "/requests", self._requests),
            ("GET", "/requests/{id}", self._request),
            ("GET", "/events", self._events),
            ("POST", "/targets/{name}/disable", lambda visit: self._enable(visit, on=False)),
            ("POST", "/targets/{name}/enable", lambda visit: self._enable(visit, on=True)),
            ("POST", "/targets/{name}/health", self._check),
            ("POST", "/routes/{name}/strategy", self._strategize),
            ("POST", "/breakers/{scope}", self._force),
            ("POST", "/reload", self._reload),
        )

    def pages(self) -> list[Page]:
        """Everything below `/admin`, with whatever method; a caller's key opens none of it."""
        path = f"{PREFIX}/{{rest}}"
        return [Page(method=method, path=path, answer=self._answer) for method in ("GET", "POST")]

    def doors(self) -> list[tuple[str, str]]:
        """Method and path of each of them."""
        return [(method, PREFIX + path) for method, path, _ in self._doors]

    def adopt(self, config: Config) -> None:
        """Go by this configuration; facts are listened to from the moment on that anybody may ask for them.

        Where the keys are others now, whoever reads along has to come in again.
        """
        self._veil, self._digest = Veil(config), ""
        if config.server.admin_keys != self._keys:
            self._keys = config.server.admin_keys
            self.events.close()
        if self._keys and not self._listening:
            self._listening = True
            self._counted_since = self._wall()
            self._house.engine.bus.add(self._tally)
            self._house.engine.bus.add(self.chronicle)

    def close(self) -> None:
        """Let those go who only listen, and look at no file any more."""
        self.events.close()
        if self.reloader is not None:
            self.reloader.stop()

    # -- who comes in

    def _answer(self, call: Call) -> Reply | Visitor | Failure:
        who = self._known(call)
        said = who if isinstance(who, Failure) else self._said(who, call)
        return self._reply(call, said)

    def _known(self, call: Call) -> str | Failure:
        """Whose key this is, found in constant time; or why nobody is let in."""
        if not self._keys:
            return _OFF
        if "key" in call.query:
            message = "an operator's key goes into a header: addresses are written into logs"
            return _failure(message, status=400, code="key_in_url")
        shown = call.key.encode()
        found = [key for key in self._keys if compare_digest(shown, key.value.encode())]
        if not found:
            return _NOT_LET_IN
        return f"{found[0].name or 'key'} {sha256(shown).hexdigest()[:8]}"

    def _said(self, who: str, call: Call) -> Said:
        where = call.path.partition("?")[0].removeprefix(PREFIX)
        matching = [(m, act, v) for m, path, act in self._doors if (v := path_values(path, where)) is not None]
        for method, act, values in matching:
            if method == call.method:
                try:
                    return act(Visit(who=who, call=call, values=values))
                except Unknown as unknown:
                    return _failure(str(unknown), status=404, code="not_found")
        return nothing_here(call.method, call.path, allowed=[method for method, _, _ in matching])

    def _reply(self, call: Call, said: Said) -> Reply | Visitor:
        match said:
            case Visitor():
                return said
            case Coroutine():
                return Later(self._awaited(call, said), otherwise=lambda: self._told(call, _DEFECT))
            case _:
                return self._told(call, said)

    async def _awaited(self, call: Call, coming: Coroutine[None, None, Known]) -> Reply:
        return self._told(call, await coming)

    def _told(self, call: Call, said: Known) -> Reply:
        match said:
            case Failure():
                reply = reply_of(call.spoken, said, request_id=call.request_id)
                return Reply(reply.status, reply.headers, self._veil(reply.body))
            case _Refusal():
                return self._json(call, said.value, status=said.status)
            case _:
                return self._json(call, said)

    def _json(self, call: Call, value: Json, *, status: int = 200) -> Reply:
        headers = [
            ("content-type", "application/json"), ("cache-control", "no-store"), ("x-request-id", call.request_id)
        ]  # fmt: skip
        return Reply(status, headers, self._veil(msgspec.json.encode(value)))

    # -- what is looked up

    def _view(self) -> View:
        house = self._house
        house.engine.bus.flush()
        return View(config=house.config, engine=house.engine, tally=self._tally, epoch_s=self._epoch_s())

    def _status(self, _visit: Visit) -> Said:
        return self._own_status() if self._whole.replica is None else self._whole.status()

    def _own_status(self) -> Object:
        view, now = self._view(), self._wall()
        return {
            "version": __version__, "now": round(now, 3), "started_at": round(self.started_at, 3),
            "uptime_s": round(now - self.started_at, 1), "event": self.events.latest,
            "config": self._configuration(), "requests": view.requests(), "routes": view.routes(),
            "targets": view.targets(), "budgets": view.budgets(), "sinks": view.sinks(),
        }  # fmt: skip

    def _configuration(self) -> Object:
        """Which configuration is in place, since when, and what came of the last attempt to change it."""
        config, reloader = self._house.config, self.reloader
        self._digest = self._digest or digest(config)
        last = reloader.last if reloader is not None else None
        return {
            "source": config.source, "digest": self._digest, "warnings": list(config.warnings),
            "loaded_at": round(reloader.loaded_at if reloader is not None else self.started_at, 3),
            "watching": reloader is not None and reloader.watching,
            "last_reload": _outcome(last) if last is not None else None,
        }  # fmt: skip

    def _statistics(self, _visit: Visit) -> Said:
        return self._own_statistics() if self._whole.replica is None else self._whole.statistics()

    def _own_statistics(self) -> Object:
        since = {"since": round(self._counted_since, 3), "reset_at": round(self._reset_at, 3)}
        return {**since, **self._view().statistics()}

    def _reset(self, visit: Visit) -> Said:
        self._reset_to(self._wall())
        self._switches.note(visit.who, "reset", about="statistics")
        return self._statistics(visit)

    def _reset_to(self, at: float) -> None:
        self._house.engine.bus.flush()
        self._tally.reset()
        self._counted_since = self._reset_at = at

    def _obey(self, fact: Operated | TargetForced, at: float) -> None:
        """Do as an operator has told another replica."""
        if isinstance(fact, TargetForced):
            self._switches.meet(fact.scope)
        elif fact.what == "reset":
            self._reset_to(at)
        elif fact.what == "reload" and self.reloader is not None:
            self.reloader.soon(f"{ELSEWHERE}{fact.who}")
        elif fact.what == "strategy" and fact.to:
            self._switches.follow(fact.about, strategy=fact.to)

    def _requests(self, visit: Visit) -> Said:
        query = visit.call.query
        try:
            most, since = int(query.get("limit", REQUESTS)), float(query.get("since", 0.0))
        except ValueError:
            most, since = 0, math.nan
        if not abs(since) < SINCE_MAX:
            return _wrong("`limit` is a whole number, `since` a number of seconds since 1970")
        self._house.engine.bus.flush()
        most, route = max(0, min(REQUESTS_MAX, most)), query.get("route", "")
        found = [one for one in self.chronicle.records() if one.at >= since and route in {"", one.route}]
        records = [told(record) for record in found[:most]]
        if len(records) == most or self._house.engine.ledger is None:
            return {"requests": records}
        return self._older(records, most, since=since, route=route)

    async def _older(self, records: list[Object], most: int, *, since: float, route: str) -> Json:
        """The records of memory, and those of the ledger that are older; of these without the attempts."""
        ledger, known = self._house.engine.ledger, {record["id"] for record in records}
        assert ledger is not None
        try:
            older = await asyncio.wrap_future(ledger.latest(most, since=since, route=route))
        except LedgerUnavailable as error:
            return {"requests": records, "problem": f"the ledger cannot be asked: {error}"}
        return {"requests": [*records, *(one for one in older if one["id"] not in known)][:most]}

    def _request(self, visit: Visit) -> Said:
        self._house.engine.bus.flush()
        known = self.chronicle.find(visit.values["id"])
        return self._recorded(visit.values["id"], known)

    async def _recorded(self, request: str, known: Record | None) -> Json | Failure:
        """From the ledger, which may have the words too; else from memory."""
        ledger, problem = self._house.engine.ledger, ""
        if ledger is not None:
            try:
                if (found := await asyncio.wrap_future(ledger.find(request))) is not None:
                    return found
            except LedgerUnavailable as error:
                problem = f", and the ledger cannot be asked: {error}"
        if known is not None:
            return told(known)
        return _failure(f"nothing is known of a request {request[:100]!r}{problem}", status=404, code="not_found")

    def _events(self, visit: Visit) -> Said:
        query = visit.call.query
        last = visit.call.headers.get(LAST_EVENT) or query.get("after", "")
        kinds = [kind for kind in query.get("kinds", "").split(",") if kind]
        return self.events.open(last, kinds=kinds)

    # -- what is done

    def _enable(self, visit: Visit, *, on: bool) -> Object:
        name = visit.values["name"]
        touched = self._switches.enable(name, visit.who, on=on)
        view = self._view()
        return {"target": name, "targets": [view.target(target) for target in touched]}

    def _force(self, visit: Visit) -> Json | Failure:
        wish = visit.body(_Breaker)
        if isinstance(wish, Failure):
            return wish
        scope = visit.values["scope"]
        touched = self._switches.force(scope, visit.who, open_=wish.open)
        view = self._view()
        return {"breaker": scope, "open": wish.open, "targets": [view.target(target) for target in touched]}

    def _strategize(self, visit: Visit) -> Json | Failure:
        wish, name = visit.body(_Strategy), visit.values["name"]
        if isinstance(wish, Failure):
            return wish
        self._switches.strategize(name, visit.who, strategy=wish.strategy)
        return next(route for route in self._view().routes() if route["name"] == name)

    def _check(self, visit: Visit) -> Said:
        wish, name = visit.body(_Word), visit.values["name"]
        if isinstance(wish, Failure):
            return wish
        target = self._switches.target(name)

        async def check() -> Json:
            checked = await self._switches.check(name, visit.who, billed=wish.word)
            return {**msgspec.to_builtins(checked), "target": self._view().target(target)}

        return check()

    def _reload(self, visit: Visit) -> Said:
        reloader = self.reloader
        if reloader is None:
            message = "this gateway was made by a program, which alone can give it another configuration"
            return _failure(message, status=409, code="no_source")

        async def reload() -> Known:
            outcome = await reloader.reload(visit.who)
            if outcome.ok:
                return _outcome(outcome)
            error = {"message": outcome.problem, "type": "invalid_request_error", "code": "bad_configuration"}
            return _Refusal(422, {"error": error, **_outcome(outcome)})

        return reload()

    # -- inside

    def _veiled(self, data: bytes) -> bytes:
        return self._veil(data)

    def _epoch_s(self) -> float:
        return self._wall() - self._house.engine.clock()

    def _states(self) -> dict[str, tuple[str, str, float | None]]:
        return standings(self._house.engine, self._house.config)


def _outcome(outcome: Outcome) -> Object:
    """What came of a reload, as plain values."""
    return {
        "ok": outcome.ok, "at": round(outcome.at, 3), "who": outcome.who, "changes": list(outcome.changes),
        "restart": list(outcome.restart), "problem": outcome.problem or None,
        "problems": [msgspec.to_builtins(problem) for problem in outcome.problems],
    }  # fmt: skip


def _failure(message: str, *, status: int, code: str) -> Failure:
    return Failure(kind=FailureKind.REQUEST, message=message, status=status, code=code)


def _wrong(message: str) -> Failure:
    return Failure(kind=FailureKind.REQUEST, message=message, status=400)


_OFF = Failure(
    kind=FailureKind.REQUEST, status=404, code="admin_off",
    message="the paths of operators are off: give `server.admin_keys`, or UNBROKEN_ADMIN_KEY in the environment",
)  # fmt: skip
_NOT_LET_IN = Failure(
    kind=FailureKind.REQUEST, status=401, code="invalid_admin_key",
    message="an operator's key is needed here, as `Authorization: Bearer KEY`; callers' keys open nothing here",
)  # fmt: skip
_DEFECT = Failure(kind=FailureKind.INTERNAL, message="the gateway has a defect; its log says more")
