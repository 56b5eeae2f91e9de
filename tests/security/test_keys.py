"""The file of keys, and the commands that change it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from unbroken.faces.cli.app import app
from unbroken.failures import Failure, FailureKind
from unbroken.keys import ANYBODY, Holders, KeyFile, KeyFileError, State, digest_of, new_key
from unbroken.secrecy import without_secrets
from unbroken.types import Target, Task

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def told(*words: str, file: KeyFile) -> Any:
    return CliRunner().invoke(app, ["keys", *words, "--file", str(file.path)])


def test_a_key_is_256_bits_and_no_two_are_alike() -> None:
    """Guessing is hopeless: 43 characters of URL-safe base64 after a prefix that scanners can find."""
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("ubk_") and len(key) == 4 + 43 for key in keys)


def test_only_the_hash_is_kept(file: KeyFile) -> None:
    """The file holds the SHA-256 of a key and nothing that the key could be made from; only its owner reads it."""
    entry, key = file.create("alice", expires=NOW, models=("chat*",), tasks=(Task.CHAT,), usd_per_month=5.0)
    text = file.path.read_text(encoding="utf-8")
    assert key not in text
    assert entry.hash == hashlib.sha256(key.encode()).hexdigest() == digest_of(key)
    assert file.read() == (entry,)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["keys.json"]


def test_a_key_has_a_state(file: KeyFile) -> None:
    """Active until it expires or is revoked, and revoked for good."""
    entry, _ = file.create("alice", expires=NOW)
    assert entry.state(datetime(2026, 11, 21, 11, 59, tzinfo=UTC)) is State.ACTIVE
    assert entry.state(NOW) is State.EXPIRED
    assert file.revoke("alice").state(NOW) is State.REVOKED
    with pytest.raises(KeyError):
        file.revoke("alice")


def test_names_are_taken_until_they_are_revoked(file: KeyFile) -> None:
    """Whoever says a name means one key."""
    first, _ = file.create("alice")
    with pytest.raises(ValueError, match="already"):
        file.create("alice")
    file.revoke(first.id)
    second, _ = file.create("alice")
    assert file.revoke("alice").id == second.id


@pytest.mark.parametrize("about", [
    {"usd_per_day": 0.0}, {"usd_per_month": -1.0}, {"requests_per_min": 0}, {"expires": datetime(2030, 1, 1)},  # noqa: DTZ001
    {"name": ""}, {"name": "a\nb"}, {"name": "x" * 101}, {"tasks": ("painting",)},
])  # fmt: skip
def test_what_makes_no_sense_is_refused(about: dict[str, Any], file: KeyFile) -> None:
    """Nothing is written that could not be read again."""
    with pytest.raises(ValueError, match=r".+"):
        file.create(**{"name": "alice", **about})
    assert not file.path.exists()


def with_keys(*keys: dict[str, Any], version: int = 1) -> str:
    usual = {"id": "key_1", "name": "a", "hash": "0" * 64, "created": "2026-01-01T00:00:00Z"}
    return json.dumps({"version": version, "keys": [{**usual, **key} for key in keys]})


@pytest.mark.parametrize(("text", "said"), [
    ("", "no file of keys"),
    ("[]", "no file of keys"),
    ('{"keys": []}', "no file of keys"),
    ("[" * 100_000, "no file of keys"),
    (with_keys({"hash": "short"}), "no file of keys"),
    (with_keys({"hash": "0" * 63 + "G"}), "no file of keys"),
    (with_keys({"scope": "everything"}), "no file of keys"),
    (with_keys({"created": "2026-01-01T00:00:00"}), "no file of keys"),
    (with_keys({}, {"id": "key_2"}), "same hash"),
    (with_keys({}, {"hash": "1" * 64}), "same id"),
    (with_keys(version=2), "version 2"),
])  # fmt: skip
def test_a_file_that_is_wrong_is_refused_whole(text: str, said: str, file: KeyFile) -> None:
    """A key whose limits could not be read must not be one without limits."""
    file.path.write_text(text, encoding="utf-8")
    with pytest.raises(KeyFileError, match=said):
        file.read()
    with pytest.raises(KeyFileError):
        file.create("alice")
    assert file.path.read_text(encoding="utf-8") == text


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Where there is no folder, or a folder is where the file should be, the command ends with one line."""
    nowhere = KeyFile(tmp_path / "no" / "keys.json")
    assert nowhere.read() == ()
    with pytest.raises(KeyFileError, match="cannot be written"):
        nowhere.create("alice")
    with pytest.raises(KeyFileError, match="cannot be read"):
        KeyFile(tmp_path).read()


def test_a_link_to_the_file_stays_a_link(file: KeyFile, tmp_path: Path) -> None:
    """What is mounted from elsewhere by a link is replaced there."""
    real = tmp_path / "real.json"
    file.path.symlink_to(real)
    file.create("alice")
    assert file.path.is_symlink()
    assert len(KeyFile(real).read()) == 1


def test_writers_wait_for_each_other(file: KeyFile) -> None:
    """Eight commands at the same moment leave eight keys."""
    code = "import sys; from pathlib import Path; from unbroken.keys import KeyFile\n"
    code += "KeyFile(Path(sys.argv[1])).create(sys.argv[2])"
    started = [subprocess.Popen([sys.executable, "-c", code, str(file.path), f"n{n}"]) for n in range(8)]
    assert [process.wait(30) for process in started] == [0] * 8
    assert {entry.name for entry in file.read()} == {f"n{n}" for n in range(8)}


