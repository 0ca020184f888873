"""Upcasting: one step after the other."""

from docket.event_store.upcasters import UPCASTERS, upcast


def test_each_step_sees_what_the_one_before_it_gave() -> None:
    """A chain of upcasters is a composition in the order of the shapes."""
    steps = {("T", n): (lambda data, n=n: {"seen": [*data["seen"], n]}) for n in (1, 2, 3)}
    assert upcast(steps, "T", 1, 4, {"seen": []}) == {"seen": [1, 2, 3]}
    assert upcast(steps, "T", 3, 4, {"seen": []}) == {"seen": [3]}
    assert upcast(steps, "T", 4, 4, {"seen": []}) == {"seen": []}


def test_released_upcasters_start_at_a_shape() -> None:
    """Shapes count from 1."""
    assert all(schema >= 1 for _, schema in UPCASTERS)
