"""How hard to try: one frozen record per concern, each default beside its arithmetic.

A `Policy` belongs to a route; a target and a request may overrule its deadlines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from unbroken.records import Record
from unbroken.types import Request, Target, Task

__all__ = [
    "NOTHING_FREE",
    "Breaking",
    "Budget",
    "Caching",
    "Deadlines",
    "Hedging",
    "Limits",
    "Policy",
    "Probing",
    "Queueing",
    "Retries",
    "Route",
    "Semantic",
    "SpendLimit",
    "Streaming",
]

SHORT_TOKENS = 512
"""A chat that asks for at most this many tokens is a short one."""
SHORT_PROMPT_CHARS = 16_000
"""... if its prompt is no longer than this (some 4,000 tokens)."""
UNSTATED_TOKENS = 4_096
"""What a caller who states no limit may get from a chat model."""
CHARS_PER_TOKEN = 4.0
"""Of English text, in most tokenisers."""
READ_TOKENS_PER_S = 1_000.0
"""A slow provider reads a prompt at this rate: 100,000 tokens take 100 s."""
WRITE_TOKENS_PER_S = 40.0
"""A slow large model writes at this rate; 4,096 tokens take 100 s."""
THINKING_S = 300.0
"""A model that is asked to think hard does so for minutes before its first word."""
MAY_THINK_S = 120.0
"""A model that thinks unasked is done sooner as a rule."""
LOADING_S = 120.0
"""A local server may have to load the model from disk first (Ollama waits 5 min at most)."""
SEEN_MIN = 20
"""Answers after which a 95th percentile means something."""
SEEN_FACTOR = 3.0
"""A target that was seen to need x seconds (95th percentile) gets at least three times x."""
QUALITIES = ("cost", "speed", "reliability")
"""What requirements can be about."""
EXPLORE_SHARE = 0.02
"""One request in fifty finds out how the others are by now; more would be noticed by the callers."""

BASE_S: Mapping[str, tuple[float, float, float]] = {
    "chat_short": (5.0, 10.0, 15.0),
    "chat_long": (5.0, 30.0, 35.0),
    "embedding": (5.0, 10.0, 15.0),
    "image": (5.0, 45.0, 50.0),
    "video": (10.0, 120.0, 130.0),
    "speech": (5.0, 30.0, 35.0),
    "transcription": (5.0, 60.0, 65.0),
}
"""Seconds to connect, to the first content, and for the whole request, by kind of work."""


class Limits(Record):
    """The limits of one attempt or request in seconds, after everything that is known was weighed.

    connect_s, first_byte_s and first_content_s count from the launch of an attempt, total_s
    from the request's arrival to its first content; gap_s is between two pieces of content;
    ceiling_s bounds a whole stream; chars_per_s_min is the slowest stream worth keeping.
    """

    connect_s: float
    first_byte_s: float
    first_content_s: float
    total_s: float
    gap_s: float
    ceiling_s: float
    chars_per_s_min: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """What an operator may set; None means the default for the kind of work.

    A number that was set is taken as it is.  A default is only a floor: it grows with the
    length of the prompt, with the tokens that were asked for (a plain answer comes when all
    of them are written), with what the target is known for (reasoning, a local model) and
    with what was seen of it.
    """

    connect_s: float | None = None
    first_byte_s: float | None = None
    first_content_s: float | None = None
    total_s: float | None = None
    gap_s: float = 20.0
    """Twice the longest pause that hosted models make between tokens as a rule."""
    job_s: float = 900.0
    """A job (a video) that was accepted and says how it goes is waited for so long, unless `total_s` is set."""
    ceiling_s: float = 3600.0
    """A stream may last an hour: longer ones are leaks."""
    chars_per_s_min: float = 0.5
    """One token in eight seconds, over `floor_window_s`: nobody waits for that."""
    floor_window_s: float = 30.0
    reserve_share: float = 0.3
    """Of the total, kept back for the last candidate while there is one."""

    def merged(self, overrides: Mapping[str, float]) -> Deadlines:
        """These, with somebody's own numbers for some of them."""
        return replace(self, **overrides) if overrides else self

    def limits(self, request: Request, target: Target, *, seen_s: float = 0.0) -> Limits:
        """The limits for this request at this target.

        `seen_s` is the 95th percentile of its answers so far, 0 while too few were seen: then
        a model that is known to think is given `MAY_THINK_S`, afterwards what it was seen to need.
        """
        mine = self.merged(target.deadlines) if target.deadlines else self
        connect_s, read_s, total_s = BASE_S[_kind_of_work(request)]
        slack_s = _slack_s(request, target)
        if request.thinks:
            slack_s += THINKING_S
        elif not seen_s and "reasoning" in target.capabilities:
            slack_s += MAY_THINK_S
        first_content_s = _given(mine.first_content_s, max(read_s + slack_s, SEEN_FACTOR * seen_s))
        first_byte_s = _given(mine.first_byte_s, first_content_s)
        longer_s = max(0.0, first_content_s - read_s)
        total_s = _given(mine.total_s, total_s + longer_s)
        return Limits(
            _given(mine.connect_s, connect_s), first_byte_s, first_content_s, total_s,
            mine.gap_s, mine.ceiling_s, mine.chars_per_s_min,
        )  # fmt: skip


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _kind_of_work(request: Request) -> str:
    if request.task is not Task.CHAT:
        return request.task.value
    brief = request.max_tokens is not None and request.max_tokens <= SHORT_TOKENS
    return "chat_short" if brief and request.prompt_chars <= SHORT_PROMPT_CHARS else "chat_long"


