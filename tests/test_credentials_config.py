"""References to keys, from a configuration to a provider that sees the key."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from faces.running import config_for, running
from unbroken.config import ConfigError, load
from unbroken.testing import FakeProvider
from unbroken.types import Target

openai = pytest.importorskip("openai", reason="the official SDK is the caller")


def targets(tmp_path: Path, providers: dict[str, object], environ: dict[str, str]) -> list[Target]:
    file = tmp_path / "unbroken.yaml"
    routes = {"m": {"targets": [f"{name}/m" for name in providers]}}
    file.write_bytes(msgspec.json.encode({"providers": providers, "routes": routes}))  # JSON is YAML
    return list(load(file, environ).targets)


def test_a_reference_becomes_a_credential(tmp_path: Path) -> None:
    """In `key`, `keys` and the environment; how it is shown follows from what it is."""
    found = targets(
        tmp_path,
        {
            "openai": {"keys": ["file:/run/secrets/one", "sk-two"], "quota_group": "acme"},
            "azure": {"key": "azure-ad:", "options": {"resource": "r"}},
            "bedrock": {"key": "aws:work", "options": {"region": "eu-west-1"}},
            "groq": {},
        },
        {"GROQ_API_KEY": "vault:secret/groq#key"},
    )
    assert [(t.credential, t.key, t.auth, t.key_scope) for t in found] == [
        ("file:/run/secrets/one", "", "", "openai#acme"),
        ("", "sk-two", "", "openai#acme"),
        ("azure-ad:", "", "bearer", "azure#1"),
        ("aws:work", "", "sigv4", "bedrock#1"),
        ("vault:secret/groq#key", "", "", "groq#GROQ_API_KEY"),
    ]


def test_where_no_key_is_found(tmp_path: Path) -> None:
    """The catalogue names what is used then: Hugging Face's token file if it is there, ADC, AWS' usual chain."""
    providers: dict[str, object] = {
        "huggingface": {}, "vertex": {"options": {"project": "p"}}, "bedrock": {"options": {"region": "eu-west-1"}}
    }  # fmt: skip
    environ = {"HF_TOKEN_PATH": str(tmp_path / "token")}
    assert [t.credential for t in targets(tmp_path, providers, environ)] == ["", "google:adc", "aws:"]
    (tmp_path / "token").write_text("hf_x")
    assert [t.credential for t in targets(tmp_path, providers, environ)] == ["hf-token-file", "google:adc", "aws:"]
    environ |= {"HF_TOKEN": "hf_y"}
    assert targets(tmp_path, providers, environ)[0].key == "hf_y"


@pytest.mark.parametrize(
    ("section", "environ", "place"),
    [
        ({"key": "vault:secret"}, {}, "providers.openai.key: "),
        ({"keys": ["sk-one", "vault:secret"]}, {}, "providers.openai.keys[1]: "),
        ({}, {"OPENAI_API_KEY": "vault:secret"}, "OPENAI_API_KEY: "),
    ],
)
def test_half_a_reference_is_an_error(
    section: dict[str, object], environ: dict[str, str], place: str, tmp_path: Path
) -> None:
    """It is told with its place and how a reference reads, and no key is repeated."""
    with pytest.raises(ConfigError) as caught:
        targets(tmp_path, {"openai": section}, environ)
    assert f"{place}a reference to a key reads vault:MOUNT/PATH#FIELD" in str(caught.value)
    assert "sk-one" not in str(caught.value)


def test_the_provider_sees_the_key(tmp_path: Path) -> None:
    """A gateway as it is put together: what is in the file is what is shown."""

    async def run() -> list[str]:
        async with FakeProvider("one", keys={"key-one"}) as provider:
            (tmp_path / "key").write_text("key-one\n")
            config = config_for([provider], tmp_path, provider={"keys": [f"file:{tmp_path}/key"]})
            async with running(config) as gateway, openai.AsyncOpenAI(base_url=gateway.url, api_key="x") as sdk:
                answer = await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
                assert answer.choices[0].message.content
            return [seen.key for seen in provider.seen]

    assert asyncio.run(run()) == ["key-one"]
