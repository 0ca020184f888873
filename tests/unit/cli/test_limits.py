"""docket's own limits on the command line, and the fields that they become."""

import pytest

from docket.cli.limits import parse_hugepage_limit, parse_rdma


def test_limits_of_huge_pages() -> None:
    """A page size as the kernel spells it, and a size as Docker does."""
    assert parse_hugepage_limit("2MB=64m") == {"pageSize": "2MB", "limit": 64 << 20}
    for text in ("2MB", "=1m", "2MB=x"):
        with pytest.raises(ValueError, match="invalid"):
            parse_hugepage_limit(text)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("mlx5_0=2:2000", {"hcaHandles": 2, "hcaObjects": 2000}),
        ("mlx5_0=2", {"hcaHandles": 2}),
        ("mlx5_0=:7", {"hcaObjects": 7}),
        ("mlx5_0=max:7", {"hcaObjects": 7}),
    ],
)
def test_limits_of_rdma_devices(text: str, limits: dict[str, int]) -> None:
    """What is left out is not limited."""
    assert parse_rdma(text) == ("mlx5_0", limits)


@pytest.mark.parametrize("text", ["mlx5_0", "=1:2", "mlx5_0=", "mlx5_0=:", "mlx5_0=x:1", "mlx5_0=1:2:3"])
def test_what_is_no_limit_of_a_device_is_refused(text: str) -> None:
    """Before anything is asked of the engine."""
    with pytest.raises(ValueError, match="invalid"):
        parse_rdma(text)
