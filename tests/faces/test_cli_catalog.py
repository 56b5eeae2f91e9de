"""`unbroken catalog`: renewed from files and addresses, never half, and shown so that it can be read."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from unbroken.config import load as load_config
from unbroken.faces.cli import catalog
from unbroken.faces.cli.app import app
from unbroken.faces.cli.catalog import count_words, price_words, show, update
from unbroken.models import load, place
from unbroken.price import Price, Quota

PRICES: dict[str, Any] = {
    "gpt-5.4": {
        "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 5e-05, "output_cost_per_token": 6e-05,
        "max_input_tokens": 1_050_000,
    },
    "gpt-99": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06},
}  # fmt: skip


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    """A home of one's own."""
    return {"XDG_DATA_HOME": str(tmp_path / "data")}


def printed(command: Callable[..., int], *arguments: object, width: int = 160, **options: Any) -> tuple[int, str]:
    out = io.StringIO()
    code = command(*arguments, console=Console(file=out, width=width), **options)
    return code, out.getvalue()


def written(path: Path, document: object) -> str:
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


# --------------------------------------------------------------------------- update


def test_renewing_from_a_file(tmp_path: Path, environ: Mapping[str, str]) -> None:
    """It says what has changed, the largest changes of prices, and the gateway uses the new ones."""
    code, out = printed(update, written(tmp_path / "list.json", PRICES), date="2999-01-01", environ=environ)

    assert code == 0
    assert "1 added, 1 changed," in out
    assert "of 2999-01-01" in out
    assert "openai/gpt-5.4" in out
    assert "$2.5" in out
    assert "$50" in out
    config_file = tmp_path / "unbroken.yaml"
    config_file.write_text("routes: {a: {targets: [openai/gpt-99]}}", encoding="utf-8")
    assert load_config(config_file, environ).targets[0].price == Price(input_usd=1.0)


def test_what_the_list_does_not_know_stays(tmp_path: Path, environ: Mapping[str, str]) -> None:
    """Models of other sources and what others say of its models is there as before; what it dropped is gone."""
    before = load({})[0]
    printed(update, written(tmp_path / "list.json", PRICES), date="2999-01-01", environ=environ)
    after = load(environ)[0]

    assert after.of("openrouter") == before.of("openrouter")
    assert after.of("openai")["gpt-5.4"].can == before.of("openai")["gpt-5.4"].can
    assert "gpt-5.4-mini" in before.of("openai")
    assert before.of("openai")["tts-1"].source == "litellm"
    assert "tts-1" not in after.of("openai")
    assert after.sources["litellm"].date == "2999-01-01"
    assert after.sources["models.dev"] == before.sources["models.dev"]


def test_renewing_again(tmp_path: Path, environ: Mapping[str, str]) -> None:
    """A second update is laid over the first, and one that brings nothing new says so."""
    source = written(tmp_path / "list.json", PRICES)
    printed(update, source, date="2999-01-01", environ=environ)
    _, out = printed(update, source, date="2999-01-02", environ=environ)

    assert "0 added, 0 changed, 0 removed; of 2999-01-02" in out
    assert "Largest changes" not in out


def test_many_changes_are_cut_short(tmp_path: Path, environ: Mapping[str, str]) -> None:
    """The largest are shown, and how many there are besides."""
    prices = {
        f"m{number}": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06 * (number + 1)}
        for number in range(40)
    }
    printed(update, written(tmp_path / "a.json", prices), environ=environ)
    dearer = {name: {**value, "input_cost_per_token": 9e-03} for name, value in prices.items()}
    _, out = printed(update, written(tmp_path / "b.json", dearer), environ=environ)

    assert out.count("openai/m") == catalog.CHANGES_SHOWN
    assert f"and {40 - catalog.CHANGES_SHOWN} more" in out


