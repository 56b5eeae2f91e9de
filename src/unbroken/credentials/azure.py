"""Key Vault's secrets and Entra's tokens, as whoever `DefaultAzureCredential` finds us to be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from unbroken.credentials.references import Reference
from unbroken.credentials.source import CONNECT_S, READ_S, Held, Unreadable, held

__all__ = ["EntraToken", "VaultSecret", "source"]

SCOPE = "https://cognitiveservices.azure.com/.default"
"""Azure OpenAI's, and that of the models beside it."""
_LIMITS: dict[str, Any] = {"connection_timeout": CONNECT_S, "read_timeout": READ_S, "retry_total": 1}


@contextmanager
def _plainly() -> Iterator[None]:
    """What the clients raise, in words that may be shown."""
    try:
        yield
    except ResourceNotFoundError:
        raise Unreadable("Key Vault has no such secret") from None
    except ClientAuthenticationError as error:
        raise Unreadable(f"Azure knows us not: {error.message.partition(chr(10))[0]}") from None
    except HttpResponseError as error:
        raise Unreadable(f"Azure refuses it ({error.status_code} {error.reason})") from None
    except AzureError as error:
        raise Unreadable(f"Azure could not be asked ({type(error).__name__})") from None


class _Ourselves:
    """Who we are to Azure, found when first asked for."""

    def __init__(self) -> None:
        self._known: TokenCredential | None = None

    def credential(self, *, anew: bool) -> TokenCredential:
        """A credential; `anew` one that has no token yet."""
        if self._known is None or anew:
            self._known = DefaultAzureCredential(process_timeout=int(READ_S), **_LIMITS)
        return self._known


class EntraToken:
    """A token of Entra ID for one scope."""

    def __init__(self, scope: str = "") -> None:
        self.scope = scope or SCOPE
        self._ourselves = _Ourselves()

    def read(self, *, anew: bool) -> Held:
        """A token that has some life left."""
        with _plainly():
            token = self._ourselves.credential(anew=anew).get_token(self.scope)
        return held(token.token, until=float(token.expires_on))


class VaultSecret:
    """A secret of Key Vault: its current version, or the one that is named."""

    def __init__(self, vault: str, name: str) -> None:
        self.address = vault if "://" in vault else f"https://{vault}.vault.azure.net"
        self.name, _, self.version = name.partition("/")
        self._ourselves = _Ourselves()

    def read(self, *, anew: bool) -> Held:
        """The secret's value."""
        with _plainly(), SecretClient(self.address, self._ourselves.credential(anew=False), **_LIMITS) as client:
            return held(client.get_secret(self.name, self.version or None).value or "")


def source(reference: Reference) -> EntraToken | VaultSecret:
    """The token or the secret that is meant."""
    if reference.scheme == "azure-ad":
        return EntraToken(reference.place)
    return VaultSecret(reference.place, reference.field)
