from __future__ import annotations

import os
import runpy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.credentials.references import Reference, auth_of, hugging_face_file, reference_of

GOOD = [
    ("file:/run/secrets/openai", Reference("file", "/run/secrets/openai")),
    ("file:keys/openai", Reference("file", "keys/openai")),
    ("file:///run/secrets/openai", Reference("file", "/run/secrets/openai")),
    ("hf-token-file", Reference("hf-token-file")),
    ("vault:secret/ai/openai#key", Reference("vault", "secret/ai/openai", "key")),
    ("vault:/kv/openai", Reference("vault", "kv/openai")),
    ("aws-sm:prod/openai", Reference("aws-sm", "prod/openai")),
    ("aws-sm:prod/openai#key", Reference("aws-sm", "prod/openai", "key")),
    (
        "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:openai-AbCdEf#key",
        Reference("aws-sm", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:openai-AbCdEf", "key"),
    ),
    ("azure-kv:my-vault/openai", Reference("azure-kv", "my-vault", "openai")),
    ("azure-kv:https://v.vault.azure.cn/openai", Reference("azure-kv", "https://v.vault.azure.cn", "openai")),
    (
        "azure-kv:https://v.vault.azure.net/secrets/openai/0123456789abcdef",
        Reference("azure-kv", "https://v.vault.azure.net", "openai/0123456789abcdef"),
    ),
    ("google:adc", Reference("google", "adc")),
    ("google:/run/secrets/vertex.json", Reference("google", "/run/secrets/vertex.json")),
    ("azure-ad:", Reference("azure-ad")),
    ("azure-ad:https://ai.azure.com/.default", Reference("azure-ad", "https://ai.azure.com/.default")),
    ("aws:", Reference("aws")),
    ("aws:production", Reference("aws", "production")),
]
BAD = ["file:", "vault:", "vault:secret", "vault:secret/", "vault:#key", "aws-sm:", "aws-sm:#key", "azure-kv:my-vault",
       "azure-kv:http://my-vault/openai", "azure-kv:my_vault/openai", "google:", "azure-ad:cognitive"]  # fmt: skip
KEYS = ["", "sk-proj-abc", "file", "vault", "aws", "hf-token-file:", "https://x", "id:secret", "FILE:/x", "hf_abc"]


@pytest.mark.parametrize(("key", "reference"), GOOD, ids=[key for key, _ in GOOD])
def test_references_are_understood(key: str, reference: Reference) -> None:
    """Each keeper's references are taken apart, in every way in which they are written."""
    assert reference_of(key) == reference


@pytest.mark.parametrize("key", BAD)
def test_half_a_reference_is_explained(key: str) -> None:
    """What begins like a reference and is none is an error that says how one reads."""
    scheme = key.partition(":")[0]
    with pytest.raises(ValueError, match=f"reads {scheme}:"):
        reference_of(key)


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_no_references(key: str) -> None:
    """A key is a key, whatever it looks like."""
    assert reference_of(key) is None


@pytest.mark.parametrize(
    ("key", "auth"),
    [("google:adc", "bearer"), ("azure-ad:", "bearer"), ("aws:", "sigv4"), ("aws-sm:x", ""), ("sk-x", ""), ("aws", "")],
)
def test_how_it_has_to_be_shown(key: str, auth: str) -> None:
    """Tokens are bearer tokens whatever the provider's keys are, and AWS' credentials sign."""
    assert auth_of(key) == auth


@given(st.text())
def test_any_text_is_a_key_or_a_reference_or_an_error(text: str) -> None:
    """Nothing that is configured raises anything else."""
    for key in (text, f"vault:{text}", f"azure-kv:{text}"):
        try:
            assert isinstance(reference_of(key), Reference | None)
        except ValueError as error:
            assert "reads" in str(error)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HF_TOKEN_PATH": "~/elsewhere/token"},
        {"HF_HOME": "/data/hf"},
        {"HF_HOME": "$XDG_CACHE_HOME/hf", "XDG_CACHE_HOME": "/data/cache"},
        {"HF_HOME": "${XDG_CACHE_HOME}/$NOT_THERE/~", "XDG_CACHE_HOME": "/data/cache"},
        {"XDG_CACHE_HOME": "/data/cache"},
        {"HF_TOKEN_PATH": "/data/token", "HF_HOME": "/data/hf"},
    ],
    ids=lambda environ: ",".join(environ) or "nothing",
)
def test_the_token_file_is_where_hugging_face_keeps_it(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same path as their library's, whatever is in the environment."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="the official library is the judge")
    for name in ("HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    environ = {"HOME": os.environ["HOME"], **environ}
    assert hugging_face_file(environ) == runpy.run_path(constants.__file__)["HF_TOKEN_PATH"]
