"""Words of a Dockerfile instruction: splitting, quotes, escapes and variables as the shell lexer of Docker's builder has them.

    'single'      kept as it is
    "double"      variables are replaced; a backslash escapes only ``"``, ``$`` and itself
    \\c            the character c
    $V ${V}       the variable's value, or nothing
    ${V:-word}    the value, or word where it is empty
    ${V:+word}    word where the value is not empty, or nothing

No command substitution, no globbing, no environment but the one that is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_NESTING = 16

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]", re.ASCII)


class InvalidWord(ValueError):
    """A word with an open quote, an open brace or an unknown modifier."""


def split_words(text: str) -> list[str]:
    """Splits at blanks outside quotes; quotes, escapes and variables stay in the words as they were written."""
    words: list[str] = []
    word = quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        if char == "\\" and quote != "'" and position + 1 < len(text):
            word += text[position : position + 2]
            position += 2
            continue
        if not quote and char in " \t":
            if word:
                words.append(word)
            word = ""
        else:
            word += char
            quote = _quote_after(quote, char)
        position += 1
    return [*words, word] if word else words


def _quote_after(quote: str, char: str) -> str:
    if char not in "\"'":
        return quote
    if not quote:
        return char
    return "" if quote == char else quote


def expand_word(text: str, environment: Mapping[str, str]) -> str:
    """Returns the word with its variables replaced and its quotes and escapes removed; raises `InvalidWord`."""
    return _Expansion(text, environment, 0).run()


class _Expansion:
    """One pass over one word; `position` is the next character that nobody has read."""

    def __init__(self, text: str, environment: Mapping[str, str], nesting: int) -> None:
        if nesting > MAX_NESTING:
            raise InvalidWord(f"variables nested deeper than {MAX_NESTING} levels")
        self.text = text
        self.environment = environment
        self.nesting = nesting
        self.position = 0

    def run(self) -> str:
        parts: list[str] = []
        while self.position < len(self.text):
            char = self._next()
            if char == "'":
                parts.append(self._until("'"))
            elif char == '"':
                parts.append(self._double_quoted())
            elif char == "\\":
                parts.append(self._next() if self.position < len(self.text) else "\\")
            elif char == "$":
                parts.append(self._variable())
            else:
                parts.append(char)
        return "".join(parts)

    def _next(self) -> str:
        char = self.text[self.position]
        self.position += 1
        return char

    def _until(self, end: str) -> str:
        stop = self.text.find(end, self.position)
        if stop < 0:
            raise InvalidWord("unexpected end of statement while looking for matching single-quote")
        found = self.text[self.position : stop]
        self.position = stop + 1
        return found

    def _double_quoted(self) -> str:
        parts: list[str] = []
        while self.position < len(self.text):
            char = self._next()
            if char == '"':
                return "".join(parts)
            if char == "$":
                parts.append(self._variable())
            elif char == "\\" and self.text[self.position : self.position + 1] in ('"', "$", "\\"):
                parts.append(self._next())
            else:
                parts.append(char)
        raise InvalidWord("unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        if self.text[self.position : self.position + 1] == "{":
            return self._braced()
        match = _NAME.match(self.text, self.position)
        if match is None:
            return "$"
        self.position = match.end()
        return self.environment.get(match[0], "")

    def _braced(self) -> str:
        match = _NAME.match(self.text, self.position + 1)
        if match is None:
            raise InvalidWord("syntax error: missing variable name in substitution")
        self.position = match.end()
        value = self.environment.get(match[0], "")
        rest = self._rest_of_braces()
        if rest == "":
            return value
        if rest[:2] not in (":-", ":+"):
            raise InvalidWord(f"unsupported modifier ({rest[:2]}) in substitution")
        if bool(value) == (rest[1] == "-"):
            return value
        return _Expansion(rest[2:], self.environment, self.nesting + 1).run()

    def _rest_of_braces(self) -> str:
        """Everything up to the brace that closes this one."""
        depth = 1
        start = self.position
        while self.position < len(self.text):
            char = self._next()
            if char == "\\" and self.position < len(self.text):
                self.position += 1
            elif char == "{":
                depth += 1
            elif char == "}":
                depth -= 1
                if depth == 0:
                    return self.text[start : self.position - 1]
        raise InvalidWord("syntax error: missing closing brace in substitution")
