"""Is the documentation alive? Links and anchors, code blocks, and the verbs and commands that it names.

It runs no example; it makes sure that each could be tried: Python parses, JSON and TOML load, `make x` is a verb
of the Makefile, `tocsin x` a command, and a link inside the project leads somewhere. It asks no network.
"""

import ast
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

SKIPPED = frozenset({".venv", ".git", "node_modules", ".hypothesis", ".pytest_cache"})
LINK = re.compile(r"(?<!\!)\[[^\]\n]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|!\[[^\]\n]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
FENCE = re.compile(r"^(?P<indent> *)(?P<mark>`{3,}|~{3,})\s*(?P<language>[\w+-]*)")
CODE_SPAN = re.compile(r"`[^`\n]*`")
SHELLS = frozenset({"sh", "bash", "shell", "console"})


def documents(root: Path) -> list[Path]:
    """All Markdown files of the project, in order."""
    return sorted(path for path in root.rglob("*.md") if not SKIPPED & {*path.relative_to(root).parts})


def blocks(text: str) -> Iterator[tuple[int, str, str | None]]:
    """Every fenced block as (line of its fence, language, code); code is None where the fence is never closed."""
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        fence = FENCE.match(line)
        if fence is None:
            continue
        code: list[str] = []
        for _, inner in lines:
            if re.fullmatch(rf" *{re.escape(fence['mark'])}[`~]* *", inner):
                yield number, fence["language"].lower(), textwrap.dedent("\n".join(code))
                break
            code.append(inner)
        else:
            yield number, fence["language"].lower(), None


def prose(text: str) -> list[str]:
    """The lines of a document, those of fenced blocks emptied, so that numbers stay right."""
    kept: list[str] = []
    mark = ""
    for line in text.splitlines():
        fence = FENCE.match(line)
        inside = bool(mark)
        if fence and not mark:
            mark = fence["mark"]
        elif fence and line.strip().startswith(mark):
            mark = ""
        kept.append("" if inside or fence else line)
    return kept


def anchors(text: str) -> frozenset[str]:
    """The names that headings can be reached by, as the usual renderers make them."""
    found: dict[str, int] = {}
    names: list[str] = re.findall(r'<a (?:id|name)="([^"]+)"', text)
    for line in prose(text):
        if heading := re.match(r"#{1,6}\s+(.*?)\s*#*$", line):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            count = found.get(name, 0)
            found[name] = count + 1
            names.append(f"{name}-{count}" if count else name)
    return frozenset(names)


def broken_links(path: Path, root: Path) -> Iterator[str]:
    """What a reader of this document would click in vain."""
    for number, line in enumerate(prose(path.read_text()), start=1):
        for match in LINK.finditer(CODE_SPAN.sub("", line)):
            link = match[1] or match[2]
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            place, _, anchor = unquote(link).partition("#")
            target = (path.parent / place).resolve() if place else path
            if not target.exists():
                yield f"{number}: the link {link} leads nowhere"
            elif not target.is_relative_to(root):
                yield f"{number}: the link {link} leads out of the project"
            elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
                yield f"{number}: {place or path.name} has no heading #{anchor}"


def commands_of_the_cli() -> frozenset[str] | None:
    """The names of tocsin's commands, or None if there is no command line to ask."""
    try:
        main = import_module("tocsin.cli.main").main
        return frozenset(main.list_commands(main.make_context("tocsin", ["--help"], resilient_parsing=True)))
    except (ImportError, AttributeError):
        return None


def broken_blocks(path: Path, verbs: frozenset[str], commands: frozenset[str] | None) -> Iterator[str]:
    """Code that could not be tried as it stands."""
    for number, language, code in blocks(path.read_text()):
        if code is None:
            yield f"{number}: this code block is never closed"
            continue
        try:
            if language in {"python", "py"}:
                ast.parse(code)
            elif language == "json":
                json.loads(code)
            elif language == "toml":
                tomllib.loads(code)
        except (SyntaxError, ValueError) as error:
            yield f"{number}: this {language} does not parse: {error}"
        if language in SHELLS:
            yield from (f"{number}: {what}" for what in unknown_words(code, verbs, commands))


def unknown_words(code: str, verbs: frozenset[str], commands: frozenset[str] | None) -> Iterator[str]:
    """Verbs and commands in a shell block that do not exist."""
    for line in code.splitlines():
        words = line.strip().removeprefix("$ ").partition("#")[0].split()
        while words and re.fullmatch(r"[A-Z_][A-Z0-9_]*=\S*", words[0]):  # VARIABLE=value command
            words.pop(0)
        if words[:1] == ["make"]:
            asked = [word for word in words[1:] if re.fullmatch(r"[a-z-]+", word) and word[0] != "-"]
            yield from (f"make has no verb {word!r}" for word in asked if word not in verbs)
        if commands is not None and words[:1] in (["tocsin"], [".venv/bin/tocsin"]) and len(words) > 1:
            if re.fullmatch(r"[a-z][a-z-]*", words[1]) and words[1] not in commands:
                yield f"tocsin has no command {words[1]!r}"


def problems(root: Path) -> list[str]:
    """Everything that is wrong, one line each: `file:line: what`."""
    verbs = frozenset(re.findall(r"^([a-z-]+):.*## ", (root / "Makefile").read_text(), re.MULTILINE))
    commands = commands_of_the_cli()
    return [
        f"{path.relative_to(root)}:{what}"
        for path in documents(root)
        for what in (*broken_links(path, root), *broken_blocks(path, verbs, commands))
    ]


if __name__ == "__main__":
    project = Path(__file__).resolve().parent.parent
    found = problems(project)
    print("\n".join(found) or f"{len(documents(project))} documents are in order.")
    sys.exit(1 if found else 0)
