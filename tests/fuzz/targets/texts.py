"""Short texts with a grammar: image references, filters, and the templates of ``--format``."""

from __future__ import annotations

from typing import Any

from tests.fuzz.mutation import mutate_bytes, mutate_json_text
from tests.fuzz.targets import Target

from docket.adapters.api.container_filters import label_test, name_pattern
from docket.adapters.api.filters import parse_filters
from docket.adapters.api.image_json import _glob
from docket.cli.template import Template
from docket.cli.template_parser import TemplateError
from docket.domain.errors import Rejected
from docket.domain.oci.reference import parse_reference

_LONG_NAME = "ab" * 127
_MAX_OUTPUT = 1 << 24

# References: what is parsed is written, and read again, as the same.

_REFERENCES = (
    b"busybox", b"user/app:1.2", b"localhost:5000/a/b:tag", b"[::1]:80/x", b"docker.io/library/busybox@sha256:" + b"a" * 64,
    b"a.b.c/d__e---f.g/h:T_1.2-3@sha512:" + b"0" * 128, b"a" * 64, b"index.docker.io/a",
)  # fmt: skip


def _reference(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = parse_reference(text)
    except Rejected:
        return
    assert parse_reference(str(found)) == found, str(found)
    assert parse_reference(found.familiar) == found, found.familiar
    assert str(found).isascii()


# Filters: no value may take for ever over a name.

_FILTERS = (
    b'{"name":["^/?web.*$"],"label":{"a=b":true},"reference":["a*b?c"]}', b'{"name":["a.*b.*c.*d"]}', b'{"name":["\\\\.x"]}',
    b'{"reference":["*/*:*"]}',
)  # fmt: skip
_KNOWN = frozenset({"name", "label", "reference"})


def _filter(data: bytes) -> None:
    try:
        asked = parse_filters(data.decode("utf-8", "replace"), _KNOWN)
        for value in asked.get("name", ()):
            name_pattern(value).search(_LONG_NAME)
        for value in asked.get("label", ()):
            label_test(value)({"a": "b"})
        for value in asked.get("reference", ()):
            _glob(value).fullmatch(f"{_LONG_NAME}/{_LONG_NAME}")
    except Rejected:
        return


# Templates

_TEMPLATES = (
    b"{{.ID}}\t{{.Names}}", b'{{range $i, $e := .List}}{{$i}}={{$e}}{{else}}none{{end}}',
    b'{{if and .ID (eq .Size 5)}}{{json .}}{{end}}',
    b'{{with .Nested}}{{.Key | upper | printf "%-10s"}}{{end}}', b'{{.Label "a"}}{{index .List 0}}{{slice .ID 1 3}}{{len .List}}',
    b'{{join (split .ID "b") ","}}{{/* c */}}{{- title .Names -}} {{truncate .ID 3}}{{pad .ID 1 2}}',
    b"{{`raw`}}{{'c'}}{{1.5}}{{nil}}",
    b'{{printf "%5.2f %d %q %x %t %v" .Float .Size .ID .ID true .Nested}}{{ne .ID "x"}}{{not .None}}{{or .None .ID}}{{lt 1 .Size}}',
    b"{{$x := .Size}}{{$x = 7}}{{$x}}{{range .Size}}.{{end}}",
)  # fmt: skip
_ROW: dict[str, Any] = {
    "ID": "abcdef", "Names": "web", "Size": 5, "Float": 1.5, "None": None, "True": True, "List": ["a", "b", ["c"]],
    "Nested": {"Key": "value", "Deep": {"List": [1, 2]}, "Empty": {}}, "Label": lambda name="": f"label {name}",
}  # fmt: skip


def _template(data: bytes) -> None:
    try:
        template = Template(data.decode("utf-8", "surrogateescape"))
    except TemplateError:
        return
    for render in (lambda: template.render(_ROW), lambda: template.header({"ID": "ID", "Names": "NAMES", "Size": "SIZE"})):
        try:
            assert len(render()) < _MAX_OUTPUT
        except TemplateError:
            continue


TARGETS = {
    "references": Target(
        "references", ("domain/oci/reference.py", "domain/oci/digest.py"), lambda: list(_REFERENCES), _reference, mutate_bytes
    ),
    "filters": Target(
        "filters",
        ("adapters/api/filters.py", "adapters/api/container_filters.py"),
        lambda: list(_FILTERS),
        _filter,
        mutate_json_text,
    ),
    "templates": Target(
        "templates", ("cli/template.py", "cli/template_parser.py"), lambda: list(_TEMPLATES), _template, mutate_bytes
    ),
}