def test_a_holder_is_found_by_the_hash_alone(file: KeyFile) -> None:
    """Who has a plain key may do everything; an issued one is what its entry says; the hash itself opens nothing."""
    entry, key = file.create("alice", models=("chat",))
    holders = Holders(["plain", "ключ"], file.read(), wall=NOW.timestamp)
    assert [holders.of("plain"), holders.of("ключ")] == [ANYBODY, ANYBODY]
    holder = holders.of(key)
    assert not isinstance(holder, Failure)
    assert (holder.id, holder.limited) == (entry.id, True)
    assert [isinstance(holders.of(wrong), Failure) for wrong in ("", entry.hash, key * 100, "\udc80")] == [True] * 4


# ---------------------------------------------------------------------------- commands


def test_a_key_is_told_once_and_alone(file: KeyFile) -> None:
    """Standard output is the key and nothing else, for scripts; the rest is said beside it."""
    made = told(
        "create", "alice", "-m", "chat*", "--task", "chat", "--usd-per-month", "50", "--expires", "90d", file=file
    )
    assert (made.exit_code, made.stdout.count("\n")) == (0, 1)
    assert "only time" in made.stderr
    key = made.stdout.strip()
    (entry,) = file.read()
    assert entry.hash == digest_of(key)
    listed = told("list", file=file)
    as_json = told("list", "--json", file=file)
    for later in (listed.output, as_json.output, told("revoke", "alice", file=file).output):
        assert key not in later
        assert entry.hash not in later
    (row,) = json.loads(as_json.output)
    assert (row["state"], row["caller"], row["models"]) == ("active", entry.hash[:12], ["chat*"])
    assert "alice" in listed.output
    assert json.loads(told("list", "--json", file=file).output)[0]["state"] == "revoked"


def test_a_key_can_be_told_as_json(file: KeyFile) -> None:
    """With its id, for programs that issue keys."""
    row = json.loads(told("create", "ci", "--json", file=file).stdout)
    assert digest_of(row["key"]) == file.read()[0].hash
    assert row["id"] == file.read()[0].id


@pytest.mark.parametrize(("words", "code", "said"), [
    (("create", "alice", "--expires", "yesterday"), 2, "30d"),
    (("create", "alice", "--expires", "2001-01-01"), 2, "over"),
    (("create", "alice", "--expires", "999999w"), 2, "2027-01-31"),
    (("create", "alice", "--task", "painting"), 2, "one of chat"),
    (("create", "alice", "--usd-per-day", "0"), 2, "usd_per_day"),
    (("revoke", "nobody"), 1, "nobody"),
])  # fmt: skip
def test_a_command_says_what_is_wrong(words: Sequence[str], code: int, said: str, file: KeyFile) -> None:
    """In one line, with the exit code of its kind, and nothing is written."""
    ended = told(*words, file=file)
    assert (ended.exit_code, said in ended.stderr, ended.stderr.count("\n")) == (code, True, 1)
    assert not file.path.exists()


def test_the_file_is_the_configurations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --file it is server.key_file, beside the configuration, or $UNBROKEN_KEY_FILE, or nowhere."""
    config = tmp_path / "unbroken.yaml"
    config.write_text("server: {key_file: inner/keys.json}\n", encoding="utf-8")
    (tmp_path / "inner").mkdir()
    runner = CliRunner()
    assert runner.invoke(app, ["keys", "create", "alice", "-c", str(config)]).exit_code == 0
    assert len(KeyFile(tmp_path / "inner" / "keys.json").read()) == 1
    monkeypatch.chdir(tmp_path / "inner")
    lost = runner.invoke(app, ["keys", "list"])
    assert (lost.exit_code, "UNBROKEN_KEY_FILE" in lost.stderr) == (2, True)
    monkeypatch.setenv("UNBROKEN_KEY_FILE", "keys.json")
    assert "alice" in runner.invoke(app, ["keys", "list"]).stdout


def test_a_providers_word_is_told_without_what_it_was_asked_with() -> None:
    """Key, halves of keys and secret headers are blanked at any depth, common words and public headers are not."""
    target = Target(
        name="p/m", provider="p", model="m", key="zebra-id:quartz-secret", headers={"x-extra": "lantern-header-value",
        "anthropic-beta": "some-public-beta", "x-short": "yes"},
    )  # fmt: skip
    said = "zebra-id:quartz-secret and zebra-id, quartz-secret, zebra-id%3Aquartz-secret, lantern-header-value"
    body = {"error": [{"quartz-secret": f"{said}; yes, some-public-beta"}], "n": 1}
    failure = Failure(kind=FailureKind.REQUEST, message=said, code="zebra-id", param=None, body=body)
    told = without_secrets(failure, target)
    assert told.message == "[key] and [key], [key], [key], [key]"
    assert (told.code, told.param, told.kind) == ("[key]", None, FailureKind.REQUEST)
    assert told.body == {"error": [{"[key]": "[key] and [key], [key], [key], [key]; yes, some-public-beta"}], "n": 1}
    assert without_secrets(failure, Target(name="p/m", provider="p", model="m", key="short")) is failure
