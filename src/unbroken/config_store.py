"""The store's section of a configuration, checked; or what the environment says where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from unbroken.config_file import Document
from unbroken.config_shape import StoreSection
from unbroken.credentials.references import reference_of

__all__ = ["StoreSection", "store_of"]

VARIABLE = "UNBROKEN_STORE"
SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")


def store_of(section: StoreSection | None, document: Document, *, environ: Mapping[str, str]) -> StoreSection | None:
    """What replicas share, and by which store; None where each is for itself."""
    path, said = ("store", "url"), environ.get(VARIABLE, "").strip()
    if section is None and said:
        section, path = StoreSection(url=said), (VARIABLE, "")
    if section is None:
        return None
    try:
        address = urlsplit(section.url)
        known = address.scheme in SCHEMES and (address.port or True)
    except ValueError:  # whose words may quote a password
        known = False
    if not known:
        schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        document.problem(path, f"a store's address begins with {schemes} and has a number for its port, if any")
    if section.password is not None:
        try:
            reference_of(section.password.value)
        except ValueError as error:
            document.problem(("store", "password"), str(error))
    return section
