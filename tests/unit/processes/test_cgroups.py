"""Where a process's own control groups are."""

from __future__ import annotations

from pathlib import Path

import pytest

from fcemu.processes.cgroups import own_groups

V2 = "24 22 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
FREEZER = "37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer"
MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
IN_DOCKER = "99 90 0:32 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:15 - cgroup cgroup rw,memory"


@pytest.mark.parametrize(
    ("mounts", "cgroup", "expected"),
    [
        ([V2], "0::/user.slice/a.scope", {"": "/sys/fs/cgroup/user.slice/a.scope"}),
        ([V2], "0::/", {"": "/sys/fs/cgroup"}),
        (
            [MEMORY, FREEZER, UNIFIED],
            "8:freezer:/\n4:memory:/api/7dde\n3:cpuset:/\n0::/",
            {"memory": "/sys/fs/cgroup/memory/api/7dde", "freezer": "/sys/fs/cgroup/freezer"}
            | {"": "/sys/fs/cgroup/unified"},
        ),
        ([IN_DOCKER], "4:memory:/docker/abc", {"memory": "/sys/fs/cgroup/memory"}),
        ([IN_DOCKER], "4:memory:/docker/abc/own", {"memory": "/sys/fs/cgroup/memory/own"}),
        ([IN_DOCKER], "4:memory:/docker/abcdef", {}),
        ([V2], "0::/../elsewhere", {}),
        ([], "0::/", {}),
        (["22 1 0:20 / /sys rw - sysfs sysfs rw"], "1:name=systemd:/a:b", {}),
    ],
)
def test_own_groups_are_found(mounts: list[str], cgroup: str, expected: dict[str, str]) -> None:
    """By the kernel's two files the own group of each controller is found, where it can be seen at all."""
    assert own_groups("\n".join(mounts), cgroup) == {name: Path(path) for name, path in expected.items()}
