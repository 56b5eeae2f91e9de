"""The files in `deploy/` say what the gateway understands, and give it the time that it takes to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from unbroken.config import Config, ConfigError, load
from unbroken.faces.cli.serve import store_problem

DEPLOY = Path(__file__).parents[2] / "deploy"
ENVIRON = {
    "OPENAI_API_KEY": "sk-one", "ANTHROPIC_API_KEY": "sk-two", "STORE_PASSWORD": "planted-4411",
    "UNBROKEN_STORE": "redis://:planted-4411@valkey:6379/0", "UNBROKEN_LEDGER": "postgresql://u:p@postgres/unbroken",
}  # fmt: skip
PLACES = pytest.mark.parametrize("place", ["compose", "kubernetes"])


def configured(place: str) -> Config:
    return load(DEPLOY / place / "unbroken.yaml", ENVIRON)


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


@PLACES
def test_the_configuration_is_understood(place: str) -> None:
    """Routes, a store and a ledger that all replicas share, and nothing to be warned of but keys that are missing."""
    config = configured(place)
    assert config.routes["chat"].targets and config.store is not None and not store_problem(config)
    assert config.ledger is not None and config.ledger.url.startswith("postgresql://")
    assert not config.warnings


def test_pods_have_the_time_that_they_take_to_stop() -> None:
    """Kubernetes kills nobody who still finishes answers, and asks where the gateway answers."""
    server = configured("kubernetes").server
    pod = documents("kubernetes/gateway.yaml")[0]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > server.drain_s + server.grace_s
    (container,) = pod["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert (
        container["readinessProbe"]["periodSeconds"] * container["readinessProbe"]["failureThreshold"] < server.drain_s
    )


def test_containers_have_the_time_that_they_take_to_stop() -> None:
    """The same for compose."""
    server = configured("compose").server
    gateway = documents("compose/compose.yaml")[0]["services"]["gateway"]
    assert float(gateway["stop_grace_period"].removesuffix("s")) > server.drain_s + server.grace_s
    assert "/readyz" in gateway["healthcheck"]["test"][-1]


@pytest.mark.parametrize("url", ["redis://:plan/ted-4411@valkey:6379", "redis://[planted-4411", "http://planted-4411/"])
def test_an_address_that_is_none_is_a_mistake_like_others(url: str, tmp_path: Path) -> None:
    """It is told where it stands, and quoted nowhere: a password may be in it."""
    file = tmp_path / "unbroken.yaml"
    file.write_text(f"store: '{url}'\n", encoding="utf-8")
    for path, environ, place in ((file, ENVIRON, "store.url"), (None, {"UNBROKEN_STORE": url}, "UNBROKEN_STORE")):
        with pytest.raises(ConfigError, match=place) as told:
            load(path, environ)
        assert "4411" not in str(told.value)
