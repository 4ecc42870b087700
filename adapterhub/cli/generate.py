"""`generate`: a prompt is gone on with as it is written, or a file whose rows each name their own adapter."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from adapterhub.cli.output import guarded, json_option, print_json, registry_option
from adapterhub.cli.predict import RequestRow, read_request_rows

if TYPE_CHECKING:
    from adapterhub.runtime.generation.engine import Generator
    from adapterhub.runtime.generation.settings import GenerationSettings
    from adapterhub.runtime.generation.stream import TokenStream


@click.command(epilog="Example: adapterhub generate --base models/llama stories/dragons 'Once upon a time'   or   "
               "adapterhub generate --base models/llama --file rows.jsonl > answers.jsonl")
@click.argument("reference", required=False)
@click.argument("prompt", required=False)
@click.option("--base", required=True, metavar="DIR", help="The language model: a local folder, or a Hub id.")
@click.option("--file", "path", metavar="FILE", help="JSON lines such as {\"adapter\": \"stories/dragons\", "
              "\"prompt\": \"Once upon a time\"} or with chat \"messages\", - for standard input; REFERENCE is for "
              "rows that name none. One line of JSON comes out per row, in their order.")
@click.option("--max-new-tokens", type=int, default=64, show_default=True, help="End a row after this many.")
@click.option("--temperature", type=float, default=0.0, show_default=True,
              help="0 takes the likeliest token; above it tokens are drawn, the flatter the higher.")
@click.option("--top-p", type=float, default=1.0, show_default=True,
              help="Draw among the likeliest tokens that together have this probability.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of each row's own draws.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End a row before this text; may be given several times.")
@json_option
@registry_option
@guarded
def generate(reference: str | None, prompt: str | None, base: str, path: str | None, max_new_tokens: int,
             temperature: float, top_p: float, seed: int, stop: tuple[str, ...], as_json: bool,
             place: str | None) -> None:
    """Write text with a language model and an adapter, or with an adapter for each row of a file.

    REFERENCE is namespace/name, or ./folder for an adapter that is not published. Text comes out as it is written.
    """
    if path is None and (reference is None or prompt is None):
        raise click.UsageError("Give an adapter and a prompt, or --file.")
    if path is not None and prompt is not None:
        raise click.UsageError("Give a prompt or --file, not both.")
    from adapterhub.cli.places import open_places
    from adapterhub.progress import waiting
    from adapterhub.registry import WithFolders
    from adapterhub.runtime.generation.settings import GenerationSettings

    settings = GenerationSettings(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed,
                                  stop_strings=stop)
    rows = (read_request_rows(path, reference, field="prompt") if path is not None
            else [RequestRow(place="the prompt", adapter=reference or "", row=prompt)])
    registries, places = open_places(place)
    for name in dict.fromkeys(row.adapter for row in rows):
        WithFolders(registries).resolve(name)  # a wrong name is told before torch is loaded
    with waiting("loading the base"):
        from adapterhub.runtime.generation.engine import Generator

        generator = Generator(base, registries, settings=places)
        streams = _submit_all(generator, rows, settings)
    if path is None and not as_json:
        _write_text(streams[0])
        return
    for stream in streams:
        print_json(stream.result().to_dict())


def _submit_all(generator: "Generator", rows: Sequence[RequestRow],
                settings: "GenerationSettings") -> list["TokenStream"]:
    """Load every adapter and read every prompt, so that a fault is told before the first answer.

    Raises what `Generator.load` raises; PredictionError with the row's place.
    """
    from adapterhub.errors import AdapterHubError, PredictionError

    for name in dict.fromkeys(row.adapter for row in rows):
        generator.load(name)
    streams = []
    for row in rows:
        try:
            streams.append(generator.submit(row.adapter, row.row, settings))
        except AdapterHubError as error:
            raise PredictionError(f"{row.place}: {error.message}", hint=error.hint) from error
    return streams


def _write_text(stream: "TokenStream") -> None:
    """Print pieces as they come, and end the line; who reads may close the pipe in between."""
    for piece in stream:
        sys.stdout.write(piece.text)
        sys.stdout.flush()
    sys.stdout.write("\n")
