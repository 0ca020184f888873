"""The part of Go's `text/template` that `--format` is used with, and Docker's own functions for it.

Values are JSON values. A row of a list command is a dict whose values may be functions: they are called with the arguments that
the template gives (`{{.Label "x"}}`). Values print as Go prints them: `[a b]`, `map[k:v]`, `<no value>`, `true`.
"""

from __future__ import annotations

from docket.cli.json_light import dumps
from docket.cli.template_parser import Block, TemplateError, parse_template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from docket.cli.template_parser import Pipeline

# Members that Docker's types leave out of JSON when they are empty. A template may ask for them: they are nil, no mistake.
_OPTIONAL = frozenset(
    "Annotations ExposedPorts Healthcheck Init Mounts OnBuild Shell StopSignal StopTimeout StorageOpt Sysctls Tmpfs "
    "GraphDriver SizeRw SizeRootFs MacAddress ArgsEscaped RepoTags RepoDigests Platform".split()
)  # fmt: skip
_MISSING = object()
_MOST_STEPS = 1_000_000
"""What one execution may do. Go has no such limit, and a template over it does not end in a reasonable time or memory there."""
_WIDEST = 1_000_000
"""As Go's fmt has it."""


class Template:
    """A parsed template. `render` raises TemplateError for what cannot be evaluated."""

    def __init__(self, text: str) -> None:
        self._nodes = parse_template(text)

    def render(self, data: Any) -> str:
        """The template with `data` as the dot."""
        return self._render(data, FUNCTIONS)

    def header(self, titles: dict[str, str]) -> str:
        """The head line of a table: fields become their titles, functions leave them as they are."""
        row: dict[str, Any] = {name: _title(name, title) for name, title in titles.items()}
        return self._render(row, _HEADER_FUNCTIONS)

    def _render(self, data: Any, functions: dict[str, Callable[..., Any]]) -> str:
        out: list[str] = []
        _Run(functions, out, data).nodes(self._nodes, data)
        return "".join(out)


def _title(name: str, title: str) -> Callable[..., str]:
    """A title; for `.Label "com.example.role"` the label's own last word."""
    return lambda *arguments: (
        title if not arguments else str(arguments[0]).rpartition(".")[2].replace("-", " ").replace("_", " ")
    )


