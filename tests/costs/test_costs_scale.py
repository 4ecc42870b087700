"""Disk and memory of many tasks are the measured sizes, added up."""

from adapterhub.costs.scale import ModelSizes, scale

BASE, ADAPTER, FULL = (ModelSizes(disk_bytes=disk, memory_bytes=memory) for disk, memory in
                       ((1000, 500), (10, 20), (1010, 505)))


def test_one_base_is_counted_once_and_each_whole_model_for_itself() -> None:
    lines = {line.n_tasks: line for line in scale(BASE, ADAPTER, FULL)}
    assert sorted(lines) == [1, 10, 100]
    assert lines[100].adapters == ModelSizes(disk_bytes=2000, memory_bytes=2500)
    assert lines[100].full == ModelSizes(disk_bytes=101_000, memory_bytes=50_500)


def test_one_task_costs_more_with_an_adapter_than_whole() -> None:
    line, = scale(BASE, ADAPTER, ModelSizes(disk_bytes=1000, memory_bytes=500), counts=[1])
    assert line.adapters.disk_bytes > line.full.disk_bytes
