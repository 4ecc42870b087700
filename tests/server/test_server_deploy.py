"""What deploy/ states is what the command takes: options, ports, places."""

import configparser
import re
import shlex
from pathlib import Path

from adapterhub.cli.main import main

DEPLOY = Path(__file__).parents[2] / "deploy"


def options_in(command: list[str]) -> set[str]:
    return {part for part in command if part.startswith("--")}


def known_options() -> set[str]:
    return {option for parameter in main.commands["serve"].params for option in parameter.opts}


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / name)
    return parser


def test_unit_starts_the_command_with_options_that_it_has() -> None:
    command = shlex.split(unit("adapterhub.service")["Service"]["ExecStart"])
    assert command[0].endswith("/adapterhub")
    assert command[1] == "serve"
    assert options_in(command) <= known_options()


def test_unit_gives_the_drain_the_time_that_it_takes() -> None:
    service = unit("adapterhub.service")["Service"]
    drain_s = int(re.findall(r"--drain (\d+)", service["ExecStart"])[0])
    assert int(service["TimeoutStopSec"]) > drain_s
    assert service["KillSignal"] == "SIGTERM"


def test_socket_is_the_services_own() -> None:
    assert "adapterhub.socket" in unit("adapterhub.service")["Unit"]["Requires"]
    assert unit("adapterhub.socket")["Socket"]["ListenStream"].startswith("127.0.0.1:")


def test_container_runs_the_command_on_the_port_that_it_shows() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    command = re.findall(r'"([^"]+)"', re.findall(r"^CMD (.*)$", text, flags=re.MULTILINE)[-1])
    assert command[:2] == ["adapterhub", "serve"]
    assert options_in(command) <= known_options()
    port = command[command.index("--port") + 1]
    assert f"EXPOSE {port}" in text
    assert f"127.0.0.1:{port}/readyz" in text
    for copied in re.findall(r"^COPY (.*) \S+$", text, flags=re.MULTILINE):
        assert all((DEPLOY.parent / name).exists() for name in copied.split())
