"""What an answer costs: the rates of a model, and the arithmetic over what was counted.

    Rates      dollars for each unit that may be charged for
    Variant    rates beyond a length of input, or in a class of service
    Quota      what a subscription includes, or what of it was used
    Price      a model's list price, made of these

Everything is a function of its arguments: who keeps the account says what was used before.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

__all__ = ["UNPRICED", "Counts", "Price", "Quota", "Rates", "Variant"]


class Counts(Protocol):
    """What an answer took, as `types.Usage` has it: parts are contained in their wholes."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...
    @property
    def reasoning_tokens(self) -> int: ...
    @property
    def cost_usd(self) -> float | None: ...
    @property
    def cache_write_tokens(self) -> int: ...
    @property
    def input_audio_tokens(self) -> int: ...
    @property
    def output_audio_tokens(self) -> int: ...
    @property
    def images(self) -> int: ...
    @property
    def characters(self) -> int: ...
    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Dollars for each unit; tokens and characters by the million.

    None for `input_usd`, `output_usd` and what is no token: it is not charged for.  None for
    a part of the input or output: it costs as much as the rest of it.
    """

    input_usd: float | None = None
    """For a million tokens of input."""
    output_usd: float | None = None
    """For a million tokens of output."""
    cached_usd: float | None = None
    """For a million tokens of input that were read from a cache."""
    cache_write_usd: float | None = None
    """For a million tokens of input that were put into a cache."""
    reasoning_usd: float | None = None
    """For a million tokens of thinking."""
    input_audio_usd: float | None = None
    """For a million tokens of sound that was heard."""
    output_audio_usd: float | None = None
    """For a million tokens of sound that was made."""
    request_usd: float | None = None
    """For each request."""
    image_usd: float | None = None
    """For each picture that was made."""
    second_usd: float | None = None
    """For each second of video or sound, or of computing."""
    character_usd: float | None = None
    """For a million characters that were spoken."""

    def over(self, other: Rates) -> Rates:
        """These, and the other's where nothing is said here."""
        return Rates(**{name: _first(getattr(self, name), getattr(other, name)) for name in _NAMES})

    def total_usd(self, usage: Counts, *, images: int) -> float:
        """What was counted, at these rates."""
        whole_in, whole_out = self.input_usd or 0.0, self.output_usd or 0.0
        parts_in = usage.cached_tokens + usage.cache_write_tokens + usage.input_audio_tokens
        parts_out = usage.reasoning_tokens + usage.output_audio_tokens
        by_the_million = (
            max(0, usage.input_tokens - parts_in) * whole_in
            + usage.cached_tokens * _or(self.cached_usd, whole_in)
            + usage.cache_write_tokens * _or(self.cache_write_usd, whole_in)
            + usage.input_audio_tokens * _or(self.input_audio_usd, whole_in)
            + max(0, usage.output_tokens - parts_out) * whole_out
            + usage.reasoning_tokens * _or(self.reasoning_usd, whole_out)
            + usage.output_audio_tokens * _or(self.output_audio_usd, whole_out)
            + usage.characters * _or(self.character_usd, 0.0)
        )
        each = images * _or(self.image_usd, 0.0) + usage.seconds * _or(self.second_usd, 0.0)
        return by_the_million / 1e6 + each + _or(self.request_usd, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(Rates):
    """Rates that hold in place of the usual ones, as far as they are given."""

    service: str = ""
    """The class of service they are for, such as `batch`, `flex` or `priority`; empty for all."""
    above_tokens: int = 0
    """Where the input is longer than this, in tokens, they hold for the whole request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """So many requests, and so many tokens, in a period."""

    requests: int | None = None
    """Requests in a period; any number unless given."""
    tokens: int | None = None
    """Tokens in and out in a period; any number unless given."""
    period: str = "month"
    """How often it starts anew: `day`, `week` or `month`."""


_UNUSED = Quota()


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(Rates):
    """What a model costs.  One of which nothing is known has no rate at all, and costs nothing here."""

    variants: tuple[Variant, ...] = ()
    """Rates for long inputs and for classes of service."""
    included: Quota | None = None
    """What a subscription includes: it costs nothing until it is used up."""

    @property
    def known(self) -> bool:
        """Whether anything is known of it: a price of 0 is known, and none is not."""
        return self.included is not None or any(getattr(self, name) is not None for name in _NAMES)

    def rates(self, *, input_tokens: int = 0, service: str = "") -> Rates:
        """The rates for a request of this length and class; those of its class come before those for its length."""
        rates: Rates = self
        for variant in sorted(self.variants, key=lambda v: (bool(v.service), v.above_tokens)):
            # One without a threshold holds for an empty input too.
            reached = not variant.above_tokens or input_tokens > variant.above_tokens
            if reached and variant.service in {"", service}:
                rates = variant.over(rates)
        return rates

    def cost_usd(self, usage: Counts | None, *, images: int = 0, service: str = "", used: Quota = _UNUSED) -> float:
        """What an answer costs, in dollars; a provider's own figure wins over the list.

        `images` is for where the usage does not count them, `used` what of the included
        quota went to earlier requests of the period.  Without `usage` only what is not
        counted there is charged.
        """
        if usage is None:
            list_usd = _or(self.request_usd, 0.0) + images * _or(self.image_usd, 0.0)
            return list_usd * self._paid_share(0, used)
        if usage.cost_usd is not None:
            return max(0.0, usage.cost_usd)
        rates = self.rates(input_tokens=usage.input_tokens, service=service) if self.variants else self
        paid = self._paid_share(usage.input_tokens + usage.output_tokens, used)
        return rates.total_usd(usage, images=usage.images or images) * paid

    def _paid_share(self, tokens: int, used: Quota) -> float:
        """How much of a request of so many tokens is beyond what is included, 0 to 1."""
        if self.included is None:
            return 1.0
        shares = [0.0]
        if self.included.requests is not None and (used.requests or 0) >= self.included.requests:
            shares.append(1.0)
        if self.included.tokens is not None:
            left = max(0, self.included.tokens - (used.tokens or 0))
            shares.append(max(0, tokens - left) / tokens if left and tokens else float(left == 0))
        return max(shares)


UNPRICED = Price()
"""Of a model of which nothing is known."""

_NAMES = tuple(of.name for of in fields(Rates))


def _or(rate: float | None, otherwise: float) -> float:
    return otherwise if rate is None else rate


def _first(one: float | None, other: float | None) -> float | None:
    return other if one is None else one
