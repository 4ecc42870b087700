"""What somebody made to harm is refused with its reason, within a second and 200 MB, at every door."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_folders import BESIDE, INSIDE, LIMIT_BYTES, LIMIT_S

TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("door", ["publish", "verify", "load"])
def test_hostile_folder_is_refused_with_its_reason_in_little_time_and_memory(door: str, tmp_path: Path) -> None:
    paths = os.pathsep.join(map(str, (TESTS.parent, TESTS, TESTS / "registry")))
    done = subprocess.run([sys.executable, TESTS / "registry/hostile_folders.py", door, tmp_path], check=True,
                          capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    outcomes = json.loads(done.stdout)
    cases = {**INSIDE, **(BESIDE if door != "load" else {})}
    assert outcomes.keys() == cases.keys()
    wrong = {name: (kind, told[:300]) for name, (kind, told, _, _) in outcomes.items()
             if kind != "AdapterHubError" or cases[name][1] not in told or "\n" in told}
    assert wrong == {}
    assert {name: seconds for name, (*_, seconds, _) in outcomes.items() if seconds > LIMIT_S} == {}
    assert {name: megabytes for name, (*_, megabytes) in outcomes.items() if megabytes * 1e6 > LIMIT_BYTES} == {}
