"""Stock PEFT folders of any configuration on the tiny base, and folders as parents."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peft_folders import write_peft_folder

from adapterhub.adapter.folder import read_folder
from adapterhub.bases.load import Base, load_base
from adapterhub.combining.made import Parent
from adapterhub.settings import Settings

WriteStock = Callable[..., Path]
AsParent = Callable[[Path], Parent]


@pytest.fixture(scope="session")
def write(tiny_base_folder: Path, tiny_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> WriteStock:
    """Write a stock PEFT folder of a configuration, once for each; never to be changed."""
    place, written = tmp_path_factory.mktemp("stock"), {}

    def run(config: Any, seed: int = 0, **options: Any) -> Path:
        key = (repr(config), seed, repr(options))
        if key not in written:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                written[key] = write_peft_folder(place / str(len(written)), tiny_base_folder, tiny_settings.cache,
                                                 config, seed=seed, **options)
        return written[key]
    return run


@pytest.fixture(scope="session")
def tiny_base(tiny_base_folder: Path, tiny_settings: Settings) -> Base:
    return load_base(str(tiny_base_folder), cache=tiny_settings.cache)


@pytest.fixture(scope="session")
def parent() -> AsParent:
    """Take a folder as a parent that is not published."""
    def run(folder: Path) -> Parent:
        files = read_folder(folder)
        return Parent(files=files, reference=f"sha256:{files.digest}")
    return run
