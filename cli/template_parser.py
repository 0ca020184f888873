"""The reader of Go templates: text into a tree. `docket.cli.template` evaluates it.

    Template   [Text | Action | If | Range | With]
    Pipeline   (variable | None, [Command, …])            a command's value is the last argument of the next
    Command    [term, …]                                  the first may be a function or a method
    term       ("field", path) · ("variable", name, path) · ("function", name) · ("value", x) · ("pipeline", p, path)

It covers what is used with `--format`; `define`, `template` and `block` are refused by name.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Pipeline = tuple[list[str], bool, list[list[Any]]]

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'"}
_UNSUPPORTED = ("define", "template", "block", "break", "continue")
_SPACE = " \t\r\n"


class TemplateError(Exception):
    """The template cannot be parsed or executed."""


class Block:
    """`if`, `with` or `range`: a pipeline, a body, and what to do otherwise."""

    __slots__ = ("body", "keyword", "otherwise", "pipeline")

    def __init__(self, keyword: str, pipeline: Pipeline) -> None:
        self.keyword = keyword
        self.pipeline = pipeline
        self.body: list[Any] = []
        self.otherwise: list[Any] = []


def parse_template(text: str) -> list[Any]:
    """The nodes of a template: strings, pipelines (as `("action", pipeline)`) and blocks. Raises TemplateError."""
    root: list[Any] = []
    current = root
    stack: list[tuple[Block, list[Any], bool]] = []
    for kind, content in _pieces(text):
        if kind == "text":
            current.append(content)
            continue
        tokens = _tokens(content)
        word = tokens[0] if tokens else ""
        if word in ("if", "with", "range"):
            block = Block(word, _parse_pipeline(tokens[1:]))
            current.append(block)
            stack.append((block, current, False))
            current = block.body
        elif word in ("else", "end"):
            if not stack:
                raise TemplateError(f"unexpected {{{{{word}}}}}")
            current = _close(word, tokens[1:], stack)
        elif word in _UNSUPPORTED:
            raise TemplateError(f"{{{{{word}}}}} is not supported")
        elif tokens:
            current.append(("action", _parse_pipeline(tokens)))
        else:
            raise TemplateError("missing value for command")
    if stack:
        raise TemplateError("unexpected EOF")
    return root


def _close(word: str, rest: list[Any], stack: list[tuple[Block, list[Any], bool]]) -> list[Any]:
    """Handles `else`, `else if` and `end`; returns the list that following nodes go into."""
    block, outer, chained = stack.pop()
    if word == "end":
        while chained:
            block, outer, chained = stack.pop()
        return outer
    if rest[:1] and rest[0] in ("if", "with"):
        # `else if` opens a block inside the else branch, which the same `end` closes.
        inner = Block(str(rest[0]), _parse_pipeline(rest[1:]))
        block.otherwise.append(inner)
        stack.append((block, outer, chained))
        stack.append((inner, block.otherwise, True))
        return inner.body
    stack.append((block, outer, chained))
    return block.otherwise


def _pieces(text: str) -> list[tuple[str, str]]:
    """Splits text and actions, with `{{-` and `-}}` trimming the text beside them."""
    pieces: list[tuple[str, str]] = []
    trim = False
    while text:
        before, opened, rest = text.partition("{{")
        if trim:
            before = before.lstrip(_SPACE)
        if opened and rest[:1] == "-" and rest[1:2] in tuple(_SPACE):
            before = before.rstrip(_SPACE)
            rest = rest[2:]
        if before:
            pieces.append(("text", before))
        if not opened:
            break
        action, text = _action(rest)
        trim = action.endswith("-") and action[-2:-1] in tuple(_SPACE)
        action = action[:-1] if trim else action
        if not action.strip().startswith("/*"):
            pieces.append(("action", action))
    return pieces


def _action(rest: str) -> tuple[str, str]:
    """The inside of an action, up to the `}}` that is not inside a string."""
    at = 0
    while at < len(rest):
        char = rest[at]
        if rest.startswith("}}", at):
            return rest[:at], rest[at + 2 :]
        if rest.startswith("/*", at):
            end = rest.find("*/", at)
            at = len(rest) if end < 0 else end + 2
        elif char in "\"`'":
            at = _string_end(rest, at)
        else:
            at += 1
    raise TemplateError("unclosed action")


def _string_end(text: str, at: int) -> int:
    quote = text[at]
    at += 1
    while at < len(text):
        if text[at] == "\\" and quote != "`":
            at += 2
        elif text[at] == quote:
            return at + 1
        else:
            at += 1
    raise TemplateError("unterminated quoted string")


class Value:
    """A literal in a template; wrapped so that a string is not taken for a word."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _tokens(text: str) -> list[Any]:
    """Words, punctuation and literals. Words keep their dots: `.A.B`, `$x.C`, `$`. A dot after `)` begins with `)`."""
    tokens: list[Any] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char in _SPACE:
            at += 1
        elif char in '"`':
            end = _string_end(text, at)
            tokens.append(Value(_unquote(text[at:end])))
            at = end
        elif char in "|(),":
            tokens.append(char)
            at += 1
        elif text.startswith(":=", at):
            tokens.append(":=")
            at += 2
        elif char == "=":
            tokens.append("=")
            at += 1
        else:
            start = at
            while at < len(text) and (text[at].isalnum() or text[at] in "._$-+"):
                at += 1
            if at == start:
                raise TemplateError(
                    f"unexpected {char!r} in command"
                    if char.isprintable() and char not in "{}"
                    else f"bad character U+{ord(char):04X} {char!r}"
                )
            glued = start > 0 and text[start - 1] == ")" and text[start] == "."
            tokens.append((")" if glued else "") + text[start:at])
    return tokens


