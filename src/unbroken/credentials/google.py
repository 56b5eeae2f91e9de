"""Google's access tokens, from a service account's key or from whatever is the default here (ADC)."""

from __future__ import annotations

from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

import google.auth
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials

from unbroken.credentials.references import Reference
from unbroken.credentials.source import READ_S, Held, Unreadable, held

__all__ = ["AccessToken", "source"]

_of_file: Any = Credentials.from_service_account_file  # it is not typed
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class AccessToken:
    """Tokens of one account; its key is read each time, so that a new one is picked up."""

    def __init__(self, path: str = "") -> None:
        self.path = path

    def read(self, *, anew: bool) -> Held:
        """A new token."""
        try:
            credentials = self._credentials()
            credentials.refresh(partial(Request(), timeout=READ_S))
        except RefreshError as error:
            raise Unreadable(f"Google gives no token: {error.args[0] if error.args else ''}") from None
        except DefaultCredentialsError:
            raise Unreadable("there are no default credentials here (gcloud auth application-default login)") from None
        except GoogleAuthError as error:
            raise Unreadable(f"Google could not be asked ({type(error).__name__})") from None
        expiry = credentials.expiry
        return held(credentials.token, until=expiry.replace(tzinfo=UTC).timestamp() if expiry else None)

    def _credentials(self) -> Any:
        if not self.path:
            return google.auth.default(scopes=SCOPES)[0]
        try:
            return _of_file(Path(self.path).expanduser(), scopes=SCOPES)
        except OSError as error:
            raise Unreadable(f"{self.path} cannot be read: {error.strerror}") from None
        except ValueError:
            raise Unreadable(f"{self.path} is no service account's key (for other kinds: google:adc)") from None


def source(reference: Reference) -> AccessToken:
    """The account that is meant."""
    return AccessToken("" if reference.place == "adc" else reference.place)
