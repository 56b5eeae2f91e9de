"""Files of prompts: what is read, and how mistakes in them are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbroken.bench.prompts import BUILT_IN, PromptError, built_in, read_prompts, request_of
from unbroken.types import Task

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "prompts"


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_prompt_a_line(tmp_path: Path) -> None:
    """Each line that holds anything is a prompt, with its place."""
    file = written(tmp_path, "prompts.txt", "\ufeffFirst one\n\n  Second one \r\n")
    found = read_prompts(file, Task.CHAT)
    assert [(prompt.said, prompt.place) for prompt in found] == [
        ("First one", f"{file}:1"), ("Second one", f"{file}:3"),
    ]  # fmt: skip


def test_objects(tmp_path: Path) -> None:
    """JSONL holds texts or whole conversations, which are asked as streams with their limit."""
    lines = '{"prompt": "Hello"}\n{"messages": [{"role": "system", "content": "Be brief"}, '
    file = written(tmp_path, "prompts.jsonl", lines + '{"role": "user", "content": "Hello"}]}\n')
    requests = [request_of(prompt, Task.CHAT, max_tokens=9) for prompt in read_prompts(file, Task.CHAT)]
    assert [request.chat.messages[-1].text for request in requests] == ["Hello", "Hello"]
    assert requests[1].chat.messages[0].role == "system"
    assert all(request.stream and request.include_usage and request.max_tokens == 9 for request in requests)


def test_a_folder(tmp_path: Path) -> None:
    """Files of a folder are a prompt each, in the order of their names; those with objects hold one a line."""
    written(tmp_path, "b.txt", "One prompt\nof two lines\n")
    written(tmp_path, "a.jsonl", '{"prompt": "x"}\n{"prompt": "y"}\n')
    written(tmp_path, ".hidden", "no")
    assert [prompt.said for prompt in read_prompts(tmp_path, Task.CHAT)] == ["x", "y", "One prompt\nof two lines"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.jsonl", '{"prompt": "x"}\n{"prompt": \n', "p.jsonl:2: not JSON"),
        ("p.jsonl", '{"question": "x"}\n', 'p.jsonl:1: expected an object with either "prompt" or "messages"'),
        ("p.jsonl", '{"prompt": "x", "messages": []}\n', "p.jsonl:1: expected"),
        ("p.jsonl", '["x"]\n', "p.jsonl:1: expected"),
        ("p.jsonl", '\n{"prompt": "x", "temperature": 1}\n', 'p.jsonl:2: "temperature" is not known'),
        ("p.jsonl", '{"prompt": 7}\n', "p.jsonl:1: "),
        ("p.jsonl", '{"prompt": " "}\n', "p.jsonl:1: the prompt is empty"),
        ("p.jsonl", '{"messages": [{"role": "nobody"}]}\n', "p.jsonl:1: "),
        ("p.txt", "\n\n", "p.txt: there is no prompt in it"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, name: str, text: str, says: str) -> None:
    """Whoever made one knows where to look."""
    with pytest.raises(PromptError) as caught:
        read_prompts(written(tmp_path, name, text), Task.CHAT)
    assert says in str(caught.value)


def test_other_mistakes(tmp_path: Path) -> None:
    """No file, no text, and messages for work that takes none."""
    with pytest.raises(PromptError, match="nowhere"):
        read_prompts(tmp_path / "nowhere.txt", Task.CHAT)
    binary = tmp_path / "b.txt"
    binary.write_bytes(b"fine\n\xff\xfe")
    with pytest.raises(PromptError, match=r"b\.txt:2: not UTF-8"):
        read_prompts(binary, Task.CHAT)
    chat = written(tmp_path, "c.jsonl", '{"messages": [{"role": "user", "content": "x"}]}\n')
    with pytest.raises(PromptError, match=r'c\.jsonl:1: "messages" are for chats'):
        read_prompts(chat, Task.EMBEDDING)
    empty = tmp_path / "folder"
    empty.mkdir()
    written(empty, "a.txt", "")
    with pytest.raises(PromptError, match=r"a\.txt: the file is empty"):
        read_prompts(empty, Task.CHAT)


@pytest.mark.parametrize("task", BUILT_IN)
def test_our_own_prompts(task: Task) -> None:
    """Whoever brings none has some for each kind of work."""
    requests = [request_of(prompt, task) for prompt in built_in(task)]
    assert len(requests) >= 3 and all(request.task is task for request in requests)


@pytest.mark.parametrize(
    ("name", "task"), [("chat.txt", Task.CHAT), ("chat.jsonl", Task.CHAT), ("texts.txt", Task.EMBEDDING),
                       ("pictures.txt", Task.IMAGE)],
)  # fmt: skip
def test_the_examples_are_read(name: str, task: Task) -> None:
    """The files among the examples are good ones."""
    assert len(read_prompts(EXAMPLES / name, task)) >= 3
