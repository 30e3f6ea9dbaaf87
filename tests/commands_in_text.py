"""The `frontpage …` commands and the options that a page of documentation names."""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_OTHERS = re.compile(r"pip |python |docker |make |curl |uv ")
_COMMENT = re.compile(r"(^|\s)#.*")
_OPTION = re.compile(r"^(--[a-z][a-z0-9-]*)")


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page.

    >>> blocks("```sh\\nls\\n```\\n")
    [Block(language='sh', text='ls\\n')]
    """
    return [Block(found[1], found[2]) for found in _FENCE.finditer(text)]


def shell_commands(text: str) -> list[str]:
    """Return the commands of a page's blocks for a shell, each as it is written.

    A comment at the end is left out. Of a block with prompts only what follows one is a command.

    >>> shell_commands("```sh\\n$ ls 'a b'\\na\\n```\\n```console\\nls \\\\\\n  c  # d\\n# e\\n```")
    ["ls 'a b'", 'ls   c']
    """
    found = []
    for block in blocks(text):
        if block.language not in ("sh", "console"):
            continue
        lines = block.text.replace("\\\n", "").splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        found += [_COMMENT.sub("", line).strip() for line in lines]
    return [command for command in found if command]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words after each `frontpage`, of the blocks of a page and of code within its lines.

    >>> list(commands("`frontpage train A`\\n```sh\\nB=C x/frontpage up --once | d # e\\n```\\n"))
    [['up', '--once'], ['train', 'A']]
    """
    for block in blocks(text):
        for line in block.text.replace("\\\n", " ").splitlines():
            yield from _of_line(line)
    for span in _SPAN.findall(_FENCE.sub("", text)):
        yield from _of_line(span)


def options(line: str) -> set[str]:
    """Return the long options that code within a line names; not those of pip, say.

    >>> sorted(options("`--a-b C`, --d, `--e/--no-e`, `--f=1`"))
    ['--a-b', '--e', '--f', '--no-e']
    """
    spans = [span for span in _SPAN.findall(line) if not _OTHERS.match(span)]
    words = [word for span in spans for word in re.split(r"[\s/]+", span)]
    return {found[1] for word in words if (found := _OPTION.match(word))}


def _of_line(line: str) -> Iterator[list[str]]:
    for part in re.split(r"&&|\|\||[|;]", line):
        words = _words(part)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        if words and words[0].rpartition("/")[2] == "frontpage":
            yield words[1:]
        elif "worker.cli" in words:
            yield words[words.index("worker.cli") + 1 :]


def _words(part: str) -> list[str]:
    try:
        return shlex.split(part, comments=True)
    except ValueError:  # a quotation mark that is no shell's
        return part.split()
