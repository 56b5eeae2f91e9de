"""What is known, with its time: the one stream that health, ledger, metrics and dashboards read.

A fact never changes and is never taken back.  `at` is seconds on the clock of the driver
(monotonic in production, virtual in the simulator).
"""

from __future__ import annotations

from unbroken.failures import Failure
from unbroken.records import Record
from unbroken.types import Mode, Target, Task, Usage, Why

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
    "Hearsay",
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


class Asked(Record):
    """A request came in.  `caller` tells callers apart and is no key; only noted where somebody keeps account."""

    at: float
    flight: str
    route: str
    task: Task
    stream: bool = False
    caller: str = ""
    prompt_chars: int = 0


class Said(Record):
    """The words of a request and of its answer, shortened; only noted where an operator wants them kept."""

    at: float
    flight: str
    prompt: str
    answer: str


class Decided(Record):
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


class AttemptStarted(Record):
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


class FirstContent(Record):
    """A stream's first content came, so many seconds after its launch."""

    at: float
    flight: str
    number: int
    target: Target
    seconds: float


class LeftOut(Record):
    """A target was asked without these, because its format has no words for them."""

    at: float
    flight: str
    number: int
    target: Target
    names: tuple[str, ...]


class Progressed(Record):
    """A job has come so far, from 0 to 1."""

    at: float
    flight: str
    number: int
    target: Target
    share: float


class AttemptAnswered(Record):
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


class AttemptFailed(Record):
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


class AttemptAbandoned(Record):
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


class Continued(Record):
    """A stream that broke after `chars` characters were shown goes on at another target."""

    at: float
    flight: str
    number: int
    origin: Target
    target: Target
    mode: Mode
    chars: int


class FlightEnded(Record):
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


class CacheAnswered(Record):
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


class CacheStored(Record):
    """An answer is kept from now on, and takes so many bytes."""

    at: float
    flight: str
    route: str
    size_bytes: int


class Reading(Record):
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


class LimitsTold(Record):
    """A provider said with an answer (good or bad) to an attempt how much it still takes."""

    at: float
    flight: str
    number: int
    target: Target
    readings: tuple[Reading, ...]


class Queued(Record):
    """A request waited for room at its targets, and then began (or its caller `left`)."""

    at: float
    flight: str
    route: str
    caller: str
    waited_s: float
    left: bool = False


class Shed(Record):
    """A request was turned away for want of room: at once, or after it had waited in vain."""

    at: float
    flight: str
    route: str
    caller: str
    waited_s: float
    failure: Failure


class BudgetExceeded(Record):
    """A request met a budget that was used up; `then` says what became of it (stop, downgrade, a route's name)."""

    at: float
    flight: str
    route: str
    budget: str
    spent_usd: float
    limit_usd: float
    then: str


class ProbeStarted(Record):
    """A target is asked whether it is well: for nothing (`free`), or for one word in place of a caller's request."""

    at: float
    target: Target
    free: bool


class Probed(Record):
    """What came of that, after so many seconds; `failure` is None where it is well.

    A free answer speaks of address and key only.  `usage` is what a word took.
    """

    at: float
    target: Target
    free: bool
    seconds: float
    failure: Failure | None = None
    usage: Usage | None = None


class Hearsay(Record):
    """What another replica saw of a target: so many attempts in a row ended alike, the latest of which began then.

    `failure` is None where they were answered, `slow` where that took far longer than it usually does there,
    which is `usual_s` (of streams to their first content, where `stream`), and 0 where nothing is said of that.
    A `number` of 0 says that one has gone out to see whether the target is back.  Times are on our clock.
    """

    at: float
    replica: str
    target: Target
    began: float
    number: int
    failure: Failure | None = None
    slow: bool = False
    usual_s: float = 0.0
    stream: bool = False


class TargetForced(Record):
    """An operator opened or closed a breaker by hand (`scope` as in Target), or let it go (None)."""

    at: float
    scope: str
    open: bool | None


class Operated(Record):
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
    | Hearsay
    | TargetForced
    | Operated
)
