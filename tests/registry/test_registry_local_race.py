"""Writers and sweepers of one local registry: a folder that empties meanwhile is no fault."""

from pathlib import Path
from threading import Thread

from adapterhub.registry.local_place import LocalPlace


def test_folder_that_another_empties_is_made_again(tmp_path: Path) -> None:
    faults: list[BaseException] = []

    def write_and_sweep(name: str) -> None:
        place = LocalPlace(tmp_path / "registry")
        try:
            for i in range(60):
                key = f"a/b/versions/{name}{i}/claim.json"
                assert place.create(key, b"{}")
                place.delete(key)
        except BaseException as fault:
            faults.append(fault)

    threads = [Thread(target=write_and_sweep, args=(name,)) for name in "pqrs"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert LocalPlace(tmp_path / "registry").keys("a") == []
