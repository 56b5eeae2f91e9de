"""What a question means, as a vector: from a route for embeddings, or from a small model of this process.

The small one is `wordllama`'s, which comes with its package: no download, a fifth of a
millisecond for a question.  It knows words better than sentences ("can I" and "can't I" are
near), so it wants a higher `similarity_min` than a provider's model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from unbroken.cache.sharing import Order
from unbroken.core.flight import Finished
from unbroken.engine import Engine
from unbroken.policy import Route
from unbroken.types import Delta, Request, Task
from unbroken.work import Texts

__all__ = ["LOCAL", "Meanings", "MeaningsUnavailable", "Near", "wanted_by"]

LOCAL = "local"
"""In place of a route: the model of this process."""
VECTOR_BYTES_MAX = 32 * 1024 * 1024
_NEEDED = "`cache.semantic` needs packages that are not installed: pip install 'unbroken[semantic]'"


class MeaningsUnavailable(RuntimeError):
    """A route wants questions compared by their meaning, and nothing is installed, or configured, that can."""


@dataclass(frozen=True, slots=True)
class Near:
    """A question's vector, and the key of the nearest question if that is near enough."""

    vector: Any
    key: str | None = None


class Meanings:
    """Vectors of questions, and the questions that were answered before."""

    def __init__(self, engine: Engine, routes: Sequence[Route], *, resolve: Callable[[str], Route | None]) -> None:
        """`routes` are those that want it; MeaningsUnavailable where one cannot have it."""
        try:
            from unbroken.cache.vectors import Neighbours, unit  # noqa: PLC0415 - numpy is an extra
        except ImportError:
            raise MeaningsUnavailable(_NEEDED) from None
        self._engine, self._resolve, self._unit = engine, resolve, unit
        self._neighbours = Neighbours(VECTOR_BYTES_MAX)
        self.wanted = wanted_by(routes)
        _require(self.wanted, resolve)
        self._local = _local_model() if LOCAL in self.wanted else None

    def follow(self, resolve: Callable[[str], Route | None]) -> None:
        """Routes are looked up here from now on; questions that were compared stay known."""
        _require(self.wanted, resolve)
        self._resolve = resolve

    def nearest(self, order: Order, *, ready: Callable[[Near | None], None]) -> None:
        """Compare a question with those before; `ready` gets None where its meaning cannot be known."""
        compare = partial(self._compare, order, ready=ready)
        if order.route.policy.cache.semantic.route == LOCAL and self._local is not None:
            compare(self._local(order.asked.question))
        else:
            self._embed(order, compare)

    def learn(self, order: Order, vector: Any) -> None:
        """The question was answered, and the answer is kept."""
        self._neighbours.add(order.asked.context, vector, key=order.asked.key)

    def _compare(self, order: Order, numbers: Sequence[float], *, ready: Callable[[Near | None], None]) -> None:
        vector = self._unit(numbers) if len(numbers) else None
        if vector is None:
            ready(None)
            return
        found = self._neighbours.nearest(order.asked.context, vector)
        near_enough = found is not None and found[1] >= order.route.policy.cache.semantic.similarity_min
        ready(Near(vector, found[0] if found is not None and near_enough else None))

    def _embed(self, order: Order, ready: Callable[[Sequence[float]], None]) -> None:
        """Ask a provider; whatever fails there, the request goes on without."""
        name, question = order.route.policy.cache.semantic.route, order.asked.question
        route = self._resolve(name) if name is not None else None
        if route is None:
            ready(())
            return
        texts = Texts(texts=(question,))
        request = Request(model=route.name, task=Task.EMBEDDING, prompt_chars=len(question), read=lambda: texts)
        self._engine.fly(request, route, caller=_Vector(ready), flight_id=f"{order.flight}:question")


def wanted_by(routes: Sequence[Route]) -> set[str]:
    """Where these routes have questions compared: names of routes, or LOCAL."""
    return {name for route in routes if (name := route.policy.cache.semantic.route) is not None}


def _require(names: set[str], resolve: Callable[[str], Route | None]) -> None:
    """MeaningsUnavailable where one of them is nowhere."""
    for name in names - {LOCAL}:
        if resolve(name) is None:
            raise MeaningsUnavailable(f"`cache.semantic.route` names `{name}`, which is no route")


class _Vector:
    """The engine's caller for a question's vector."""

    __slots__ = ("_numbers", "_ready")

    def __init__(self, ready: Callable[[Sequence[float]], None]) -> None:
        self._ready = ready
        self._numbers: Sequence[float] = ()

    def show(self, deltas: Sequence[Delta]) -> None:
        """A vector."""
        self._numbers = next((o.vector for delta in deltas for o in delta.outputs if o.vector), self._numbers)

    def finish(self, end: Finished) -> None:
        """The end."""
        self._ready(self._numbers if end.failure is None else ())


def _local_model() -> Callable[[str], Sequence[float]]:
    """The model that its package carries; it looks for its parts where it is told to, and loads nothing."""
    try:
        import wordllama  # noqa: PLC0415 - an extra
    except ImportError:
        raise MeaningsUnavailable(_NEEDED) from None
    here = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=here, disable_download=True)

    def vector(question: str) -> Sequence[float]:
        numbers: Sequence[float] = model.embed(question)[0]
        return numbers

    return vector
