"""What is known, with its time: the one stream that health, ledger, metrics and dashboards read.

A fact never changes and is never taken back.  `at` is seconds on the clock of the driver
(monotonic in production, virtual in the simulator).
"""

from __future__ import annotations

from unbroken.failures import Failure
from unbroken.types import Mode, Target, Usage, Why, record

__all__ = [
    "AttemptAbandoned",
    "AttemptAnswered",
    "AttemptFailed",
    "AttemptStarted",
    "Continued",
    "Fact",
    "FirstContent",
    "FlightEnded",
    "LeftOut",
    "Progressed",
    "TargetForced",
]


@record()
class AttemptStarted:
    """A request went out to a target."""

    at: float
    flight: str
    number: int
    target: Target
    why: Why
    stream: bool = False


@record()
class FirstContent:
    """A stream's first content came, so many seconds after its launch."""

    at: float
    flight: str
    number: int
    target: Target
    seconds: float


@record()
class LeftOut:
    """A target was asked without these, because its format has no words for them."""

    at: float
    flight: str
    number: int
    target: Target
    names: tuple[str, ...]


@record()
class Progressed:
    """A job has come so far, from 0 to 1."""

    at: float
    flight: str
    number: int
    target: Target
    share: float


@record()
class AttemptAnswered:
    """An attempt ended well.  `first_content_s` and `total_s` count from its launch."""

    at: float
    flight: str
    number: int
    target: Target
    first_content_s: float
    total_s: float
    stream: bool
    usage: Usage | None = None


@record()
class AttemptFailed:
    """An attempt failed; `shown` when the caller had seen some of its answer."""

    at: float
    flight: str
    number: int
    target: Target
    failure: Failure
    elapsed_s: float
    shown: bool = False
    usage: Usage | None = None


@record()
class AttemptAbandoned:
    """We hung up: another attempt won, or the caller left.

    `outrun` when a later attempt at another target won the race against one that had
    shown no content: slow enough to be held against it.
    """

    at: float
    flight: str
    number: int
    target: Target
    elapsed_s: float
    outrun: bool = False


@record()
class Continued:
    """A stream that broke after `chars` characters were shown goes on at another target."""

    at: float
    flight: str
    number: int
    origin: Target
    target: Target
    mode: Mode
    chars: int


@record()
class FlightEnded:
    """A request is over: what the caller saw, from whom, after how many attempts.

    `failure` is None for a whole answer.  `target` is who finished it, None where nobody did.
    """

    at: float
    flight: str
    route: str
    target: Target | None
    attempts: int
    total_s: float
    failover: bool
    rescued: bool
    failure: Failure | None = None


@record()
class TargetForced:
    """An operator opened or closed a breaker by hand (`scope` as in Target), or let it go (None)."""

    at: float
    scope: str
    open: bool | None


Fact = (
    AttemptStarted
    | FirstContent
    | AttemptAnswered
    | AttemptFailed
    | AttemptAbandoned
    | Continued
    | FlightEnded
    | LeftOut
    | Progressed
    | TargetForced
)
