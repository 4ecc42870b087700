"""One process that indexes and says how much memory it took; started by the registry's benchmark."""

import re
import sys
from pathlib import Path

from adapterhub.registry import Registry
from adapterhub.registry.index import SearchIndex

if __name__ == "__main__":
    SearchIndex(Registry(sys.argv[1]).store, Path(sys.argv[2])).refresh()
    # not getrusage: its peak is inherited from the process that started this one
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found, "Linux states the peak of every process"
    print(int(found.group(1)) * 1024)
