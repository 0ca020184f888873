"""The subset of Go templates: what scripts use gives what Go gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.cli.template import Template, show
from docket.cli.template_parser import TemplateError

DATA: dict[str, Any] = {
    "Name": "/web",
    "State": {"ExitCode": 3, "Running": False, "Error": ""},
    "List": ["a", "b"],
    "Empty": [],
    "Map": {"z": 1, "a": 2, "com.example.x": "y"},
    "Nil": None,
    "Items": [{"K": "x", "V": {"W": 1}}, {"K": "y", "V": {"W": 2}}],
    "Count": 12,
    "Ratio": 0.5,
    "Label": lambda name: f"<{name}>",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "/web"),
        ("{{ .State.ExitCode }}", "3"),
        ("{{.State.Running}}", "false"),
        ("{{.List}} {{.Empty}} {{.Nil}}", "[a b] [] <nil>"),
        ("{{.Map}}", "map[a:2 com.example.x:y z:1]"),
        ("{{json .List}}", '["a","b"]'),
        ("{{json .State}}", '{"ExitCode":3,"Running":false,"Error":""}'),
        ("{{.List | json}}", '["a","b"]'),
        ("{{range .List}}<{{.}}>{{end}}", "<a><b>"),
        ("{{range $i, $e := .List}}{{if $i}},{{end}}{{$e}}{{end}}", "a,b"),
        ("{{range $k, $v := .Map}}{{$k}}={{$v} }{{end}}".replace("} }", "}}"), "a=2com.example.x=yz=1"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Items}}{{.K}}{{.V.W}}{{$.Count}} {{end}}", "x112 y212 "),
        ("{{range $x := .List}}{{$x}}{{end}}", "ab"),
        ("{{if .State.Running}}yes{{else}}no{{end}}", "no"),
        ("{{if .Empty}}a{{else if .Nil}}b{{else if .Count}}c{{else}}d{{end}}", "c"),
        ("{{with .State}}{{.ExitCode}}{{end}}", "3"),
        ("{{with .Nil}}x{{else}}{{.Name}}{{end}}", "/web"),
        ('{{index .Map "com.example.x"}} {{index .List 1}} {{index .Map "none"}}', "y b "),
        ("{{(index .Items 1).K}} {{(index .Items 1).V.W}}", "y 2"),
        ('{{printf "%s|%5s|%-5s|%d|%q|%v|%%" .Name "ab" "cd" 7 "e" .List}}', '/web|   ab|cd   |7|"e"|[a b]|%'),
        ('{{printf "%03d %x %.1f" .Count .Count .Ratio}}', "012 c 0.5"),
        ('{{eq .Name "/web"}} {{ne .Count 12}} {{lt 1 2}} {{ge 1 2}}', "true false true false"),
        ('{{eq .Count 1 12}} {{if and .Name .Count}}both{{end}} {{or .Nil "x"}} {{not .Nil}}', "true both x true"),
        ("{{len .List}} {{len .Map}} {{len .Name}}", "2 3 4"),
        ('{{join .List "-"}} {{upper "a"}} {{lower "A"}} {{title "ab cd"}}', "a-b A a Ab Cd"),
        ('{{truncate "abc" 2}} {{pad "x" 1 2}}|', "ab  x  |"),
        ('{{split "a,b" ","}} {{slice "abcd" 1 3}} {{println "x"}}', "[a b] bc x\n"),
        ('{{.Label "role"}}', "<role>"),
        ("{{$x := .Count}}{{$x}} {{$x = 5}}{{$x}}", "12 5"),
        ("a {{- .Name -}} b", "a/webb"),
        ("a{{/* no }} end */}}b", "ab"),
        ('{{"a}}b"}} {{`raw\\n`}} {{"\\t|\\u00e9"}}', "a}}b raw\\n \t|é"),
        ("{{true}} {{1.5}} {{-3}}", "true 1.5 -3"),
        ("{{.}}", None),
    ],
)  # fmt: skip
def test_templates(text: str, expected: str | None) -> None:
    """One line for each construct."""
    rendered = Template(text).render({"a": 1} if expected is None else DATA)
    assert rendered == (expected if expected is not None else "map[a:1]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{", "unclosed action"),
        ("{{.Foo", "unclosed action"),
        ('{{"x}}', "unterminated quoted string"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{if .X}}", "unexpected EOF"),
        ("{{}}", "missing value for command"),
        ("{{.X | }}", "missing value for command"),
        ("{{(.X}}", "unclosed left paren"),
        ("{{.X)}}", "unexpected ')' in command"),
        ('{{template "x"}}', "{{template}} is not supported"),
        ("{{frob .Name}}", 'function "frob" not defined'),
        ("{{.Foo}}", 'executing "" at <.Foo>: map has no entry for key "Foo"'),
        ("{{.Nil.X}}", 'executing "" at <.Nil.X>: nil pointer evaluating X'),
        ("{{.Name.X}}", 'executing "" at <.Name.X>: can\'t evaluate field X in type string'),
        ("{{index .List 5}}", "error calling index: index out of range: 5"),
        ("{{$y}}", 'undefined variable "$y"'),
        ('{{eq .Count "x"}}', "error calling eq: incompatible types for comparison"),
        ("{{range .Name}}{{end}}", "range can't iterate over /web"),
    ],
)
def test_what_cannot_be_read_or_run(text: str, message: str) -> None:
    """The words say what is wrong."""
    with pytest.raises(TemplateError) as caught:
        Template(text).render(DATA)
    assert str(caught.value) == message


@given(st.text(alphabet='{}.$|()"`-_ ,:=rangeifndwthlsABC01\\/*', max_size=40))
def test_no_text_breaks_the_engine(text: str) -> None:
    """Every text renders or is refused."""
    try:
        Template(text).render(DATA)
    except TemplateError:
        return


def test_optional_members_of_dockers_types_are_nil() -> None:
    """What an engine leaves out because it is empty may still be asked for."""
    assert Template("{{if .State.Health}}x{{end}}{{.Mounts}}").render(DATA) == "<nil>"


def test_table_heads_are_titles() -> None:
    """Functions leave a title as it is; a label's head is its own last word."""
    titles = {"Names": "NAMES", "Label": "LABEL"}
    assert Template('{{upper .Names}}\t{{.Label "com.example.my-role"}}').header(titles) == "NAMES\tmy role"


def test_show_numbers() -> None:
    """Go prints floats without a needless fraction."""
    assert [show(value) for value in (1.0, 1.5, 1e21, 7, True)] == ["1", "1.5", "1e+21", "7", "true"]
