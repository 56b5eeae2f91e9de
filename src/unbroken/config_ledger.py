"""The ledger's section of a configuration, checked; or what the environment says where there is none."""

from __future__ import annotations

from collections.abc import Mapping

from unbroken.config_file import Document
from unbroken.config_shape import LedgerSection

__all__ = ["LedgerSection", "ledger_of"]

VARIABLE = "UNBROKEN_LEDGER"
_SCHEMES = ("postgresql://", "postgres://", "postgresql+psycopg://", "sqlite:///")


def ledger_of(section: LedgerSection | None, document: Document, *, environ: Mapping[str, str]) -> LedgerSection | None:
    """How the ledger is to be kept; None where nothing is said of it."""
    path, said = ("ledger", "url"), environ.get(VARIABLE, "").strip()
    if section is None and said:
        section, path = LedgerSection(url=said), (VARIABLE, "")
    if section is not None and "://" in section.url and not section.url.startswith(_SCHEMES):
        document.problem(
            path, "a ledger is kept in a file, or in PostgreSQL: a path, or postgresql://USER@HOST/DATABASE"
        )
    return section
