"""The official clients against servers on loopback: Vault, AWS, Azure, Google."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keepers import Call, Keeper, Reply, certificate, google_account, serving
from unbroken.credentials import Credentials
from unbroken.credentials.keyring import READERS
from unbroken.credentials.references import reference_of
from unbroken.credentials.source import Held, Source, Unreadable
from unbroken.failures import Failure
from unbroken.types import HttpRequest, Target

CLEARED = ("AWS_", "AZURE_", "VAULT_", "GOOGLE_", "GCE_", "CLOUDSDK_", "IDENTITY_", "MSI_")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No keys of whoever runs the tests, no proxy, no cloud's own address."""
    for name in list(os.environ):
        if name.startswith(CLEARED) or "proxy" in name.lower():
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # where the clouds' command lines are not
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def source(reference: str) -> Source:
    """The reader; the test is skipped where its client is not installed."""
    found = reference_of(reference)
    assert found is not None
    reader = READERS[found.scheme]
    made: Source = pytest.importorskip(f"unbroken.credentials.{reader}", reason="needs the extra `secrets`").source(
        found
    )
    return made


def key_of(reference: str) -> str:
    return source(reference).read(anew=False).key


def why_not(reference: str) -> str:
    with pytest.raises(Unreadable) as caught:
        source(reference).read(anew=False)
    shown = caught.value.__suppress_context__ or caught.value.__context__ is None
    assert caught.value.__cause__ is None and shown, "the client's error may hold secrets"
    return str(caught.value)


# ------------------------------------------------------------------------------- Vault


class Vault:
    """Two KV engines, one of each version, and an AppRole; `silent` where it does not tell of its engines."""

    def __init__(self) -> None:
        self.tokens = {"hvs.root"}
        self.silent = False
        self.mounts = {"secret/": "2", "team/kv/": "1"}
        self.secrets = {
            "secret/data/ai/openai": {"data": {"key": "sk-in-vault", "owner": "ops"}, "metadata": {"version": 3}},
            "secret/data/single": {"data": {"anything": "sk-single"}, "metadata": {}},
            "team/kv/openai": {"key": "sk-version-one"},
            "secret/data/number": {"data": {"key": 7}, "metadata": {}},
        }

    def __call__(self, call: Call) -> Reply:
        path = call.path.removeprefix("/v1/")
        if path == "auth/approle/login":
            return self._login(call)
        if call.headers.get("x-vault-token") not in self.tokens:
            return Reply({"errors": ["permission denied"]}, 403)
        if path.startswith("sys/internal/ui/mounts/"):
            return self._mount(path.removeprefix("sys/internal/ui/mounts/"))
        data = self.secrets.get(path.partition("?")[0])
        return Reply({"data": data}) if data else Reply({"errors": []}, 404)

    def _login(self, call: Call) -> Reply:
        if call.json != {"role_id": "role", "secret_id": "sesame"}:
            return Reply({"errors": ["invalid role or secret ID"]}, 400)
        token = f"hvs.approle-{len(self.tokens)}"
        self.tokens.add(token)
        return Reply({"auth": {"client_token": token, "lease_duration": 3600, "renewable": True}})

    def _mount(self, path: str) -> Reply:
        mount = next((mount for mount in self.mounts if path.startswith(mount)), None)
        if self.silent or mount is None:
            return Reply({"errors": ["preflight capability check returned 403"]}, 403)
        return Reply({"data": {"path": mount, "type": "kv", "options": {"version": self.mounts[mount]}}})


@pytest.fixture
def at_vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    said = Vault()
    with serving(said) as keeper:
        monkeypatch.setenv("VAULT_ADDR", keeper.url)
        monkeypatch.setenv("VAULT_TOKEN", "hvs.root")
        yield said


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("vault:secret/ai/openai#key", "sk-in-vault"),
        ("vault:secret/single", "sk-single"),
        ("vault:team/kv/openai#key", "sk-version-one"),
    ],
)
def test_vault(reference: str, key: str, silent: bool, at_vault: Vault) -> None:
    """Both versions of the KV engine, under mounts of any depth, and where Vault does not tell of its mounts."""
    at_vault.silent = silent
    assert key_of(reference) == key