def test_renewing_elsewhere(tmp_path: Path, environ: Mapping[str, str]) -> None:
    """`--to` keeps it where it is said, and leaves the operator's own alone."""
    code, out = printed(
        update, written(tmp_path / "list.json", PRICES), to=tmp_path / "deep" / "models.json.gz", environ=environ
    )

    assert code == 0
    assert str(tmp_path / "deep") in out
    assert load({"UNBROKEN_CATALOG": str(tmp_path / "deep" / "models.json.gz")})[0].find("openai", "gpt-99")
    own = place(environ)
    assert own is not None
    assert not own.exists()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<html>502</html>", "not JSON"),
        (b"{}", "none of the lists"),
        (gzip.compress(b"{}", mtime=0)[:-6], "gzip"),
        (json.dumps({**PRICES, "bad": {**PRICES["gpt-99"], "input_cost_per_token": "x"}}).encode(), "openai/bad"),
    ],
)
def test_a_bad_list_changes_nothing(tmp_path: Path, environ: Mapping[str, str], data: bytes, says: str) -> None:
    """What makes no sense is refused with its reason; the old catalogue is there, byte for byte, and nothing else."""
    own = place(environ)
    assert own is not None
    printed(update, written(tmp_path / "list.json", PRICES), environ=environ)
    before = own.read_bytes()
    bad = tmp_path / "bad.json"
    bad.write_bytes(data)
    code, out = printed(update, str(bad), environ=environ)

    assert code == 1
    assert "error nothing was changed" in out
    assert says in out
    assert own.read_bytes() == before
    assert list(own.parent.iterdir()) == [own]


def test_a_full_disk_changes_nothing(
    tmp_path: Path, environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new file cannot be written to its end, the old one stays and no half is left behind."""
    own = place(environ)
    assert own is not None
    printed(update, written(tmp_path / "list.json", PRICES), environ=environ)
    before = own.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    code, out = printed(update, written(tmp_path / "list.json", PRICES), environ=environ)

    assert (code, own.read_bytes()) == (1, before)
    assert "No space left" in out
    assert list(own.parent.iterdir()) == [own]


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        ("missing.json", {}, "No such file"),
        ("ftp://127.0.0.1/x", {}, "only http and https"),
        ("file:///etc/hosts", {}, "only http and https"),
        ("list.json", {"date": "soon"}, "soon"),
        ("list.json", {"environ": {}}, "--to FILE"),
    ],
)
def test_what_cannot_be_done(
    tmp_path: Path, environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, source: str,
    options: dict[str, Any], says: str,
) -> None:  # fmt: skip
    """Each is one sentence and exit code 1."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "list.json", PRICES)
    code, out = printed(update, source, **{"environ": environ, **options})

    assert code == 1
    assert says in out


# ------------------------------------------------------------------------- addresses


@contextmanager
def site(**pages: tuple[int, dict[str, str], bytes]) -> Iterator[str]:
    """A web server on loopback with these pages."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = pages.get(self.path[1:], (404, {}, b"nothing here"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # the reader may have had enough
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands between this machine and the network is not asked for loopback."""
    monkeypatch.setenv("no_proxy", "*")


def test_renewing_from_an_address(environ: Mapping[str, str]) -> None:
    """Plain or compressed, also after a redirection."""
    body = json.dumps(PRICES).encode()
    with site(a=(200, {}, body), b=(200, {}, gzip.compress(body)), c=(302, {"location": "/a"}, b"")) as url:
        for page in "abc":
            code, out = printed(update, f"{url}/{page}", environ=environ)
            assert code == 0, out
    assert load(environ)[0].find("openai", "gpt-99")


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ((500, {}, b"oops"), "answers 500"),
        ((302, {"location": "ftp://127.0.0.1/x"}, b""), "only http and https"),
        ((302, {"location": "file:///etc/hosts"}, b""), "not allowed"),
        ((302, {"location": "/page"}, b""), "redirect"),
        ((200, {"content-length": "1000"}, b"{"), "not JSON"),
        ((200, {}, b" " * 3_000_001), "larger than 3 MB"),
        ((200, {}, gzip.compress(b" " * 3_000_001, mtime=0)), "larger than 3 MB"),
    ],
    ids=["error", "ftp", "file", "circle", "cut", "huge", "bomb"],
)
def test_an_address_that_brings_no_list(
    environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, page: tuple[int, dict[str, str], bytes], says: str
) -> None:
    """Errors, redirections out of HTTP, cut and endless answers change nothing and are named."""
    monkeypatch.setattr("unbroken.models.BYTES_MAX", 3_000_000)
    with site(page=page) as url:
        code, out = printed(update, f"{url}/page", environ=environ)

    assert code == 1
    assert says in out
    assert load(environ)[0].file == ""


