"""The commands that the documentation shows, word for word."""

from __future__ import annotations

import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

_PROGRAM = r"(?:python (?:-m \S|\S+\.py\b)|make \w|pip \w)"


def commands(text: str) -> list[list[str]]:
    """Returns the words of every command of a page, in order.

    Commands stand in fenced or indented blocks, a line each, or between backticks.
    """
    found = []
    parts = re.split(r"^ *```.*$", text.replace("\\\n", " "), flags=re.MULTILINE)
    for number, part in enumerate(parts):
        indent = " *" if number % 2 else " {4,}"  # every second part is fenced
        pattern = rf"^{indent}({_PROGRAM}.*)$|`({_PROGRAM}[^`]*)`"
        for line, inline in re.findall(pattern, part, re.MULTILINE):
            found.append(shlex.split(line or inline, comments=True))
    return found


def recipe(words: list[str]) -> list[list[str]]:
    """Returns the words of the commands that `make TARGET NAME=VALUE` runs.

    Prerequisites are left out.
    """
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    given = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    values = dict(re.findall(r"^(\w+) [?:]?= *(.*)$", makefile, re.MULTILINE)) | given

    def filled_in(text: str) -> str:
        return re.sub(r"\$\((\w+)\)", lambda name: filled_in(values[name[1]]), text)

    targets = [word for word in words[1:] if "=" not in word]
    bodies = [
        re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
        for target in targets
    ]
    lines = [line for body in bodies for lines in body for line in lines.splitlines()]
    return [shlex.split(filled_in(line.lstrip("\t@"))) for line in lines]