def test_vault_by_approle(at_vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token the AppRole logs in, once; again when Vault no longer knows what it gave."""
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("VAULT_ROLE_ID", "role")
    monkeypatch.setenv("VAULT_SECRET_ID", "sesame")
    reader = source("vault:secret/ai/openai#key")
    assert [reader.read(anew=False).key for _ in range(3)] == ["sk-in-vault"] * 3
    assert at_vault.tokens == {"hvs.root", "hvs.approle-1"}
    at_vault.tokens.clear()
    assert reader.read(anew=False).key == "sk-in-vault"
    monkeypatch.setenv("VAULT_SECRET_ID", "wrong")
    assert why_not("vault:secret/ai/openai#key") == "Vault says: invalid role or secret ID"


def test_a_token_that_vault_login_left(at_vault: Vault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file of Vault's own tools is used where the environment has no token; a newer one when the old has ended."""
    monkeypatch.delenv("VAULT_TOKEN")
    (tmp_path / ".vault-token").write_text("hvs.root\n")
    reader = source("vault:secret/single")
    assert reader.read(anew=False).key == "sk-single"
    at_vault.tokens = {"hvs.next"}
    (tmp_path / ".vault-token").write_text("hvs.next\n")
    assert reader.read(anew=False).key == "sk-single"


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("vault:secret/ai/openai#nothing", "it has no text in a field 'nothing'; there are: key, owner"),
        ("vault:secret/ai/openai", "it has several fields, and the reference names none; there are: key, owner"),
        ("vault:secret/ai/other#key", "Vault has no such secret"),
        ("vault:secret/number#key", "it has no text in a field 'key'; there are: key"),
    ],
)
def test_what_vault_does_not_have(reference: str, why: str, at_vault: Vault) -> None:
    """The error says what is missing, and which fields there are."""
    assert why_not(reference) == why


