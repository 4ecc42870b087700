"""An alias that moves every second under load: none fails, and every answer is what its stated digest gives."""

import threading
from pathlib import Path

import numpy as np

from adapterhub.bases.load import Base
from adapterhub.registry import Registry
from adapterhub.runtime.config import RuntimeConfig
from adapterhub.runtime.engine import Runtime
from benchmarks.http_load import Reply, closed_loop, request_of
from benchmarks.report import Figure
from benchmarks.serve_process import ServerProcess

NAME, ALIAS = "moving/target", "live"
N_TEXTS = 8
TOLERANCE = 0.02
"""Of a score: in bfloat16 the other rows of a pass change it by rounding."""
_MOVE_S = 1.0


def moving_alias(server: ServerProcess, registry: Registry, folders: list[Path], base: Base,
                 seconds: float) -> list[Figure]:
    """Move an alias between two versions, every second, and compare every answer with the engine's for its digest."""
    versions = [registry.publish(folder, NAME) for folder in folders]
    registry.promote(versions[0].reference, ALIAS)
    texts = [f"my card number {i} has not arrived" for i in range(N_TEXTS)]
    engine = Runtime(base, registry, config=RuntimeConfig())
    expected = {version.digest: {text: answer.result for text, answer in
                                 zip(texts, engine.predict([(version.pinned, text) for text in texts]), strict=True)}
                for version in versions}
    engine.close()
    is_over, moves = threading.Event(), [0]

    def move() -> None:
        while not is_over.wait(_MOVE_S):
            moves[0] += 1
            registry.promote(versions[moves[0] % 2].reference, ALIAS)
    mover = threading.Thread(target=move)
    mover.start()
    rows = [{"adapter": f"{NAME}@{ALIAS}", "text": text} for text in texts]
    load = closed_loop(server.url, lambda: request_of("/v1/predict", {"rows": rows}), n_connections=8, seconds=seconds)
    is_over.set()
    mover.join()
    failed = [reply for reply in load.replies if reply.status != 200 or reply.json["n_failed"]]
    wrong = sum(_n_wrong(reply, texts, expected) for reply in load.answered)
    seen = {answer["digest"] for reply in load.answered for answer in reply.json["answers"]}
    return [Figure(name="requests while an alias moved", value=len(load.replies), unit="requests",
                   note=f"{moves[0]} moves"),
            Figure(name="requests that failed meanwhile", value=len(failed), unit="requests", at_most=0),
            Figure(name="answers that their digest does not give", value=wrong, unit="rows", at_most=0),
            Figure(name="versions seen", value=len(seen), unit="versions", at_least=2)]


def _n_wrong(reply: Reply, texts: list[str], expected: dict[str, dict[str, dict[str, float]]]) -> int:
    answers = reply.json["answers"]
    return sum(not np.isclose(answer["result"]["score"], expected[answer["digest"]][text]["score"], atol=TOLERANCE)
               for answer, text in zip(answers, texts, strict=True))
