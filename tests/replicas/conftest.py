"""One store for each test of replicas."""

from __future__ import annotations

from replicas.store import store

__all__ = ["store"]