def test_vault_refuses_or_is_away(at_vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vault's own words; and who was not to be reached."""
    monkeypatch.setenv("VAULT_TOKEN", "hvs.wrong")
    assert why_not("vault:secret/single") == "Vault says: permission denied"
    monkeypatch.delenv("VAULT_TOKEN")
    assert why_not("vault:secret/single") == "neither VAULT_TOKEN nor VAULT_ROLE_ID is set"
    monkeypatch.setenv("VAULT_TOKEN", "hvs.root")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    assert why_not("vault:secret/single") == "Vault could not be reached (ConnectionError)"
    monkeypatch.delenv("VAULT_ADDR")
    assert why_not("vault:secret/single") == "VAULT_ADDR is not set"


# --------------------------------------------------------------------------------- AWS


def aws_secrets(call: Call) -> Reply:
    """Secrets Manager with a few secrets."""
    assert call.headers["x-amz-target"] == "secretsmanager.GetSecretValue"
    name = call.json["SecretId"].split(":secret:")[-1]
    held = {
        "plain": {"SecretString": "sk-plain"},
        "json": {"SecretString": '{"key": "sk-json", "other": "x"}'},
        "binary": {"SecretBinary": "AAEC"},
    }.get(name)
    if held is None:
        message = "Secrets Manager can't find the specified secret."
        return Reply({"__type": "ResourceNotFoundException", "message": message}, 400)
    return Reply({"Name": name, **held})


@pytest.fixture
def at_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    with serving(aws_secrets) as keeper:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", keeper.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield keeper


ARN = "arn:aws:secretsmanager:us-west-2:123456789012:secret:"


@pytest.mark.parametrize(
    ("reference", "key", "region"),
    [
        ("aws-sm:plain", "sk-plain", "eu-west-1"),
        ("aws-sm:json#key", "sk-json", "eu-west-1"),
        (f"aws-sm:{ARN}json#key", "sk-json", "us-west-2"),
    ],
)
def test_aws_secrets(reference: str, key: str, region: str, at_aws: Keeper) -> None:
    """A secret as it is, or a field of its JSON; an ARN says in which region it is asked for."""
    assert key_of(reference) == key
    assert f"/{region}/secretsmanager/aws4_request" in at_aws.calls[0].headers["authorization"]


def test_what_aws_secrets_does_not_have(at_aws: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS' own words, the fields that there are, and what is not set."""
    message = "Secrets Manager can't find the specified secret."
    assert why_not("aws-sm:other") == f"AWS says ResourceNotFoundException: {message}"
    assert why_not("aws-sm:json#nothing") == "it has no text in a field 'nothing'; there are: key, other"
    assert why_not("aws-sm:plain#key") == "it has no field 'key': it is no JSON object"
    assert why_not("aws-sm:binary") == "it is binary, so it is no key"
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert why_not("aws-sm:plain") == "You must specify a region."
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    assert why_not("aws-sm:plain") == "AWS could not be asked (EndpointConnectionError)"


def test_signing_keys_of_the_environment(at_aws: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says, with its session token."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    found = source("aws:").read(anew=False)
    assert (found.key_id, found.key, found.session) == ("AKIDEXAMPLE", "aws-secret", "session")


def test_signing_keys_of_a_profile(tmp_path: Path) -> None:
    """A named profile of the shared file, which is read anew each time; what is not there is said."""
    file = tmp_path / ".aws" / "credentials"
    file.parent.mkdir()
    file.write_text("[work]\naws_access_key_id = AKIDONE\naws_secret_access_key = one\n")
    reader = source("aws:work")
    assert reader.read(anew=False).key == "one"
    file.write_text("[work]\naws_access_key_id = AKIDTWO\naws_secret_access_key = two\n")
    assert reader.read(anew=False).key == "two"
    assert why_not("aws:") == "Unable to locate credentials"
    assert why_not("aws:play") == "The config profile (play) could not be found"


def test_signing_keys_of_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's role: its keys are kept until they have to be renewed, and asked for anew after a refusal."""
    lasts = dt.timedelta(hours=6)

    def role(call: Call) -> Reply:
        ends = dt.datetime.now(dt.UTC) + lasts
        number = len(keeper.calls)
        return Reply({"AccessKeyId": f"ASIA{number}", "SecretAccessKey": f"secret-{number}", "Token": "session",
                      "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ")})  # fmt: skip

    with serving(role) as keeper:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{keeper.url}/role")
        reader = source("aws:")
        assert [reader.read(anew=False).key_id for _ in range(3)] == ["ASIA1"] * 3
        assert reader.read(anew=True).key_id == "ASIA2"
        assert life_s(reader.read(anew=False)) == 600
        lasts = dt.timedelta(minutes=4)
        assert life_s(reader.read(anew=True)) == 120
        assert reader.read(anew=False).key_id > "ASIA3", "what ends soon is not kept"


def life_s(found: Held) -> int:
    assert found.until is not None
    return round(found.until - dt.datetime.now(dt.UTC).timestamp())


# ------------------------------------------------------------------------------- Azure


class ManagedIdentity:
    """What App Service gives its programs tokens from."""

    def __init__(self) -> None:
        self.resources: list[str] = []
        self.refuses = False

    def __call__(self, call: Call) -> Reply:
        assert call.headers["x-identity-header"] == "it-is-me"
        if self.refuses:
            return Reply({"error": "invalid_request", "error_description": "No managed identity found"}, 400)
        resource = call.path.partition("resource=")[2].partition("&")[0]
        self.resources.append(resource)
        ends = int(dt.datetime.now(dt.UTC).timestamp()) + 3600
        token = f"entra-{len(self.resources)}"
        return Reply({"access_token": token, "expires_on": str(ends), "resource": resource, "token_type": "Bearer"})


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedIdentity]:
    said = ManagedIdentity()
    with serving(said) as keeper:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{keeper.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "it-is-me")
        yield said


def test_a_token_of_entra(identity: ManagedIdentity) -> None:
    """For Azure OpenAI unless another scope is named, with its end; anew after a refusal."""
    reader = source("azure-ad:")
    first = reader.read(anew=False)
    assert first.key == "entra-1"
    assert first.until is not None and first.until > dt.datetime.now(dt.UTC).timestamp() + 3500
    assert reader.read(anew=False).key == "entra-1"
    assert reader.read(anew=True).key == "entra-2"
    assert key_of("azure-ad:https://ai.azure.com/.default") == "entra-3"
    assert identity.resources == ["https://cognitiveservices.azure.com"] * 2 + ["https://ai.azure.com"]


def test_azure_does_not_know_us() -> None:
    """Nobody of the usual chain is there: it is said in one line."""
    told = why_not("azure-ad:")
    assert told.startswith("Azure knows us not: DefaultAzureCredential failed to retrieve a token")
    assert "\n" not in told


def key_vault(call: Call) -> Reply:
    """Key Vault with two secrets; without a token it says who gives one."""
    if call.headers.get("authorization") != "Bearer entra-1":
        # The client checks that the resource is a parent of the vault's own name: for an address, its last parts.
        resource = "https://" + call.headers["host"].partition(".")[2]
        told = f'Bearer authorization="https://login.microsoftonline.com/tenant", resource="{resource}"'
        return Reply({}, 401, {"www-authenticate": told})
    path = call.path.partition("?")[0]
    held = {"/secrets/openai/": "sk-in-azure", "/secrets/openai/0123": "sk-older", "/secrets/closed/": ""}.get(path)
    if held:
        return Reply({"value": held, "id": f"https://{call.headers['host']}{path}1"})
    return Reply({"error": {"code": "x"}}, 403 if held == "" else 404)


def test_key_vault(identity: ManagedIdentity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret's current version, or one that is named; what is missing or closed is said."""
    tls = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls))
    with serving(key_vault, tls=tls) as keeper:
        reader = source(f"azure-kv:{keeper.url}/openai")
        assert [reader.read(anew=False).key for _ in range(2)] == ["sk-in-azure"] * 2
        assert len(identity.resources) == 1
        identity.resources.clear()
        assert key_of(f"azure-kv:{keeper.url}/secrets/openai/0123") == "sk-older"
        identity.resources.clear()
        assert why_not(f"azure-kv:{keeper.url}/other") == "Key Vault has no such secret"
        identity.resources.clear()
        assert why_not(f"azure-kv:{keeper.url}/closed") == "Azure refuses it (403 Forbidden)"
        url = keeper.url
    identity.resources.clear()
    assert why_not(f"azure-kv:{url}/openai") == "Azure could not be asked (ServiceRequestError)"