def _slack_s(request: Request, target: Target) -> float:
    """Seconds beyond the base that this work may honestly need."""
    slack_s = 0.0
    if request.task is Task.CHAT:
        slack_s = max(0.0, request.prompt_chars - SHORT_PROMPT_CHARS) / CHARS_PER_TOKEN / READ_TOKENS_PER_S
        if not request.stream:
            slack_s += (request.max_tokens or UNSTATED_TOKENS) / WRITE_TOKENS_PER_S
    if "local" in target.capabilities:
        slack_s += LOADING_S
    return slack_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When to try again, and how often in all.

    The wait before retry n is uniform in [0, min(wait_s_max, base_s * 2**n)]: full jitter
    (AWS Architecture Blog, "Exponential Backoff And Jitter"), which spreads a crowd best.
    """

    attempts_max: int = 6
    """Of one request, of every sort: two targets with a retry each, a hedge, and a rescue."""
    same_target_max: int = 1
    """Retries at one target; more help rarely and delay the one that would answer."""
    base_s: float = 0.25
    wait_s_max: float = 3.0
    """The longest wait for a target that says when to come back; beyond it, switch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedging:
    """Start a second target while the first is silent.

    after_s: a fixed delay; p95: the target's own 95th percentile (needs `samples_min`
    answers); neither: no hedging.
    """

    after_s: float | None = None
    p95: bool = False
    samples_min: int = 20

    @property
    def on(self) -> bool:
        return self.p95 or self.after_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaking:
    """When to leave a target alone, and for how long.

    It opens after `consecutive` failures, or when at least `calls_min` calls of the last
    `window_s` seconds failed at `failure_rate` or more, or when at least `slow_min` calls
    and `slow_rate` of them were slower than `slow_factor` times its own usual (and than
    `slow_s_min`).  It stays open `open_s`, doubled each time up to `open_s_max`, with up to
    `jitter` added; then one probe; then traffic returns over `ramp_s`.
    """

    consecutive: int = 3
    window_s: float = 30.0
    calls_min: int = 8
    failure_rate: float = 0.4
    """Two of five; a provider that fails every second call never has three failures in a row."""
    slow_factor: float = 6.0
    slow_s_min: float = 0.5
    slow_min: int = 5
    slow_rate: float = 0.5
    open_s: float = 5.0
    open_s_max: float = 60.0
    jitter: float = 0.1
    probe_s: float = 60.0
    """A probe that is not heard of for so long is taken for lost, and another may start."""
    ramp_s: float = 10.0
    ramp_share: float = 0.2
    """Of the traffic, right after a good probe."""


