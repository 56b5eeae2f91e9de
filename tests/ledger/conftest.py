"""One PostgreSQL for all tests of the ledger."""

from __future__ import annotations

from ledger.database import postgresql

__all__ = ["postgresql"]
