"""Image references, parsed, normalised and shown exactly as Docker does.

    busybox                  docker.io/library/busybox:latest
    user/app:1.2             docker.io/user/app, tag 1.2
    host:5000/app@sha256:…   host:5000/app, that content and no other

The grammar and the error texts are those of ``distribution/reference``, since clients and people know them. A reference that
consists of 64 hexadecimal digits is refused, because it would hide an image id.
"""

from __future__ import annotations

import re

import msgspec

from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.oci.digest import Digest, InvalidDigest, parse_digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"

MAX_REFERENCE_LENGTH = 2048
MAX_NAME_LENGTH = 255

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_DOMAIN_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_IMAGE_ID = re.compile(r"[a-f0-9]{64}")
_TAG_ONLY = re.compile(_TAG)


class InvalidReference(Rejected):
    """A text that is no image reference; carries an `InvalidArgument` with Docker's text."""

    def __init__(self, message: str) -> None:
        super().__init__(InvalidArgument(message))


class Reference(msgspec.Struct, frozen=True, order=True):
    """A normalised image reference. ``tag`` and ``digest`` are empty where the text named none."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The repository's full name, such as ``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as people write it, such as ``busybox`` or ``host:5000/app``.

        Unlike Docker's, it never reads as another registry's: ``docker.io/a.example/b`` keeps its domain.
        """
        if self.domain != DEFAULT_DOMAIN or _is_host(self.path.partition("/")):
            return self.name
        official = self.path.startswith(_OFFICIAL) and self.path.count("/") == 1
        return self.path.removeprefix(_OFFICIAL) if official else self.path

    @property
    def familiar(self) -> str:
        """The reference as people write it, with its tag and digest."""
        return self.familiar_name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix

    def with_default_tag(self) -> Reference:
        """Returns the reference with the tag ``latest`` if it has neither a tag nor a digest."""
        return self if self.tag or self.digest else self.with_tag(DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """Returns the reference with another tag; raises `InvalidReference` for a tag that breaks the grammar."""
        if not _TAG_ONLY.fullmatch(tag):
            raise InvalidReference("invalid tag format")
        return Reference(self.domain, self.path, tag, self.digest)

    def with_digest(self, digest: Digest) -> Reference:
        """Returns the repository's reference to exactly the content ``digest``, without a tag."""
        return Reference(self.domain, self.path, "", digest)


def parse_reference(text: str, *, default_tag: bool = True) -> Reference:
    """Returns the normalised reference, with the tag ``latest`` if it names neither tag nor digest (unless told otherwise).

    Raises `InvalidReference` with Docker's text.
    """
    if len(text) > MAX_REFERENCE_LENGTH:
        raise InvalidReference("invalid reference format")
    if _IMAGE_ID.fullmatch(text):
        raise InvalidReference(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, remainder = _split_domain(text)
    remote = remainder.partition(":")[0]
    if remote != remote.lower():
        raise InvalidReference(f"invalid reference format: repository name ({remote}) must be lowercase")
    reference = _from_match(f"{domain}/{remainder}")
    if default_tag:
        reference = reference.with_default_tag()
    if len(str(reference)) > MAX_REFERENCE_LENGTH:
        raise InvalidReference("invalid reference format")  # what is written must be read again
    return reference


def _split_domain(text: str) -> tuple[str, str]:
    """The first part is a registry only if it looks like a host; otherwise the name is one of Docker Hub's."""
    first, slash, rest = text.partition("/")
    domain, remainder = (first, rest) if _is_host((first, slash, rest)) else (DEFAULT_DOMAIN, text)
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder


def _is_host(parts: tuple[str, str, str]) -> bool:
    """Whether what stands before the first slash looks like a host."""
    first, slash, _ = parts
    return bool(slash) and ("." in first or ":" in first or first == "localhost" or first.lower() != first)


def _from_match(text: str) -> Reference:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise InvalidReference("invalid reference format")
    if len(match["path"]) > MAX_NAME_LENGTH:
        raise InvalidReference(f"repository name must not be more than {MAX_NAME_LENGTH} characters")
    digest = match["digest"] or ""
    if digest:
        try:
            parse_digest(digest)
        except InvalidDigest as error:
            raise InvalidReference(str(error)) from error
    return Reference(match["domain"], match["path"], match["tag"] or "", digest)