NOTHING_FREE = "none"
"""In place of a path: nothing that costs nothing says how the provider is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """How a provider is asked whether it is well, beside what its callers see of it; off unless something is set.

    What is asked costs nothing: the list of models, or what `path` names.  `billed` sends a
    request for one word as well, and only when a breaker is about to let one request through.
    """

    every_s: float | None = None
    """How often the free question is asked. Without it none is."""
    path: str = ""
    """Where it is asked, by GET, from the root of the provider's host: `/health`. The list of models unless given;
    `none` where there is nothing that costs nothing."""
    billed: bool = False
    """Whether one word is asked for in place of the caller's request that would find out whether a model is back."""
    jitter: float = 0.2
    """By how much each interval is longer or shorter, so that gateways that start together do not ask together."""
    timeout_s: float = 10.0
    """How long a free question may take; a word is given as long as short requests are."""
    idle_s: float = 900.0
    """Nothing is asked of a provider that no caller has wanted for so long."""

    @property
    def on(self) -> bool:
        return self.every_s is not None or self.billed


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Retries and hedges as a share of traffic.

    Each request deposits `ratio`; each retry or hedge withdraws 1.  `reserve` a
    `window_s` is always there, so that a quiet route can retry too (finagle's RetryBudget:
    20 % and 10 a second over 10 s).
    """

    ratio: float = 0.2
    reserve: float = 20.0
    window_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """What to do with a stream that breaks.

    rescue: `continue` at another target, `restart-if-unseen` (only before any content was
    shown), or `error`.  tool_calls: `whole` holds a tool call back until it is complete, so
    that a break inside it can be rescued; `live` passes its pieces on as they come.  hold:
    show nothing before the answer is whole, so that whatever is wrong with it can be repaired.
    """

    rescue: str = "continue"
    tool_calls: str = "whole"
    hold: bool = False
    continuations_max: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantic:
    """Answers to other questions that mean the same.

    route: a route for embeddings, or `local` for the small model that comes with the extra
    `semantic`; None is off.  Questions whose vectors' cosine is at least `similarity_min`
    count as the same, if everything else about the two requests is.
    """

    route: str | None = None
    similarity_min: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """Which answers are kept, and for how long; none unless `ttl_s` is set.

    An answer is given again for `ttl_s`; for `stale_s` beyond that only where nobody can give
    another one: at once where everybody rests, else when the last one has failed, or when
    nothing came within `stale_after_s`.  `when: deterministic` keeps only what was asked for
    at temperature 0 or with a seed.  Conversations with `tools` are left out unless that is
    set; `per_key` keeps the answers of callers with different keys apart.
    """

    ttl_s: float | None = None
    stale_s: float = 0.0
    stale_after_s: float | None = None
    when: str = "always"
    tools: bool = False
    per_key: bool = False
    tasks: tuple[Task, ...] = (Task.CHAT, Task.EMBEDDING)
    semantic: Semantic = field(default_factory=Semantic)

    @property
    def on(self) -> bool:
        return self.ttl_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queueing:
    """Who waits when every target that could answer has no room: a limit is reached, or it is overloaded."""

    waiting_max: int = 100
    """How many requests of a route may wait; 0 turns away at once."""
    wait_s: float = 10.0
    """The longest wait, which is also never more than half of the request's `total_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLimit:
    """So many dollars a day (UTC) for the requests of a route, or of a caller's key, or of both together.

    `route` and `asker` (a hash of the key) are empty where they do not matter.  `then` is
    `stop`, or `downgrade`: to another route (`to`), or to targets cheaper than the route's first.
    `usd_per_month` limits a calendar month too (UTC).
    """

    name: str
    usd_per_day: float
    usd_per_month: float | None = None
    route: str = ""
    asker: str = ""
    then: str = "stop"
    to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything a route says about how hard to try."""

    deadlines: Deadlines = field(default_factory=Deadlines)
    retries: Retries = field(default_factory=Retries)
    hedging: Hedging = field(default_factory=Hedging)
    breaking: Breaking = field(default_factory=Breaking)
    budget: Budget = field(default_factory=Budget)
    stream: Streaming = field(default_factory=Streaming)
    cache: Caching = field(default_factory=Caching)
    queue: Queueing = field(default_factory=Queueing)
    on_refusal: str = "return"
    """`return` hands a content-policy refusal to the caller; `failover` asks the next target, as long as
    nothing of an answer was shown."""
    on_empty: str = "failover"
    """An answer without content: `failover` asks the next target, `return` passes it on."""
    on_bad_arguments: str = "return"
    """Calls of tools that do not exist or whose arguments are not JSON: `return` or `failover`."""
    on_bad_schema: str = "return"
    """An answer that does not obey the schema asked for: `return`, or `failover`, which holds streams back."""
    embedding_models: str = "same"
    """Vectors of two models cannot be compared: `same` asks only hosts of the first target's model, `any` all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A model name that callers use, the targets behind it in order of preference, and how to choose.

    `width` is how many targets are started at once: 1 as a rule, more for a race.
    `requirements` says how much cost, speed and reliability count (0 to 1) for strategies
    that weigh; none is the strategy's own way.  `regions` are the only ones that may answer,
    `near` the ones to prefer, the nearest first; `eu` holds `eu-west-1` too.  Strategies that
    learn spend `explore_share` of the requests on looking at others than the best.  `profile`
    is where strategy and policy come from, for people to read.
    """

    name: str
    targets: tuple[Target, ...]
    strategy: str = "priority"
    width: int = 1
    policy: Policy = field(default_factory=Policy)
    requirements: Mapping[str, float] = field(default_factory=dict)
    regions: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    explore_share: float = EXPLORE_SHARE
    profile: str = ""
