"""Keys in HashiCorp Vault (and OpenBao), read with hvac from a KV engine of either version.

Where Vault is and who we are is taken from the environment, as Vault's own tools do:
VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT, and VAULT_TOKEN (or the file that `vault login`
writes) or else an AppRole's VAULT_ROLE_ID and VAULT_SECRET_ID.
"""

from __future__ import annotations

import os
from typing import Any

import hvac
from hvac.exceptions import Forbidden, InvalidPath, Unauthorized, VaultError
from requests import RequestException

from unbroken.credentials.references import Reference
from unbroken.credentials.source import CONNECT_S, READ_S, Held, Unreadable, field_of, held

__all__ = ["Vault", "source"]


class Vault:
    """One field of one secret; logged in for as long as Vault accepts it."""

    def __init__(self, place: str, field: str) -> None:
        self.place, self.field = place, field
        self._client: Any = None

    def read(self, *, anew: bool) -> Held:
        """The field's value in the secret's newest version."""
        try:
            return held(field_of(self._secret(), self.field))
        except VaultError as error:
            raise Unreadable(_said(error)) from None
        except RequestException as error:
            raise Unreadable(f"Vault could not be reached ({type(error).__name__})") from None

    def _secret(self) -> object:
        if self._client is not None:
            try:
                return _fields(self._client, self.place)
            except (Forbidden, Unauthorized):
                self._client = None  # what we logged in with has ended: once more
        client = _logged_in()
        found = _fields(client, self.place)
        self._client = client
        return found


def _logged_in() -> Any:
    address = os.environ.get("VAULT_ADDR", "").strip()
    if not address:
        raise Unreadable("VAULT_ADDR is not set")
    token = os.environ.get("VAULT_TOKEN", "").strip() or None
    role, secret = (os.environ.get(name, "").strip() for name in ("VAULT_ROLE_ID", "VAULT_SECRET_ID"))
    client = hvac.Client(
        url=address, token=token, timeout=(CONNECT_S, READ_S), namespace=os.environ.get("VAULT_NAMESPACE") or None
    )
    if role and not token:
        client.auth.approle.login(role_id=role, secret_id=secret)
    if not client.token:
        raise Unreadable("neither VAULT_TOKEN nor VAULT_ROLE_ID is set")
    return client


def _fields(client: Any, place: str) -> object:
    """The secret's fields.  Vault is asked where the engine's mount ends and which version it has."""
    try:
        told = client.adapter.get(f"/v1/sys/internal/ui/mounts/{place}")["data"]
    except (Forbidden, InvalidPath):  # it will not say: the first part of the path, and the usual version first
        return _guessed(client, place)
    mount = str(told["path"]).rstrip("/")
    version = (told.get("options") or {}).get("version", "1")
    return (_version_2 if version == "2" else _version_1)(client, mount, path=place[len(mount) + 1 :])


def _guessed(client: Any, place: str) -> object:
    mount, _, path = place.partition("/")
    try:
        return _version_2(client, mount, path=path)
    except InvalidPath:
        return _version_1(client, mount, path=path)


def _version_1(client: Any, mount: str, *, path: str) -> object:
    return client.secrets.kv.v1.read_secret(path, mount_point=mount)["data"]


def _version_2(client: Any, mount: str, *, path: str) -> object:
    found = client.secrets.kv.v2.read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
    return found["data"]["data"]


def _said(error: VaultError) -> str:
    """Its words without the address that hvac appends."""
    if isinstance(error, InvalidPath) and not error.errors:
        return "Vault has no such secret"
    return f"Vault says: {', '.join(error.errors or ()) or type(error).__name__}"


def source(reference: Reference) -> Vault:
    """The field that is meant."""
    return Vault(reference.place, reference.field)
