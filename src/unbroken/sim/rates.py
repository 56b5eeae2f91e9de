"""Arrivals from rates: what each client did in each window, as families of distributions that were fitted to it.

The form is ServeGen's: for each client and every ten minutes the requests a second, and the
family (Gamma or Weibull: shape and scale; Exponential: the mean) of the times between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from random import Random

__all__ = ["Window", "arrivals"]

WINDOW_S = 600.0
ARRIVALS_MAX = 5_000_000
"""A fortnight of a large service is far more than anybody plays; what comes later is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one client did from `start_s` on."""

    client: str
    start_s: float
    per_s: float
    family: str
    shape: float
    scale: float


def _weibull(chance: Random, window: Window) -> float:
    return chance.weibullvariate(window.scale, window.shape)


def _gamma(chance: Random, window: Window) -> float:
    return chance.gammavariate(window.shape, window.scale)


def _exponential(chance: Random, window: Window) -> float:
    return chance.expovariate(window.per_s)


_GAPS_S: Mapping[str, Callable[[Random, Window], float]] = {"Weibull": _weibull, "Gamma": _gamma}


def arrivals(windows: Iterable[Window], chance: Random, *, window_s: float = WINDOW_S) -> Iterator[tuple[float, str]]:
    """Times and clients in order, from the first window in which anybody asks; at most `ARRIVALS_MAX`."""
    by_client: dict[str, list[Window]] = {}
    for window in windows:
        if window.per_s > 0:
            by_client.setdefault(window.client, []).append(window)
    began_s = min((window.start_s for mine in by_client.values() for window in mine), default=0.0)
    streams = [
        _of_one(
            sorted(mine, key=lambda window: window.start_s),
            Random(f"{chance.random()}/{client}"),
            window_s=window_s,
        )
        for client, mine in by_client.items()
    ]
    for number, (at, client) in enumerate(merge(*streams)):
        if number >= ARRIVALS_MAX:
            return
        yield at - began_s, client


def _of_one(windows: list[Window], chance: Random, *, window_s: float) -> Iterator[tuple[float, str]]:
    """One client's arrivals.

    A fitted family says how requests cluster; its mean is off where it was truncated, so the
    gaps are scaled to the rate that was measured.
    """
    for window in windows:
        gap_s = _GAPS_S.get(window.family, _exponential)
        if window.shape <= 0 or window.scale <= 0:
            gap_s = _exponential
        # A first gap of random phase: else every client would begin its windows at once.
        at, end_s = window.start_s + chance.random() * min(window_s, gap_s(chance, window)), window.start_s + window_s
        while at < end_s:
            yield at, window.client
            at += gap_s(chance, window)
