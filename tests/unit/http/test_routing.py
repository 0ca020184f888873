"""The route table: templates, precedence, and the API version in front of the path."""

import pytest

from docket.adapters.http import HttpError, Request, Response, Route, Router


async def handler(request: Request) -> Response:
    return Response()


def router(*routes: tuple[str, str]) -> Router:
    return Router([Route(method, template, handler) for method, template in routes])


TABLE = router(
    ("GET", "/_ping"),
    ("HEAD", "/_ping"),
    ("GET", "/containers/{id}/json"),
    ("GET", "/containers/json"),
    ("POST", "/containers/{id}/start"),
    ("GET", "/images/{name:path}/json"),
    ("GET", "/images/{name:path}/get"),
    ("GET", "/images/get"),
    ("DELETE", "/images/{name:path}"),
    ("GET", "/a/{x}/b/{y}"),
    ("GET", "/a.b"),
)


@pytest.mark.parametrize(
    ("method", "path", "template", "parameters"),
    [
        ("GET", "/_ping", "/_ping", {}),
        ("HEAD", "/_ping", "/_ping", {}),
        ("GET", "/containers/json", "/containers/json", {}),
        ("GET", "/containers/abc/json", "/containers/{id}/json", {"id": "abc"}),
        ("GET", "/containers/json/json", "/containers/{id}/json", {"id": "json"}),
        ("GET", "/images/busybox/json", "/images/{name:path}/json", {"name": "busybox"}),
        ("GET", "/images/reg:5000/a/b:1/json", "/images/{name:path}/json", {"name": "reg:5000/a/b:1"}),
        ("GET", "/images/get", "/images/get", {}),
        ("GET", "/images/get/get", "/images/{name:path}/get", {"name": "get"}),
        ("DELETE", "/images/library/busybox", "/images/{name:path}", {"name": "library/busybox"}),
        ("GET", "/a/1/b/2", "/a/{x}/b/{y}", {"x": "1", "y": "2"}),
    ],
)
def test_paths_reach_their_route(method: str, path: str, template: str, parameters: dict[str, str]) -> None:
    """Literals win over placeholders, and only `:path` placeholders take slashes; the same with a version in front."""
    for prefix in ("", "/v1.41"):
        match = TABLE.match(method, prefix + path)
        assert (match.route.template, match.parameters, match.path) == (template, parameters, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/nope"),
        ("PUT", "/_ping"),
        ("POST", "/containers/abc/json"),
        ("GET", "/containers//json"),
        ("GET", "//containers/json"),
        ("GET", "/containers/json/"),
        ("GET", "/containers/a/b/json"),
        ("GET", "/images//json"),
        ("GET", "/images/a//b/json"),
        ("GET", "/_ping\n"),
        ("GET", "/axb"),
        ("GET", "/v1.41"),
        ("GET", "/v1.41/v1.41/_ping"),
        ("GET", "/v1/_ping"),
        ("GET", "/v٣.41/_ping"),
    ],
)
def test_everything_else_is_page_not_found(method: str, path: str) -> None:
    """Wrong methods, doubled slashes and odd versions are 404 in Docker's words, so that clients end with an error."""
    with pytest.raises(HttpError) as caught:
        TABLE.match(method, path)
    assert (caught.value.status, caught.value.message) == (404, "page not found")


def test_version_range() -> None:
    """Both ends of the range are spoken; beyond them is 400 with the texts that Docker's clients show."""
    assert TABLE.match("GET", "/v1.24/_ping").api_version == (1, 24)
    assert TABLE.match("GET", "/v1.50/_ping").api_version == (1, 50)
    assert TABLE.match("GET", "/_ping").api_version == (1, 50)
    for version, message in (
        ("1.51", "client version 1.51 is too new. Maximum supported API version is 1.50"),
        ("2.0", "client version 2.0 is too new. Maximum supported API version is 1.50"),
        (
            "1.12",
            "client version 1.12 is too old. Minimum supported API version is 1.24, "
            "please upgrade your client to a newer version",
        ),
    ):
        with pytest.raises(HttpError) as caught:
            TABLE.match("GET", f"/v{version}/_ping")
        assert (caught.value.status, caught.value.message) == (400, message)


def test_the_same_route_twice_is_a_mistake() -> None:
    """Two templates that match the same paths cannot both be meant."""
    with pytest.raises(ValueError, match="twice"):
        router(("GET", "/a/{x}"), ("GET", "/a/{y}"))
