"""One attempt's connection to its target: bytes in, signals out, and what is asked after the first answer.

A picture whose address has to be fetched and a job that has to be asked about are several
exchanges of one attempt; its codec says what comes next (`Next`), this file asks it.  A question
that goes wrong says nothing of the job: it is asked again, and the job is not made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from unbroken.failures import Failure, FailureKind
from unbroken.ports import Exchange
from unbroken.types import Attempt, Delta, HttpReply, HttpRequest, Request
from unbroken.wire import Decoder, Format, Next
from unbroken.wire.allowance import LIMIT_HEADERS
from unbroken.wire.media import follow, is_home

__all__ = ["Leg", "Signals"]

ERROR_BYTES_MAX = 64 * 1024
"""As much of an error's body as is read; the rest says nothing new."""
ASKED_MAX = 6
"""How often a question about a job is asked in vain before the job is given up: for more than a minute."""
ASK_AGAIN_S_MAX = 30.0
QUIET_S = 30.0
"""A question that brings not a byte for so long is asked again."""
HOPS_MAX = 5
"""As far as we are sent on; who sends further goes in circles."""

_PASSING = frozenset((
    FailureKind.CONNECT, FailureKind.BROKEN, FailureKind.SERVER, FailureKind.OVERLOADED, FailureKind.SILENT,
    FailureKind.RATE_LIMIT, FailureKind.LOADING, FailureKind.TRUNCATED, FailureKind.MALFORMED,
))  # fmt: skip
"""Failures of a question that say nothing about the job."""
_GONE = frozenset((404, 410))
"""Of an address: it is no word about the model, nor about what the caller asked."""
_SENT_ON = frozenset((301, 302, 303, 307, 308))

Found = TypeVar("Found")


class Signals(Protocol):
    """Whom a leg tells what happened."""

    def connected(self, number: int) -> None: ...

    def told(self, number: int, headers: Mapping[str, str]) -> None: ...

    def opened(self, number: int) -> None: ...

    def arrived(self, number: int, deltas: list[Delta]) -> None: ...

    def ended(self, number: int) -> None: ...

    def failed(self, number: int, failure: Failure) -> None: ...

    def ask(self, request: HttpRequest, leg: Leg) -> None: ...


class _Waiting:
    """The pause before the next question, in place of an exchange."""

    __slots__ = ("_timer",)

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self._timer = timer

    def cancel(self) -> None:
        self._timer.cancel()

    def release(self) -> None:
        self._timer.cancel()

    def pause(self) -> None:
        """Nothing is read now."""

    def resume(self) -> None:
        """Nor was it."""


