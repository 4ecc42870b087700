"""Settings come from the environment that is handed in, with XDG folders as defaults."""

from pathlib import Path

from adapterhub.settings import Settings


def test_defaults_lie_in_the_users_folders() -> None:
    settings = Settings.from_environment({"HOME": "/home/somebody"})
    assert settings.registry == "/home/somebody/.local/share/adapterhub/registry"
    assert settings.cache == Path("/home/somebody/.cache/adapterhub")


def test_xdg_folders_are_followed() -> None:
    settings = Settings.from_environment({"HOME": "/h", "XDG_DATA_HOME": "/d", "XDG_CACHE_HOME": "/c"})
    assert (settings.registry, settings.cache) == ("/d/adapterhub/registry", Path("/c/adapterhub"))


def test_given_places_win(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    settings = Settings.from_environment({"HOME": "/h", "ADAPTERHUB_REGISTRY": "s3://bucket/x",
                                          "ADAPTERHUB_CACHE": "/cache", "ADAPTERHUB_DATA": str(tmp_path)})
    assert (settings.registry, settings.cache, settings.data) == ("s3://bucket/x", Path("/cache"), tmp_path.resolve())


def test_data_folder_without_data_is_none(tmp_path: Path) -> None:
    assert Settings.from_environment({"HOME": "/h", "ADAPTERHUB_DATA": str(tmp_path)}).data is None


def test_shipped_registry_is_found_in_a_checkout() -> None:
    assert Settings.from_environment({"HOME": "/h"}).shipped_registry is not None
