"""docs/sdk.md, run: its configuration, its examples, against fakes at the addresses of the real providers."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from unbroken.testing import Cut, FakeProvider, essay

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "sdk.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
(CONFIGURATION,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
ANSWER = essay("Why do bridges sing?")


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_run(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each prints the whole answer as often as it prints, although one provider cuts every stream."""
    (tmp_path / "unbroken.yaml").write_text(CONFIGURATION, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    async def run() -> None:
        async with FakeProvider("openai") as cutting, FakeProvider("anthropic") as well:
            cutting.fail_with(Cut(after_tokens=12))
            for name, fake, path in (("OPENAI", cutting, "/v1"), ("ANTHROPIC", well, "")):
                monkeypatch.setenv(f"{name}_API_KEY", "k")
                monkeypatch.setenv(f"{name}_BASE_URL", f"http://127.0.0.1:{fake.port}{path}")
            await asyncio.to_thread(exec, compile(example, "docs/sdk.md", "exec"), {"__name__": "example"})

    asyncio.run(run())
    printed = capsys.readouterr().out
    assert printed.count(ANSWER) == example.count("print(")
    assert not printed.replace(ANSWER, "").strip()
