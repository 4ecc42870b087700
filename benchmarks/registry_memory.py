"""One process that indexes and says how much memory it took; started by the registry's benchmark."""

import resource
import sys
from pathlib import Path

from adapterhub.registry import Registry
from adapterhub.registry.index import SearchIndex

if __name__ == "__main__":
    SearchIndex(Registry(sys.argv[1]).store, Path(sys.argv[2])).refresh()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
