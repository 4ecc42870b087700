"""What the registry's benchmark measures on is a registry like any other."""

from pathlib import Path

from adapterhub.registry import Registry
from benchmarks.registry_folders import ManyAdapters, folder_files, path_of, write_folder


def test_many_adapters_are_whole_and_resolve_by_alias(tmp_path: Path) -> None:
    ManyAdapters(tmp_path).add(range(998, 1002))
    registry = Registry(tmp_path)
    assert registry.paths() == tuple(map(path_of, range(998, 1002)))
    assert [registry.verify(f"{path}@production").version.version for path in registry.paths()] == [1] * 4


def test_large_folder_is_accepted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", folder_files(seed=1, hidden=64, n_layers=2))
    assert Registry(tmp_path / "r").publish(folder, "a/b").is_new
