"""Answers that were given before: exact ones, stale ones, those to the same question, those on their way.

    keys      request, route -> Asked                 what makes two requests the same (pure)
    entries   deltas, end -> Entry                    what is kept of an answer, and for how long it is good (pure)
    shelf     key -> Entry, by bytes                  the least recently used goes first (pure)
    store     the seam to wherever entries are kept   and the one in this process
    sharing   one answer for many callers             each at its own pace, live or from memory
    desk      what the engine asks before it flies    looks up, shares, stores
    vectors   nearest questions                       needs numpy (the extra `semantic`)
    meaning   question -> vector                      by an embedding route, or a small model of this process

A route opts in (`policy.Caching`).  Where it does not, nothing in here is even called.
"""

from unbroken.cache.desk import Desk
from unbroken.cache.store import InMemory, Store

__all__ = ["Desk", "InMemory", "Store"]
