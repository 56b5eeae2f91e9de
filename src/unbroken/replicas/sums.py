"""What several processes have counted, as one: metrics as Prometheus is told them, and statistics.

Counts add up, also those of workers that are gone: else every restart would look to Prometheus
as if the gateway had begun anew.  Of what goes up and down, the sum, the most or the least says
how the gateway is; the rest all replicas know alike, and whoever is asked tells its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from unbroken.sinks.exposition import Family, Sample

__all__ = ["METRICS", "STATISTICS", "STATUS", "families_of", "settled", "statistics_of", "summed", "words_of"]

METRICS, STATISTICS, STATUS = "metrics", "statistics", "status"
"""What workers ask each other."""
RESET_S = 1.0
"""Statistics are reset everywhere within this; those from before do not count any more."""
_COUNTED = frozenset(("counter", "histogram"))
_GAUGES: Mapping[str, Callable[[Iterable[float]], float]] = {
    "unbroken_attempts_active": sum,
    "unbroken_queue_waiting": sum,
    "unbroken_ledger_queued": sum,
    "process_resident_memory_bytes": sum,
    "process_open_fds": sum,
    "process_start_time_seconds": min,
    "unbroken_event_loop_lag_seconds": max,
}
_DECODER = msgspec.msgpack.Decoder(list[Family])


def words_of(families: Iterable[Family]) -> bytes:
    """Families as others are told them."""
    return msgspec.msgpack.encode(list(families))


def families_of(words: bytes) -> list[Family]:
    """Families that others told; none where they make no sense."""
    try:
        return _DECODER.decode(words)
    except (msgspec.DecodeError, ValueError):
        return []


def summed(own: Iterable[Family], others: Sequence[Iterable[Family]]) -> list[Family]:
    """One of each family; those that only others have come last."""
    merged = {family.name: family for family in own}
    theirs: dict[str, list[Family]] = {}
    for family in (family for told in others for family in told):
        theirs.setdefault(family.name, []).append(family)
    for name, families in theirs.items():
        fold = sum if families[0].kind in _COUNTED else _GAUGES.get(name)
        if fold is not None:
            mine = [merged[name]] if name in merged else []
            merged[name] = _folded([*mine, *families], fold)
    return list(merged.values())


def settled(what: str, answers: Sequence[bytes]) -> bytes:
    """What is left of what workers have answered when they are gone: what they counted, and not how they were."""
    if what == STATISTICS:
        told = [msgspec.json.decode(words) for words in answers if words]
        return msgspec.json.encode(statistics_of(told)) if told else b""
    if what != METRICS:
        return b""
    counted = [[family for family in families_of(words) if family.kind in _COUNTED] for words in answers]
    return words_of(summed((), counted))


def _folded(families: Sequence[Family], fold: Callable[[Iterable[float]], float]) -> Family:
    values: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}
    for sample in (sample for family in families for sample in family.samples):
        values.setdefault((sample.suffix, sample.labels), []).append(sample.value)
    samples = [Sample(suffix, labels, fold(found)) for (suffix, labels), found in values.items()]
    first = families[0]
    return Family(first.name, first.kind, first.about, samples)


# ---------------------------------------------------------------------------- statistics


def statistics_of(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Statistics as one: counts added, shares and averages over all of them.

    Those that were not reset when others were are left out: they come from workers that were gone by then.
    """
    latest = max(one.get("reset_at", 0.0) for one in told)
    counted = [one for one in told if one.get("reset_at", 0.0) >= latest - RESET_S]
    merged = _added(counted)
    for kind in ("providers", "targets"):
        names = dict.fromkeys(name for one in counted for name in one.get(kind, {}))
        merged[kind] = {name: _account([one[kind][name] for one in counted if name in one[kind]]) for name in names}
    return merged


def _account(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged = _added(told)
    answered, failed = merged["answered"], merged["failed"]
    seconds = sum((one["average_s"] or 0.0) * one["answered"] for one in told)
    merged["success_rate"] = answered / (answered + failed) if answered + failed else None
    merged["average_s"] = seconds / answered if answered else None
    merged["failures"] = _added([one["failures"] for one in told])
    return merged


def _added(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers added up, but for moments; of everything else the first that says something."""
    merged: dict[str, Any] = {}
    for one in told:
        for name, value in one.items():
            known = merged.get(name)
            if isinstance(value, int | float) and isinstance(known, int | float) and name not in _MOMENTS:
                merged[name] = known + value
            elif name not in merged or known is None:
                merged[name] = value
    return merged


_MOMENTS = frozenset(("since", "reset_at"))
