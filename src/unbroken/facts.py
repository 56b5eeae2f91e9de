"""What is known, with its time: the one stream that health, ledger, metrics and dashboards read.

A fact never changes and is never taken back.  `at` is seconds on the clock of the driver
(monotonic in production, virtual in the simulator).
"""

from __future__ import annotations

from unbroken.failures import Failure
from unbroken.types import Mode, Target, Task, Usage, Why, record

__all__ = [
    "Asked",
    "AttemptAbandoned",
    "AttemptAnswered",
    "AttemptFailed",
    "AttemptStarted",
    "BudgetExceeded",
    "CacheAnswered",
    "CacheStored",
    "Continued",
    "Decided",
    "Fact",
    "FirstContent",
    "FlightEnded",
    "LeftOut",
    "LimitsTold",
    "Operated",
    "ProbeStarted",
    "Probed",
    "Progressed",
    "Queued",
    "Reading",
    "Said",
    "Shed",
    "TargetForced",
]


@record()
class Asked:
    """A request came in.  `caller` tells callers apart and is no key; only noted where somebody keeps account."""

    at: float
    flight: str
    route: str
    task: Task
    stream: bool = False
    caller: str = ""
    prompt_chars: int = 0


@record()
class Said:
    """The words of a request and of its answer, shortened; only noted where an operator wants them kept."""

    at: float
    flight: str
    prompt: str
    answer: str


@record()
class Decided:
    """Who is asked for a request and in which order, and why others are not.

    `skipped` holds each other target of the route with the reason in words.  Where `price`
    is not 0, the first is asked to find out how good it is by now, and `price` is what that
    took from the route's purse for looking, into which each request puts `share`.
    """

    at: float
    flight: str
    route: str
    strategy: str
    order: tuple[Target, ...]
    skipped: tuple[tuple[Target, str], ...] = ()
    width: int = 1
    price: float = 0.0
    share: float = 0.0


@record()
class AttemptStarted:
    """A request went out to a target; `prompt_chars` as in Request."""

    at: float
    flight: str
    number: int
    target: Target
    why: Why
    stream: bool = False
    prompt_chars: int = 0
    route: str = ""
    task: Task = Task.CHAT


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
    """An attempt ended well.  `first_content_s` and `total_s` count from its launch.

    `chars` is how much was written, in so many `pieces`; it is what one can go by where
    nobody counted tokens, here as in the facts of attempts that ended otherwise.
    `finish` is why it ended, `said_model` the model that its provider says it was.
    """

    at: float
    flight: str
    number: int
    target: Target
    first_content_s: float
    total_s: float
    stream: bool
    usage: Usage | None = None
    chars: int = 0
    pieces: int = 0
    finish: str = ""
    said_model: str = ""


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
    chars: int = 0
    pieces: int = 0


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
    usage: Usage | None = None
    chars: int = 0
    pieces: int = 0


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
class CacheAnswered:
    """A request was answered without asking anybody for it: `how` is hit, stale, semantic or merged.

    `origin` is the flight that brought the answer, `age_s` how long ago; `usage` is what it took
    then, and nothing of that is paid for again.
    """

    at: float
    flight: str
    route: str
    how: str
    origin: str
    age_s: float
    target: Target | None = None
    usage: Usage | None = None


@record()
class CacheStored:
    """An answer is kept from now on, and takes so many bytes."""

    at: float
    flight: str
    route: str
    size_bytes: int


@record()
class Reading:
    """A limit as its provider told it: so many of `unit` in `window_s` seconds, of which so many are left.

    `name` tells limits of one provider apart; `unit` is requests, tokens, input_tokens or
    output_tokens.  `window_s` is 0 where it is not known; then `reset_s` is.  `steady` limits
    refill all the time, others at the end of a window, in `reset_s` seconds.  `reserves` where
    what a caller allows for is counted before it is used.
    """

    name: str
    unit: str
    limit: float
    window_s: float
    remaining: float | None = None
    reset_s: float | None = None
    steady: bool = False
    reserves: bool = False


@record()
class LimitsTold:
    """A provider said with an answer (good or bad) to an attempt how much it still takes."""

    at: float
    flight: str
    number: int
    target: Target
    readings: tuple[Reading, ...]


@record()
class Queued:
    """A request waited for room at its targets, and then began (or its caller `left`)."""

    at: float
    flight: str
    route: str
    caller: str
    waited_s: float
    left: bool = False


@record()
class Shed:
    """A request was turned away for want of room: at once, or after it had waited in vain."""

    at: float
    flight: str
    route: str
    caller: str
    waited_s: float
    failure: Failure


@record()
class BudgetExceeded:
    """A request met a budget that was used up; `then` says what became of it (stop, downgrade, a route's name)."""

    at: float
    flight: str
    route: str
    budget: str
    spent_usd: float
    limit_usd: float
    then: str


@record()
class ProbeStarted:
    """A target is asked whether it is well: for nothing (`free`), or for one word in place of a caller's request."""

    at: float
    target: Target
    free: bool


@record()
class Probed:
    """What came of that, after so many seconds; `failure` is None where it is well.

    A free answer speaks of address and key only.  `usage` is what a word took.
    """

    at: float
    target: Target
    free: bool
    seconds: float
    failure: Failure | None = None
    usage: Usage | None = None


@record()
class TargetForced:
    """An operator opened or closed a breaker by hand (`scope` as in Target), or let it go (None)."""

    at: float
    scope: str
    open: bool | None


@record()
class Operated:
    """An operator did something, or tried to.

    `who` is the name of a key and the beginning of its hash, a signal, or the file that changed;
    `what` was done, `about` what or whom, and `to` what it was to become.  `problem` is why it
    was not done, and empty where it was.
    """

    at: float
    who: str
    what: str
    about: str = ""
    to: str = ""
    problem: str = ""


Fact = (
    Asked
    | Said
    | Decided
    | AttemptStarted
    | FirstContent
    | AttemptAnswered
    | AttemptFailed
    | AttemptAbandoned
    | Continued
    | FlightEnded
    | LeftOut
    | Progressed
    | CacheAnswered
    | CacheStored
    | LimitsTold
    | Queued
    | Shed
    | BudgetExceeded
    | ProbeStarted
    | Probed
    | TargetForced
    | Operated
)
