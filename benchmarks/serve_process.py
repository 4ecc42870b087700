"""The servers that are measured, each a process of its own: `python -m benchmarks.serve_process KIND PLACE ...`.

`ours` serves `many/adapter-N` beside a registry on disk; `one-model` is what people do today: FastAPI over one
fine-tuned transformers model, one forward pass per request.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

START_S = 300.0


@dataclass(slots=True)
class ServerProcess:
    """A running server."""

    url: str
    process: "subprocess.Popen[str]"
    seconds_to_ready: float

    def memory_bytes(self) -> int:
        """Its memory, pages that it shares counted in part (PSS)."""
        return int(psutil.Process(self.process.pid).memory_full_info().pss)


@contextmanager
def started(command: Sequence[object]) -> Iterator[ServerProcess]:
    """Run a server for a block; it is ready when its log says where it is serving."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:  # a file: nobody has to read on for it to go on writing
        process = subprocess.Popen([sys.executable, "-m", *map(str, command)], stderr=log, text=True)
        try:
            while (url := _url_in(log)) is None:
                if process.poll() is not None or time.perf_counter() - begun > START_S:
                    log.seek(0)
                    raise RuntimeError(f"{command} did not serve: {log.read()[-2000:]}")
                time.sleep(0.02)
            yield ServerProcess(url, process, time.perf_counter() - begun)
        finally:
            process.kill()
            process.wait()


def _url_in(log: IO[str]) -> str | None:
    log.seek(0)
    line = next((line for line in log if line.endswith("\n") and '"serving"' in line), None)
    return None if line is None else str(json.loads(line)["url"])


def import_seconds() -> float:
    """Return how long Python takes to import what any server of such a model imports."""
    begun = time.perf_counter()
    code = "import torch; from transformers import AutoTokenizer, BertModel"
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun


def our_server(place: Path) -> Sequence[object]:
    """Return the command of our server over the folders and the registry of a place."""
    return ("benchmarks.serve_process", "ours", place)


def one_model_server(base: Path, adapter: Path) -> Sequence[object]:
    """Return the command of a server of one full model: the base with this adapter merged into it."""
    return ("benchmarks.serve_process", "one-model", base, adapter)


def serve_ours(place: Path) -> None:
    """Serve every adapter of `place`: its folders under a thousand names, and its registry."""
    from adapterhub.costs.many import ManyAdapters
    from adapterhub.registry import Registry
    from adapterhub.runtime.config import RuntimeConfig
    from adapterhub.server.config import ServerConfig
    from adapterhub.server.listening import bind
    from adapterhub.server.run import serve
    from adapterhub.server.tokens import Tokens

    folders = sorted((place / "folders").glob("adapter-*"))
    config = ServerConfig(port=0)
    serve("embedded", ManyAdapters(folders, Registry(place / "registry")), Tokens(place / "tokens"), bind(config),
          config=config, runtime_config=RuntimeConfig(slots_bytes=8 << 30))


def serve_one_model(base: Path, adapter: Path) -> None:
    """Serve one model with its adapter merged, as a plain FastAPI application does it: float32, row by row."""
    import socket

    import torch
    import uvicorn
    from fastapi import FastAPI
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    labels = json.loads((adapter / "adapterhub.json").read_text())["labels"]
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels))
    merged = PeftModel.from_pretrained(plain, str(adapter)).merge_and_unload().eval()
    app = FastAPI()

    @app.post("/")
    def classify(row: dict[str, str]) -> dict[str, object]:
        with torch.inference_mode():
            scores = merged(**tokenizer(row["text"], return_tensors="pt")).logits.softmax(-1)[0]
        best = int(scores.argmax())
        return {"label": labels[best], "score": float(scores[best])}

    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(json.dumps({"event": "serving", "url": f"http://127.0.0.1:{listener.getsockname()[1]}"}),
              file=sys.stderr, flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        serve_ours(Path(sys.argv[2]))
    else:
        serve_one_model(Path(sys.argv[2]), Path(sys.argv[3]))