class _Asking:
    """A question under way, with an eye on whether anything comes of it: no limit of the flight's does that."""

    __slots__ = ("_exchange", "_heard", "_silent", "_timer")

    def __init__(self, exchange: Exchange, silent: Callable[[], None]) -> None:
        self._exchange, self._silent = exchange, silent
        self._heard = False
        self._watch()

    def heard(self) -> None:
        """Something came."""
        self._heard = True

    def cancel(self) -> None:
        self._timer.cancel()
        self._exchange.cancel()

    def release(self) -> None:
        self._timer.cancel()
        self._exchange.release()

    def pause(self) -> None:
        self._timer.cancel()
        self._exchange.pause()

    def resume(self) -> None:
        self._watch()
        self._exchange.resume()

    def _watch(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(QUIET_S, self._look)

    def _look(self) -> None:
        if self._heard:
            self._heard = False
            self._watch()
        else:
            self._exchange.cancel()
            self._silent()


class Leg:
    """One attempt's ear on the network: bytes in, signals out.

    `target` is the attempt's, with the key that was shown where that was fetched for it; `sent`
    is what was asked last, where that is known.
    """

    __slots__ = ("_asked", "_body", "_decoder", "_drive", "_format", "_headers", "_hops", "_next", "_request",
                 "_status", "attempt", "exchange", "sent", "target")  # fmt: skip

    def __init__(self, drive: Signals, attempt: Attempt, *, spoken: Format, request: Request) -> None:
        self._drive, self.attempt, self._format, self._request = drive, attempt, spoken, request
        self.target = attempt.target
        self.sent: HttpRequest | None = None
        self.exchange: Exchange | None = None
        self._next: Next | None = None
        self._asked = self._hops = 0
        self._decoder: Decoder | None = None
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._body = b""

    def pause(self) -> None:
        """Read no more for now."""
        if self.exchange is not None:
            self.exchange.pause()

    def resume(self) -> None:
        """Read on."""
        if self.exchange is not None:
            self.exchange.resume()

    # -- Listener

    def connected(self) -> None:
        self._drive.connected(self.attempt.number)

    def opened(self, status: int, headers: Mapping[str, str]) -> None:
        self._status, self._headers = status, headers
        if not LIMIT_HEADERS.isdisjoint(headers):
            self._drive.told(self.attempt.number, headers)
        if status in self._format.good:
            self._decoder = decoder = self._new_decoder()
            if (head := getattr(decoder, "head", None)) is not None:
                head(status, headers)
            self._drive.opened(self.attempt.number)

    def data(self, data: bytes) -> None:
        if isinstance(self.exchange, _Asking):
            self.exchange.heard()
        if self._decoder is None:
            if len(self._body) < ERROR_BYTES_MAX:
                self._body += data
            return
        self._tell(self._read(self._decoder.feed, data))
        if self._decoder.done:
            self._drive.ended(self.attempt.number)

    def ended(self) -> None:
        if self._decoder is None:
            if not self._sent_on():
                self._tell(self._read(self._classified))
        elif isinstance(found := self._read(self._decoder.close), Next):
            self._go_on(found)
        elif self._tell(found):
            self._drive.ended(self.attempt.number)

    def failed(self, failure: Failure) -> None:
        if self._status and self._decoder is None and self._body:
            self.ended()  # the connection broke inside an error's body: the error is the news
        else:
            self._tell(failure)

    # -- what is asked after the first answer

    def _new_decoder(self) -> Decoder:
        if self._next is not None:
            return self._next.decoder()
        return self._format.decoder(self._request, self.target)

    def _go_on(self, step: Next) -> None:
        """Ask on, when it is time."""
        self._next, self._asked, self._hops = step, 0, 0
        if step.deltas:
            self._drive.arrived(self.attempt.number, list(step.deltas))
        self._ask_in(step.after_s)

    def _ask_in(self, seconds: float) -> None:
        if isinstance(self.exchange, _Asking):
            self.exchange.cancel()
        timer = asyncio.get_running_loop().call_later(seconds, self._ask)
        self.exchange = _Waiting(timer)

    def _ask(self) -> None:
        assert self._next is not None
        self._asked += 1
        self._send(self._next.request)

    def _send(self, request: HttpRequest) -> None:
        self._status, self._body, self._decoder, self.sent = 0, b"", None, request
        self._drive.ask(request, self)
        if self.exchange is not None:
            self.exchange = _Asking(self.exchange, self._silent)

    def _silent(self) -> None:
        self._tell(Failure(kind=FailureKind.SILENT, message=f"{self.target.name}: no answer within {QUIET_S:.0f} s"))

    def _sent_on(self) -> bool:
        """Follow to where a GET was sent on to; False where it was not, or too often."""
        location, sent = self._headers.get("location", ""), self.sent
        if self._status not in _SENT_ON or not location or sent is None or sent.method != "GET":
            return False
        if self._hops == HOPS_MAX:
            return False
        self._hops += 1
        found = follow(sent, location, target=self.target)
        if isinstance(found, Failure):
            self._tell(replace(found, again=False))
        else:
            if isinstance(self.exchange, _Asking):
                self.exchange.cancel()
            self._send(found)
        return True

    def _may_ask_again(self, failure: Failure) -> bool:
        """Whether a question went wrong: that says nothing of the job that it was about."""
        return self._next is not None and failure.again and failure.kind in _PASSING and self._asked < ASKED_MAX

    def _given_up(self, failure: Failure) -> Failure:
        """A failure that ends the attempt.

        A job that nobody can be asked about is not made again where it was made; and what some
        other host says, where results lie, is no word about the target's key or model.
        """
        if self._next is None or self.sent is None:
            return failure
        away = not is_home(self.sent.url, self.target)
        gone = failure.kind is FailureKind.MODEL_MISSING or failure.status in _GONE
        if gone or (away and failure.kind is not FailureKind.MALFORMED):
            message = f"what was made could not be fetched: {failure.message}"
            return Failure(kind=FailureKind.MALFORMED, message=message, status=failure.status, again=False)
        return replace(failure, again=False)

    def _classified(self) -> Failure:
        """What an answer that is no 200 means."""
        return self._format.classify(HttpReply(status=self._status, headers=self._headers, body=self._body))

    def _read(self, codec: Callable[..., Found], *data: bytes) -> Found | Failure:
        """What the codec makes of these bytes.

        Codecs promise not to raise, and this is where the promise ends: we are called from a
        socket, nobody above would tell the flight, and its caller would wait for a time limit.
        The defect is reported to the event loop; the request goes on elsewhere.
        """
        try:
            return codec(*data)
        except Exception as error:  # noqa: BLE001 - see above
            name = self.target.name
            told = {"message": f"a codec of unbroken failed on an answer of {name}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(told)
            message = f"the answer of {name} could not be read ({type(error).__name__})"
            return Failure(kind=FailureKind.MALFORMED, message=message, status=self._status, again=False)

    def _tell(self, found: list[Delta] | Failure) -> bool:
        """Pass on what was decoded; False if it was a failure."""
        if isinstance(found, Failure):
            if self._may_ask_again(found):
                hint_s = found.retry_after_s
                self._ask_in(min(2.0**self._asked if hint_s is None else hint_s, ASK_AGAIN_S_MAX))
            else:
                self._drive.failed(self.attempt.number, self._given_up(found))
            return False
        if found:
            self._drive.arrived(self.attempt.number, found)
        return True
