"""How much memory there is, and what does not fit."""

from __future__ import annotations

import pytest

from spikec.ir import UsageError
from spikec.runtime.memory import ALLOWED, OutOfMemory, budget, fitting, require, shown

MIB = 1 << 20


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A root with 1,000 MiB available and no control groups."""
    monkeypatch.delenv(ALLOWED, raising=False)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {1000 << 10} kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    return tmp_path


def group(folder, limit, used, reclaimable=None, names=("memory.max", "memory.current")):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    if reclaimable is not None:
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {reclaimable}\n")


def test_what_the_machine_has(machine):
    assert budget(machine) == 900 * MIB


def test_the_smallest_of_all_groups_counts(machine):
    (machine / "proc/self/cgroup").write_text("0::/pod/job\n")
    top = machine / "sys/fs/cgroup"
    group(top / "pod/job", "max", 10 * MIB)
    group(top / "pod", 500 * MIB, 300 * MIB, 100 * MIB)
    assert budget(machine) == 270 * MIB
    group(top / "pod/job", 60 * MIB, 10 * MIB)
    assert budget(machine) == 45 * MIB
    group(top / "pod/job", 60 * MIB, 70 * MIB)
    assert budget(machine) == 0


def test_groups_of_version_1(machine):
    (machine / "proc/self/cgroup").write_text("5:cpu:/x\n4:memory:/job\n")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    group(machine / "sys/fs/cgroup/memory/job", 200 * MIB, 100 * MIB, names=names)
    group(machine / "sys/fs/cgroup/memory", 2**63 - 4096, 0, names=names)
    assert budget(machine) == 90 * MIB


def test_what_the_user_allows(machine, monkeypatch):
    sizes = {"64M": 64 * MIB, "0.5 GiB": 512 * MIB, "1e6": 10**6, "9T": 900 * MIB}
    for text, size in sizes.items():
        monkeypatch.setenv(ALLOWED, text)
        assert budget(machine) == size
    for text in ("", "much", "G", "nan", "1e999"):
        monkeypatch.setenv(ALLOWED, text)
        with pytest.raises(UsageError, match="must be a size such as 8G"):
            budget(machine)


def test_the_limit_of_addresses(machine, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (300 * MIB, 300 * MIB))
    (machine / "proc/self/statm").write_text(f"{100 * MIB // resource.getpagesize()} 1 1\n")
    assert budget(machine) == 180 * MIB


def test_what_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setenv(ALLOWED, "100M")
    require(100 * MIB, "this", "less")
    with pytest.raises(OutOfMemory) as caught:
        require(3 << 30, "this", "less")
    assert str(caught.value) == (
        "this needs about 3 GiB of memory, of which 100 MiB may be used\n  hint: less"
    )


def test_as_many_samples_as_fit(monkeypatch):
    monkeypatch.setenv(ALLOWED, "100M")
    assert fitting(32, 20 * MIB, 8 * MIB, "a run", "less") == 10
    assert fitting(4, 20 * MIB, 8 * MIB, "a run", "less") == 4
    assert fitting(32, 0, 100 * MIB, "a run", "less") == 1
    with pytest.raises(OutOfMemory, match="a run of one sample needs about 101 MiB"):
        fitting(32, 1 * MIB, 100 * MIB, "a run", "less")


def test_sizes_for_people():
    assert [shown(n) for n in (0, 999, 1024, 1536, 5 << 30, 3 << 41)] == [
        "0 B", "999 B", "1 KiB", "1.5 KiB", "5 GiB", "6 TiB"
    ]  # fmt: skip