def test_an_address_where_nobody_is(environ: Mapping[str, str]) -> None:
    """A refused connection is told in one sentence."""
    with site() as url:
        pass
    code, out = printed(update, f"{url}/x", environ=environ)

    assert code == 1
    assert "refused" in out


def test_an_address_that_takes_too_long(environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that trickles in is given up."""
    monkeypatch.setattr(catalog, "FETCH_S_MAX", -1.0)
    with site(a=(200, {}, b"{}")) as url:
        code, out = printed(update, f"{url}/a", environ=environ)

    assert code == 1
    assert "not all of it came" in out


# ------------------------------------------------------------------------------ show


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", ["openai", "groq", "models", "with a price"]),
        ("groq", ["openai/gpt-oss-120b", "131k", "0.15", "litellm", "no vision"]),
        ("openai/gpt-5.4", ["gpt-5.4", "1.05M", "2.5", "22.5", "above 272k", "batch", "LiteLLM 1.109.1", "2026-11-21"]),
        ("gpt-oss-120b", ["groq/openai/gpt-oss-120b", "cerebras/gpt-oss-120b"]),
        ("tts-1", ["$15 a million characters"]),
    ],
)
def test_showing(name: str, expected: list[str]) -> None:
    """Providers, a provider's models or one model, with prices, context, source and date."""
    code, out = printed(show, name, environ={})

    assert code == 0
    for words in expected:
        assert words in out, words


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("opanai", "did you mean openai?"),
        ("groq/lama-3.1-8b-instant", "did you mean groq/llama-3.1-8b-instant?"),
        ("zzzz", ""),
    ],
)
def test_showing_what_is_not_there(name: str, hint: str) -> None:
    """A name that means nothing is an error, with the nearest that means something."""
    code, out = printed(show, name, environ={})

    assert code == 1
    assert f"there is no provider or model called {name}" in out
    assert hint in out


def test_showing_a_catalogue_that_is_broken(tmp_path: Path) -> None:
    """The one that UNBROKEN_CATALOG names is an error where it cannot be used."""
    file = tmp_path / "x"
    file.write_bytes(b"{}")
    code, out = printed(show, environ={"UNBROKEN_CATALOG": str(file)})

    assert code == 1
    assert "error" in out


@pytest.mark.parametrize("name", ["", "openai", "fireworks", "gpt-oss-120b"])
def test_tables_fit_into_a_narrow_window(name: str) -> None:
    """Eighty columns are enough."""
    _, out = printed(show, name, environ={}, width=80)
    table = out.partition("as it came")[0]

    assert max(len(line) for line in table.splitlines()) <= 80


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (Price(), ""),
        (Price(input_usd=0.0, output_usd=0.0), "free"),
        (Price(input_usd=2.5, output_usd=15.0, cached_usd=0.25), "$2.5 in, $15 out"),
        (Price(request_usd=0.005, image_usd=0.04), "$0.005 a request, $0.04 a picture"),
        (Price(second_usd=0.0001), "$0.0001 a second"),
        (Price(character_usd=15.0), "$15 a million characters"),
        (Price(input_usd=1.0, included=Quota(requests=5)), "$1 in, some included"),
    ],
)  # fmt: skip
def test_prices_in_words(price: Price, words: str) -> None:
    """Short enough for a table; what is not known is not called free."""
    assert price_words(price) == words


@pytest.mark.parametrize(
    ("tokens", "words"), [(None, ""), (512, "512"), (8_192, "8.19k"), (200_000, "200k"), (1_050_000, "1.05M")]
)
def test_tokens_in_words(tokens: int | None, words: str) -> None:
    """As people write them."""
    assert count_words(tokens) == words


# ----------------------------------------------------------------------- the program


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are commands of the program, with exit codes that a script can use."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    runner = CliRunner()
    good = runner.invoke(app, ["catalog", "update", written(tmp_path / "list.json", PRICES), "--date", "2999-01-01"])
    bad = runner.invoke(app, ["catalog", "update", str(tmp_path / "missing.json")])
    shown = runner.invoke(app, ["catalog", "show", "gpt-99"])
    unknown = runner.invoke(app, ["catalog", "show", "nonsense"])

    assert [good.exit_code, bad.exit_code, shown.exit_code, unknown.exit_code] == [0, 1, 0, 1]
    assert "openai/gpt-99" in shown.output