def test_a_vault_by_name() -> None:
    """A vault's name stands for its address in Azure's public cloud."""
    made: Any = source("azure-kv:my-vault/openai")
    assert (made.address, made.name) == ("https://my-vault.vault.azure.net", "openai")


# ------------------------------------------------------------------------------ Google


def test_several_google_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each target has the token of its own account; ADC has that of the environment."""
    from google.auth import jwt

    claims_of: Any = jwt.decode  # it is not typed

    def token(call: Call) -> Reply:
        claims = claims_of(call.form["assertion"], verify=False)
        assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        return Reply({"access_token": f"token-of-{claims['iss'].partition('@')[0]}", "expires_in": 3600})

    with serving(token) as keeper:
        one, two, three = (google_account(tmp_path, keeper.url, name=name) for name in ("one", "two", "three"))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(three))
        found = [key_of(f"google:{place}") for place in (one, two, "adc")]
    assert found == ["token-of-one", "token-of-two", "token-of-three"]


def test_what_google_does_not_accept(tmp_path: Path) -> None:
    """A missing file, a file of another kind, no default, no way to Google."""
    assert why_not(f"google:{tmp_path}/none.json") == f"{tmp_path}/none.json cannot be read: No such file or directory"
    other = tmp_path / "other.json"
    other.write_text('{"type": "authorized_user", "refresh_token": "secret"}')
    assert why_not(f"google:{other}") == f"{other} is no service account's key (for other kinds: google:adc)"
    assert why_not("google:adc").startswith("there are no default credentials here")
    account = google_account(tmp_path, "http://127.0.0.1:1/token")
    assert why_not(f"google:{account}") == "Google could not be asked (TransportError)"


# ------------------------------------------------------------------- through the keyring


def authorized(to: Target) -> HttpRequest | Failure:
    """What the keyring makes of a request to this target."""

    def write(target: Target) -> HttpRequest:
        return HttpRequest(
            method="POST", url="https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse", body=b"{}",
            headers={"content-type": "application/json", "x-api-key": target.key},
        )  # fmt: skip

    async def run() -> HttpRequest | Failure:
        done: asyncio.Future[HttpRequest | Failure] = asyncio.get_running_loop().create_future()
        Credentials().authorize(to, write, ready=done.set_result)
        return await asyncio.wait_for(done, 30)

    return asyncio.run(run())


def test_a_request_is_signed(at_aws: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that signs needs no `credential`: AWS' usual chain is what it means."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    signing = Target(name="b/m", provider="b", model="m", auth="sigv4", options={"region": "eu-west-1"})
    signed = authorized(signing)
    assert isinstance(signed, HttpRequest)
    assert "Credential=AKIDEXAMPLE/" in signed.headers["authorization"]
    assert "/eu-west-1/bedrock/aws4_request" in signed.headers["authorization"]
    assert signed.headers["x-amz-security-token"] == "session"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"auth": "sigv4"}, "its requests are signed for a region, and `region` is not set"),
        ({"credential": "aws:"}, "AWS' credentials sign requests: `auth: sigv4` goes with `aws:`, and only with it"),
        ({"auth": "sigv4", "credential": "aws-sm:plain"}, "its requests are signed: `auth: sigv4` goes with `aws:`"),
    ],
)
def test_keys_and_signatures_are_not_mixed_up(options: dict[str, str], why: str, at_aws: Keeper) -> None:
    """A key that is sent cannot sign, a key that signs is not sent, and a signature is for a region."""
    failure = authorized(Target(name="b/m", provider="b", model="m", **options))  # type: ignore[arg-type]
    assert isinstance(failure, Failure)
    assert why in failure.message


def test_no_client_logs_a_secret(
    at_vault: Vault, at_aws: Keeper, identity: ManagedIdentity, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Not even where somebody has turned on everything that the official clients would log."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "aws-session")
    references = ["vault:secret/ai/openai#key", "vault:secret/number#key", "aws-sm:plain", "aws-sm:json#key",
                  "aws-sm:plain#x", "azure-ad:", "aws:"]  # fmt: skip
    said = []
    for reference in references:
        try:
            said.append(repr(source(reference).read(anew=False)))
        except Unreadable as error:
            said.append(repr(error))
    everything = "\n".join([*said, caplog.text])
    assert "Held(until=" in everything and "DEBUG" in everything
    for secret in ("sk-", "hvs.", "aws-secret", "aws-session", "entra-1"):
        assert secret not in everything, secret
