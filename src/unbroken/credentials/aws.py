"""Secrets Manager, and AWS' own credentials for signing, both with botocore and its usual chain.

The chain is that of every AWS tool: environment, shared files and profiles, single sign-on,
web identity, container and instance roles.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from botocore import exceptions, session
from botocore.client import Config
from botocore.credentials import RefreshableCredentials

from unbroken.credentials.references import Reference
from unbroken.credentials.source import CONNECT_S, READ_S, Held, Unreadable, field_of, held

__all__ = ["ManagedSecret", "SigningKeys", "source"]

SURE_S = (600.0, 300.0, 120.0, 30.0)
"""botocore says whether temporary credentials live so long, not when they end; as a rule, ten minutes it sees to."""

_CLEAR = (
    exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound,
    exceptions.NoRegionError, exceptions.TokenRetrievalError,
)  # fmt: skip
"""Errors whose text helps and holds nothing else."""


_reading = threading.local()


def _is_harmless(record: logging.LogRecord) -> bool:
    """What botocore writes into its debug log are answers and session tokens: not those of this thread, for now."""
    return record.levelno > logging.DEBUG or not getattr(_reading, "secrets", False)


for _name in ("botocore.auth", "botocore.endpoint", "botocore.parsers"):
    logging.getLogger(_name).addFilter(_is_harmless)


@contextmanager
def _plainly() -> Iterator[None]:
    """Nothing of it is logged, and what botocore raises becomes words that may be shown."""
    _reading.secrets = True
    try:
        yield
    except exceptions.ClientError as error:
        told = error.response.get("Error", {})
        raise Unreadable(f"AWS says {told.get('Code')}: {told.get('Message')}") from None
    except _CLEAR as error:
        raise Unreadable(str(error)) from None
    except exceptions.BotoCoreError as error:
        raise Unreadable(f"AWS could not be asked ({type(error).__name__})") from None
    finally:
        _reading.secrets = False


class ManagedSecret:
    """A secret of Secrets Manager, or one field of one that is a JSON object."""

    def __init__(self, name: str, field: str) -> None:
        self.name, self.field = name, field

    def read(self, *, anew: bool) -> Held:
        """The secret's current version."""
        limits = Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"total_max_attempts": 2})
        with _plainly():
            client = session.Session().create_client("secretsmanager", region_name=self._region, config=limits)
            with closing(client):
                text = client.get_secret_value(SecretId=self.name).get("SecretString")
        if text is None:
            raise Unreadable("it is binary, so it is no key")
        return held(field_of(text, self.field) if self.field else text)

    @property
    def _region(self) -> str | None:
        """That of an ARN, else that of the environment."""
        parts = self.name.split(":")
        return parts[3] if len(parts) > 6 and parts[0] == "arn" else None


class SigningKeys:
    """What requests to AWS are signed with."""

    def __init__(self, profile: str = "") -> None:
        self.profile = profile
        self._renewed: RefreshableCredentials | None = None

    def read(self, *, anew: bool) -> Held:
        """The credentials of this moment; temporary ones are renewed by botocore."""
        with _plainly():
            found = None if anew else self._renewed
            if found is None:
                found = session.Session(profile=self.profile or None).get_credentials()
            if found is None:
                raise exceptions.NoCredentialsError
            keys = found.get_frozen_credentials()
        sure_s = SURE_S[0]
        self._renewed = None
        if isinstance(found, RefreshableCredentials):
            self._renewed = found
            sure_s = next((seconds for seconds in SURE_S if not found.refresh_needed(seconds)), 0.0)
        until = time.time() + sure_s
        return Held(key=keys.secret_key, key_id=keys.access_key, session=keys.token or "", until=until)


def source(reference: Reference) -> ManagedSecret | SigningKeys:
    """The secret or the credentials that are meant."""
    if reference.scheme == "aws":
        return SigningKeys(reference.place)
    return ManagedSecret(reference.place, reference.field)
