"""Views of containers' roots on the real kernel: what they show, and that they leave nothing; and the overlay's own rules."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from docket.domain.errors import KernelError
from docket.domain.model.container.spec import ContainerSpec, MountSpec
from docket.domain.plan import views
from docket.domain.plan.settings import Places
from docket.domain.ports import ProcessIdentity
from docket.kernel.linux.host import start_time_of
from docket.kernel.linux.views import LinuxView, LinuxViews

pytestmark = pytest.mark.root


class Ground:
    """Layers on a disk, and the places of an engine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.places = Places(str(root / "data"), str(root / "exec"))
        for path in (self.places.containers, self.places.rootfs, f"{root}/one/d", f"{root}/two"):
            os.makedirs(path)
        (root / "one/d/f").write_text("lower")
        (root / "one/etc").mkdir()
        (root / "two/g").write_text("two")
        self.lowerdirs = (f"{root}/two", f"{root}/one")
        self.upper = Path(self.places.container("c"), "upper")

    def view(self, spec: ContainerSpec | None = None, *, alone: bool = False) -> LinuxView:
        if alone:
            return LinuxViews().of_plan(views.readable("c", self.lowerdirs, self.places))
        return LinuxViews().of_plan(views.writable("c", spec or ContainerSpec(), self.lowerdirs, self.places))


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """The engine's own mounts and descriptors are afterwards what they were."""
    before = (Path("/proc/self/mountinfo").read_text(), len(os.listdir("/proc/self/fd")), os.getcwd())
    yield Ground(tmp_path)
    assert (Path("/proc/self/mountinfo").read_text(), len(os.listdir("/proc/self/fd")), os.getcwd()) == before


def inside(view: LinuxView, path: str) -> str:
    """The same for system calls that know no descriptors."""
    return f"/proc/self/fd/{view.root}/{path}"


def test_a_view_shows_layers_and_binds_and_ends_with_its_descriptors(ground: Ground, tmp_path: Path) -> None:
    """Written through it, the writable layer has it; nothing of the engine's mounts changes meanwhile."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host/h").write_text("bound")
    mounts = (MountSpec("bind", "/b", str(tmp_path / "host"), readonly=True), MountSpec("tmpfs", "/t"))
    view = ground.view(ContainerSpec(mounts=mounts))
    try:
        assert sorted(os.listdir(inside(view, ""))) == ["b", "d", "etc", "g"]
        assert Path(inside(view, "b/h")).read_text() == "bound"
        Path(inside(view, "new")).write_text("x")
        with pytest.raises(OSError, match="Read-only"):
            Path(inside(view, "b/h")).write_text("y")
        assert (ground.upper / "new").read_text() == "x"
    finally:
        view.close()


def test_a_read_only_root_is_read_only_in_the_view(ground: Ground, tmp_path: Path) -> None:
    """And its binds are not."""
    (tmp_path / "host").mkdir()
    view = ground.view(ContainerSpec(readonly_rootfs=True, mounts=(MountSpec("bind", "/b", str(tmp_path / "host")),)))
    try:
        with pytest.raises(OSError, match="Read-only"):
            Path(inside(view, "new")).write_text("x")
        Path(inside(view, "b/new")).write_text("x")
    finally:
        view.close()


def test_a_view_alone_reads_the_writable_layer_too(ground: Ground) -> None:
    """Also of a container that has never started."""
    ground.view(alone=True).close()
    (ground.upper / "mine").write_text("x")
    view = ground.view(alone=True)
    try:
        assert sorted(os.listdir(inside(view, ""))) == ["d", "etc", "g", "mine"]
        with pytest.raises(OSError, match="Read-only"):
            Path(inside(view, "new")).write_text("x")
    finally:
        view.close()


def test_a_view_that_cannot_be_mounted_names_the_operation(ground: Ground) -> None:
    """A missing source of a bind; nothing stays mounted."""
    with pytest.raises(KernelError, match="bind /nowhere") as caught:
        ground.view(ContainerSpec(mounts=(MountSpec("bind", "/b", "/nowhere"),)))
    assert caught.value.errno == errno.ENOENT


def test_s15_a_process_that_is_another_one_is_not_looked_at() -> None:
    """The same pid with another start time is somebody else."""
    own = os.getpid()
    LinuxViews().of_process(ProcessIdentity(own, start_time_of(own), "")).close()
    with pytest.raises(KernelError) as caught:
        LinuxViews().of_process(ProcessIdentity(own, start_time_of(own) + 1, ""))
    assert caught.value.errno == errno.ESRCH


# The overlay's own rules, on which commit relies.


def test_what_is_changed_is_copied_up_whole(ground: Ground) -> None:
    """A changed mode alone brings the file's content along: no metadata-only copies, whatever the kernel's default is."""
    view = ground.view()
    try:
        os.chmod(inside(view, "d/f"), 0o600)
    finally:
        view.close()
    assert (ground.upper / "d/f").read_text() == "lower"
    assert Path(ground.lowerdirs[1], "d/f").read_text() == "lower"
    assert not [name for name in os.listxattr(ground.upper / "d/f") if name.endswith("metacopy")]


def test_renaming_a_directory_of_the_image_is_exdev(ground: Ground) -> None:
    """No redirects: the writable layer holds what it shows. Files, and the container's own directories, are renamed."""
    view = ground.view()
    try:
        with pytest.raises(OSError, match="Invalid cross-device link") as caught:
            os.rename(inside(view, "d"), inside(view, "e"))
        assert caught.value.errno == errno.EXDEV
        os.rename(inside(view, "d/f"), inside(view, "d/moved"))
        os.mkdir(inside(view, "own"))
        os.rename(inside(view, "own"), inside(view, "own2"))
    finally:
        view.close()
    assert (ground.upper / "d/moved").read_text() == "lower"
    assert os.stat(ground.upper / "d/f").st_rdev == 0
    assert (ground.upper / "own2").is_dir()