class _Run:
    """One execution: variables, output and the data that `$` means."""

    def __init__(self, functions: dict[str, Callable[..., Any]], out: list[str], root: Any) -> None:
        self.functions = functions
        self.out = out
        self.variables: dict[str, Any] = {"$": root}
        self._steps = 0

    def nodes(self, nodes: list[Any], dot: Any) -> None:
        self._steps += 1 + len(nodes)
        if self._steps > _MOST_STEPS:
            raise TemplateError(f"more than {_MOST_STEPS} steps: let it range over less")
        for node in nodes:
            if isinstance(node, str):
                self.out.append(node)
            elif isinstance(node, Block):
                self._block(node, dot)
            else:
                names, _, _ = node[1]
                value = self._pipeline(node[1], dot)
                if not names:
                    self.out.append(show(value))

    def _block(self, block: Block, dot: Any) -> None:
        kept = dict(self.variables)
        names, declares, commands = block.pipeline
        if block.keyword == "range":
            self._range(block, names, self._pipeline(([], declares, commands), dot), dot)
        else:
            value = self._pipeline(block.pipeline, dot)
            if truth(value):
                self.nodes(block.body, value if block.keyword == "with" else dot)
            else:
                self.nodes(block.otherwise, dot)
        # Variables declared inside end with the block; assignments to outer ones stay.
        self.variables = {name: self.variables[name] for name in kept}

    def _range(self, block: Block, names: list[str], value: Any, dot: Any) -> None:
        items: Iterable[tuple[Any, Any]]
        if isinstance(value, dict):
            items = sorted(value.items())
        elif isinstance(value, list):
            items = enumerate(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            items = ((index, index) for index in range(value))
        elif value is None or value is _MISSING:
            items = ()
        else:
            raise TemplateError(f"range can't iterate over {show(value)}")
        empty = True
        for key, item in items:
            empty = False
            bound = (item,) if len(names) == 1 else (key, item)
            self.variables.update(zip(names, bound, strict=False))
            self.nodes(block.body, item)
        if empty:
            self.nodes(block.otherwise, dot)

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        names, declares, commands = pipeline
        value: Any = _MISSING
        extra: list[Any] = []
        for command in commands:
            value = self._command(command, dot, extra)
            extra = [value]
        for name in names:
            if not declares and name not in self.variables:
                raise TemplateError(f'undefined variable "{name}"')
            self.variables[name] = value
        return value

    def _command(self, command: list[Any], dot: Any, extra: list[Any]) -> Any:
        first, *rest = command
        if first[0] == "function":
            function = self.functions.get(first[1])
            if function is None:
                raise TemplateError(f'function "{first[1]}" not defined')
            if first[1] in ("and", "or"):
                return self._short_circuit(first[1], rest, dot, extra)
            arguments = [self._term(term, dot) for term in rest] + extra
            return _call(function, arguments, first[1])
        arguments = [self._term(term, dot) for term in rest] + extra
        return self._term(first, dot, arguments)

    def _short_circuit(self, name: str, terms: list[Any], dot: Any, extra: list[Any]) -> Any:
        value: Any = None
        for term in terms:
            value = self._term(term, dot)
            if truth(value) == (name == "or"):
                return value
        return extra[0] if extra else value

    def _term(self, term: tuple[Any, ...], dot: Any, arguments: list[Any] | None = None) -> Any:
        kind = term[0]
        if kind == "function":
            return self._command([term], dot, [])
        if kind == "field":
            return _walk(dot, term[1], arguments, "." + ".".join(term[1]))
        if kind == "variable":
            if term[1] not in self.variables:
                raise TemplateError(f'undefined variable "{term[1]}"')
            return _walk(self.variables[term[1]], term[2], arguments, ".".join([term[1], *term[2]]))
        value = term[1] if kind == "value" else self._pipeline(term[1], dot)
        path = term[2] if kind == "pipeline" else []
        if arguments and not path:
            raise TemplateError(f"can't give argument to non-function {show(value)}")
        return _walk(value, path, arguments, "." + ".".join(path))


def _walk(value: Any, path: list[str], arguments: list[Any] | None, label: str) -> Any:
    for index, name in enumerate(path):
        last = index == len(path) - 1
        if isinstance(value, dict):
            if name not in value and name not in _OPTIONAL and not (last and name == "Health"):
                raise TemplateError(f'executing "" at <{label}>: map has no entry for key "{name}"')
            value = value.get(name)
        elif value is None:
            raise TemplateError(f'executing "" at <{label}>: nil pointer evaluating {name}')
        else:
            raise TemplateError(f'executing "" at <{label}>: can\'t evaluate field {name} in type {_type(value)}')
        if callable(value):
            value = _call(value, (arguments or []) if last else [], name)
        elif last and arguments:
            raise TemplateError(f'executing "" at <{label}>: {name} has arguments but cannot be invoked as function')
    return value


def _call(function: Callable[..., Any], arguments: list[Any], name: str) -> Any:
    try:
        return function(*arguments)
    except TemplateError:
        raise
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise TemplateError(f'executing "" at <{name}>: error calling {name}: {error}') from None


def truth(value: Any) -> bool:
    """Go's truth: zero values and empty collections are false."""
    return value is not _MISSING and bool(value)


def show(value: Any) -> str:
    """A value as `fmt.Print` shows it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if value is _MISSING:
        return "<no value>"
    if isinstance(value, list):
        return "[" + " ".join(show(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{show(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) >= 1e21 or value != int(value) else f"{value:.0f}"
    return str(value)


def _type(value: Any) -> str:
    names = {str: "string", bool: "bool", int: "int", float: "float64", list: "[]interface {}"}
    return names.get(type(value), "interface {}")


def _json(value: Any) -> str:
    return dumps(_evaluated(value))


def _evaluated(value: Any) -> Any:
    """A row with its functions called, so that `{{json .}}` shows every field that needs no argument."""
    if isinstance(value, dict) and any(callable(item) for item in value.values()):
        return {key: item() if callable(item) else item for key, item in sorted(value.items()) if key != "Label"}
    return value


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif value is None:
            raise TemplateError("error calling index: index of untyped nil")
        elif not isinstance(key, int) or not 0 <= key < len(value):
            raise TemplateError(f"error calling index: index out of range: {show(key)}")
        else:
            value = value[key]
    return value


def _slice(value: Any, *bounds: int) -> Any:
    low, high = (list(bounds) + [0, len(value)][len(bounds) :])[:2] if bounds else (0, len(value))
    if not 0 <= low <= high <= len(value):
        raise TemplateError("error calling slice: index out of range")
    return value[low:high]


def _printf(form: str, *arguments: Any) -> str:
    """Go's verbs over Python's `%`: `%v` shows, `%q` quotes, `%t` is a boolean, the rest mean the same."""
    out, rest, at = "", list(arguments), 0
    while at < len(form):
        if form[at] != "%":
            out += form[at]
            at += 1
            continue
        start = at
        at += 1
        while at < len(form) and form[at] in "-+ #0123456789.":
            at += 1
        verb = form[at : at + 1]
        at += 1
        if verb == "%":
            out += "%"
        elif not rest:
            out += f"%!{verb}(MISSING)"
        else:
            out += _verb(form[start : at - 1], verb, rest.pop(0))
    return out


def _verb(flags: str, verb: str, value: Any) -> str:
    if any(int(number or 0) > _WIDEST for number in flags.lstrip("%-+ #0").split(".") if len(number) > 6):
        return "%!(BADWIDTH)"
    if verb in "vst":
        return (flags + "s") % show(value)
    if verb == "q":
        return (flags + "s") % dumps(show(value))
    if verb in "dxXoc" and isinstance(value, int):
        return str((flags + verb) % value)
    if verb in "xX" and isinstance(value, str):
        text = value.encode().hex()
        return text.upper() if verb == "X" else text
    if verb in "feEgG" and isinstance(value, float):
        return str((flags + verb) % value)
    return f"%!{verb}({show(value)})"


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("error calling eq: missing argument for comparison")
    for other in others:
        if type(first) is not type(other) and not (first is None or other is None):
            raise TemplateError("error calling eq: incompatible types for comparison")
    return any(first == other for other in others)


def _length(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else len(value if value is not None else ())


def _println(*values: Any) -> str:
    return " ".join(show(value) for value in values) + "\n"


def _truncate(text: str, length: int) -> str:
    return text[: max(0, length)]


def _pad(text: str, before: int, after: int) -> str:
    if max(before, after) > _WIDEST:
        raise TemplateError(f"pad: more than {_WIDEST} blanks")
    return " " * before + text + " " * after if text else text


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: values[-1],
    "or": lambda *values: values[-1],
    "not": lambda value: not truth(value),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": lambda *values: "".join(show(value) for value in values),
    "printf": _printf,
    "println": _println,
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
    "json": _json,
    "split": lambda text, separator: text.split(separator),
    "join": lambda values, separator: separator.join(show(value) for value in values or ()),
    "title": lambda text: text.title(),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "pad": _pad,
    "truncate": _truncate,
}
_SAME: Callable[..., Any] = lambda value="", *_: value  # noqa: E731 -- a table entry
_HEADER_FUNCTIONS = {**FUNCTIONS, **dict.fromkeys(("json", "split", "join", "title", "lower", "upper", "truncate"), _SAME)}
