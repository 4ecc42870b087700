"""OpenAI's form for what an encoder does: `/v1/models` and `/v1/embeddings`; `model` is an adapter's reference."""

import asyncio
import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from adapterhub.registry import Listing
from adapterhub.server.asking import answered, caller_with, note, version_headers
from adapterhub.server.errors import BadRequest
from adapterhub.server.house import House
from adapterhub.server.replies import OpenAIError, json_reply, refusals
from adapterhub.server.service import Caller, RowOutcome

Text = Annotated[str, Field(min_length=1)]
"""Token ids, which OpenAI takes too, are not read."""


class ModelBody(BaseModel):
    """The base, or one adapter."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    task: str | None = None
    version: str | None = None
    digest: str | None = None


class ModelList(BaseModel):
    """The base and the adapters there are."""

    object: Literal["list"] = "list"
    data: list[ModelBody]


class EmbeddingRequest(BaseModel):
    """Texts, and the adapter that embeds them."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [
        {"model": "medical/medquad", "input": ["what helps against a cold?", "rest and plenty of water"]}]})

    model: Annotated[str, Field(min_length=1, max_length=300)]
    input: Text | Annotated[list[Text], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, description="Taken where it is the size that the base gives.")
    user: str | None = Field(None, description="Taken, and without meaning here.")

    def texts(self) -> list[str]:
        """Return the texts."""
        return [self.input] if isinstance(self.input, str) else self.input


class EmbeddingBody(BaseModel):
    """One text's unit vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    id: str


class EmbeddingUsage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """The vectors in the order of the texts, and which version gave them."""

    object: Literal["list"] = "list"
    data: list[EmbeddingBody]
    model: str
    version: str | None
    digest: str | None
    usage: EmbeddingUsage


def openai_routes(house: House) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["openai"], responses=refusals(OpenAIError))

    @router.get("/v1/models", summary="List the base and the adapters")
    async def list_models(caller: Annotated[Caller, caller_with("predict")]) -> ModelList:
        """Adapters by their latest version; only those of the token's namespaces."""
        listings = await house.catalogue.listings(caller.holder)
        return ModelList(data=[_base(house), *map(_adapter, listings)])

    @router.get("/v1/models/{model:path}", summary="Say what one model is")
    async def show_model(model: Annotated[str, Path(examples=["support/banking77"])],
                         caller: Annotated[Caller, caller_with("predict")]) -> ModelBody:
        """A reference with a version or an alias is answered as itself."""
        if model == house.base_id:
            return _base(house)
        version = await house.lookup.version(model, caller.holder)
        return ModelBody(id=model, created=_seconds(version.published_at), owned_by=version.path.partition("/")[0],
                         version=version.reference, digest=version.digest)

    @router.post("/v1/embeddings", response_model=EmbeddingList, summary="Embed texts")
    async def embed(request: Request, asked: EmbeddingRequest,
                    caller: Annotated[Caller, caller_with("predict")]) -> Response:
        """`model` is an adapter for sentence-similarity, or the base's own id for what the bare base gives."""
        service, texts, reference = house.require_rows(), asked.texts(), house.reference_of(asked.model)
        note(request, n_rows=len(texts))
        rows = [(reference, {"text": text}) for text in texts]
        outcomes = await answered(request, caller, service.answer(rows, caller))
        vectors = [_vector(outcome, asked.model) for outcome in outcomes]
        if asked.dimensions not in (None, len(vectors[0])):
            raise BadRequest(f"dimensions is {asked.dimensions}, this base gives {len(vectors[0])}.",
                             field="dimensions", hint="Leave it out.")
        version = outcomes[0].version
        n_tokens = await asyncio.to_thread(house.token_counter.count, texts)
        data = [{"object": "embedding", "index": i, "id": outcome.id,
                 "embedding": _encoded(vector) if asked.encoding_format == "base64" else vector}
                for i, (vector, outcome) in enumerate(zip(vectors, outcomes, strict=True))]
        return json_reply({"object": "list", "data": data, "model": asked.model,
                           "version": version.reference if version else None,
                           "digest": version.digest if version else None,
                           "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens}},
                          headers=version_headers([version]))
    return router


def _vector(outcome: RowOutcome, model: str) -> list[float]:
    result = outcome.required().result
    if "embedding" not in result:
        raise BadRequest(f"{model} does {outcome.required().task}, it embeds nothing.", field="model",
                         hint="Name an adapter for sentence-similarity, or the base.")
    vector: list[float] = result["embedding"]
    return vector


def _encoded(vector: Sequence[float]) -> str:
    """Return float32, little-endian, in base64, as OpenAI's client asks for by default."""
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


def _base(house: House) -> ModelBody:
    return ModelBody(id=house.base_id, created=0, owned_by="base")


def _adapter(listing: Listing) -> ModelBody:
    return ModelBody(id=listing.path, created=_seconds(listing.version.published_at),
                     owned_by=listing.path.partition("/")[0], task=listing.manifest.task,
                     version=listing.version.reference, digest=listing.version.digest)


def _seconds(moment: str) -> int:
    """Return a moment of ISO 8601 as seconds since 1970, which is what OpenAI's clients read."""
    return int(datetime.fromisoformat(moment).timestamp()) if moment else 0
