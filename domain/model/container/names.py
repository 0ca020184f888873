"""Container names: which are valid, and generated ones of an adjective and a person whose work computing stands on."""

from __future__ import annotations

from collections.abc import Container

from docket.domain.errors import InvalidArgument

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")
_LIMIT = 253

_ADJECTIVES = (
    "able agile amber ample apt azure bold brave bright brisk calm candid careful cheerful clear clever cosmic crisp "
    "curious daring deft eager early earnest easy elegant exact fair famous fancy fearless festive fine firm fleet fluent "
    "fond frank fresh gentle glad golden grand great handy happy hardy hearty honest humble ideal jolly keen kind lively "
    "loyal lucid lucky mellow merry mild modest neat nimble noble patient plain polite proud prompt quick quiet rapid ready "
    "robust rosy serene sharp shiny silent silver simple sincere smart smooth solid sound spry steady stoic sunny swift "
    "tender tidy tough tranquil trusty upbeat vivid warm wise witty zesty"
).split()
_SURNAMES = (
    "allen backus bartik berners boole borg brooks cerf chamberlin church clarke codd conway cook dahl dijkstra easley "
    "engelbart estrin feinler floyd franklin goldberg goldwasser gray hamilton hamming hejlsberg hoare holberton hopper "
    "johnson kahn karp kay keller kernighan knuth lamarr lamport lampson liskov lovelace mccarthy mcilroy meitner minsky "
    "moore naur neumann noether nygaard perlis perlman pike postel rabin ritchie rivest sammet shamir shannon shaw shor "
    "stonebraker sutherland tanenbaum tarjan thompson torvalds turing valiant wilkes wing wirth yao zuse"
).split()


def check_name(name: str) -> InvalidArgument | None:
    """None for a valid name: ``[a-zA-Z0-9][a-zA-Z0-9_.-]+`` and no longer than 253 characters (S32)."""
    if 2 <= len(name) <= _LIMIT and name[0] in _FIRST and _REST.issuperset(name):
        return None
    return InvalidArgument(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def generate_name(seed: int, taken: Container[str]) -> str:
    """A readable name that is not taken; the same seed and the same names taken give the same name."""
    pairs = len(_ADJECTIVES) * len(_SURNAMES)
    for attempt in range(pairs):
        adjective, surname = divmod((seed + attempt) % pairs, len(_SURNAMES))
        name = f"{_ADJECTIVES[adjective]}_{_SURNAMES[surname]}"
        if name not in taken:
            return name
    number = seed
    while f"container_{number}" in taken:
        number += 1
    return f"container_{number}"
