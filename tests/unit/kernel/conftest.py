"""A container's whole plan and launch for tests of the kernels that are not Linux."""

from collections.abc import Callable

import pytest

from docket.domain.model.container.spec import ContainerSpec
from docket.domain.plan.container import Confinement, Surroundings, container_plan
from docket.domain.plan.settings import Places
from docket.domain.ports import Attachment, Launch, LogSettings
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.ports import FakeRootfs

CONTAINER = "c" * 64
PLACES = Places("/var/lib/docket", "/run/docket")


@pytest.fixture
def make_launch() -> Callable[..., Launch]:
    """Builds the launch of a container with docket's own plan."""

    def make(kernel: FakeKernel, *args: str, attachments: tuple[Attachment, ...] = (), **spec: object) -> Launch:
        lowerdirs = FakeRootfs(kernel).lowerdirs(["sha256:" + "1" * 64, "sha256:" + "2" * 64])
        confinement = Confinement(0xA80425FB, no_new_privileges=True, seccomp_program="BgAAAAAA/38=")
        wanted = ContainerSpec(command=args or ("sleep", "1000"), hostname="box", **spec)  # type: ignore[arg-type]
        plan = container_plan(CONTAINER, wanted, Surroundings(kernel.host(), PLACES, lowerdirs, confinement))
        return Launch(
            key=CONTAINER,
            plan=plan,
            directory=PLACES.shim(CONTAINER),
            exit_file=PLACES.exit_file(CONTAINER),
            environment=("PATH=/bin",),
            log=LogSettings(PLACES.log(CONTAINER)),
            attachments=attachments,
            cgroup=plan.process.cgroup,
        )

    return make