def _unquote(text: str) -> str:
    body = text[1:-1]
    if text[0] == "`" or "\\" not in body:
        return body
    out, at = "", 0
    while at < len(body):
        if body[at] != "\\":
            out += body[at]
            at += 1
            continue
        letter = body[at + 1]
        width = {"x": 2, "u": 4, "U": 8}.get(letter, 0)
        try:
            out += chr(int(body[at + 2 : at + 2 + width], 16)) if width else _ESCAPES[letter]
        except (ValueError, KeyError, OverflowError):
            raise TemplateError(f"invalid escape in {text}") from None
        at += 2 + width
    return out


def _parse_pipeline(tokens: list[Any]) -> Pipeline:
    names: list[str] = []
    declares = False
    for mark in (":=", "="):
        if mark in tokens:
            at = tokens.index(mark)
            names = [token for token in tokens[:at] if token != ","]
            declares = mark == ":="
            tokens = tokens[at + 1 :]
            break
    commands, rest = _parse_commands(tokens)
    if rest:
        raise TemplateError(f"unexpected {rest[0]!r} in command")
    return names, declares, commands


def _parse_commands(tokens: list[Any]) -> tuple[list[list[Any]], list[Any]]:
    """Commands up to the end or an unmatched `)`."""
    commands: list[list[Any]] = [[]]
    while tokens and tokens[0] != ")":
        token, tokens = tokens[0], tokens[1:]
        if token == "|":
            if not commands[-1]:
                raise TemplateError("missing value for command")
            commands.append([])
        elif token == "(":
            inner, tokens = _parse_commands(tokens)
            if not tokens:
                raise TemplateError("unclosed left paren")
            tokens = tokens[1:]
            path: list[str] = []
            if tokens and isinstance(tokens[0], str) and tokens[0].startswith(")."):
                path = tokens[0][2:].split(".")
                tokens = tokens[1:]
            commands[-1].append(("pipeline", ([], False, inner), path))
        else:
            commands[-1].append(_term(token))
    if not commands[-1]:
        raise TemplateError("missing value for command")
    return commands, tokens


def _term(token: Any) -> tuple[Any, ...]:
    if isinstance(token, Value):
        return ("value", token.value)
    if token == ".":
        return ("field", [])
    if token.startswith("."):
        return ("field", token[1:].split("."))
    if token.startswith("$"):
        name, *path = token.split(".")
        return ("variable", name, path)
    if token in ("true", "false", "nil"):
        return ("value", {"true": True, "false": False, "nil": None}[token])
    if token[0].isdigit() or token[0] in "+-":
        try:
            return ("value", float(token) if "." in token or "e" in token.lower().removeprefix("0x") else int(token, 0))
        except ValueError:
            raise TemplateError(f'bad number syntax: "{token}"') from None
    if not token.replace("_", "a").isalnum():
        raise TemplateError(f"unexpected {token!r} in command")
    name, *path = token.split(".")
    return ("function", name)
