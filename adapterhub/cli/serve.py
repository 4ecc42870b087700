"""`serve`: adapters of a registry behind one port."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterhub.cli.output import base_option, guarded, registry_option
from adapterhub.errors import InvalidConfig

if TYPE_CHECKING:
    from adapterhub.server.config import FeedbackConfig
    from adapterhub.server.tracing import Tracer


@click.command(epilog="Example: adapterhub serve --base embedded --port 8000")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Where to listen; anything but loopback needs a token to be kept.")
@click.option("--port", default=8000, show_default=True,
              help="0 takes a free one, which the first line of the log names.")
@click.option("--tokens", "tokens_place", metavar="FOLDER", type=click.Path(path_type=Path),
              help="Where `adapterhub token` keeps them; default: ADAPTERHUB_TOKENS, else your data folder.")
@click.option("--certificate", type=click.Path(path_type=Path), help="PEM file; with --key it speaks TLS.")
@click.option("--key", type=click.Path(path_type=Path), help="PEM file of the certificate's key.")
@click.option("--gather-ms", default=2.0, show_default=True, help="A row waits at most so long for others.")
@click.option("--tokens-per-batch", default=2048, show_default=True, help="About so many are computed together.")
@click.option("--follow", "follow_s", default=0.5, show_default=True,
              help="Seconds after which an alias is looked up again.")
@click.option("--deadline", "deadline_s", default=30.0, show_default=True,
              help="Seconds that a request waits unless it says otherwise (X-Deadline-Ms).")
@click.option("--drain", "drain_s", default=30.0, show_default=True, help="Seconds for running requests at the end.")
@click.option("--max-body", "body_bytes", default=4 << 20, show_default=True, help="Bytes of a request.")
@click.option("--max-rows", "rows", default=512, show_default=True, help="Rows of a request.")
@click.option("--max-new-tokens", "new_tokens", default=1024, show_default=True, help="Tokens that a row may write.")
@click.option("--max-queued", "queued_rows", default=2048, show_default=True, help="Rows that may wait.")
@click.option("--slots", "slots_bytes", default=512 << 20, show_default=True,
              help="Bytes of memory for loaded adapters; past it those least worth keeping leave.")
@click.option("--rate", "rows_per_s", default=0.0, show_default=True, help="Rows per second of one token; 0: no limit.")
@click.option("--max-streams", "streams", default=64, show_default=True, help="Rows of one token that write at once.")
@click.option("--feedback", "feedback_place", metavar="PLACE",
              help="Where answers (without their texts) and what people say of them are kept: a file, a SQLAlchemy "
              "URL, or none; default: ADAPTERHUB_FEEDBACK, else your data folder.")
@click.option("--store-inputs", is_flag=True, help="Keep the texts as well, without e-mail addresses, phone and card "
              "numbers.")
@click.option("--keep-texts", "texts_days", default=30.0, show_default=True,
              help="Days after which texts are forgotten.")
@click.option("--keep-answers", "answers_days", default=365.0, show_default=True,
              help="Days after which answers and their feedback are forgotten.")
@click.option("--phone-regions", metavar="XX,YY", help="Countries whose national phone numbers are looked for.  "
              "[default: some large ones]")
@click.option("--traces", metavar="URL", help="An OpenTelemetry collector (OTLP over HTTP) that traces are sent to; "
              "default: where OTEL_EXPORTER_OTLP_ENDPOINT says.")
@base_option
@registry_option
@guarded
def serve(host: str, port: int, tokens_place: Path | None, certificate: Path | None, key: Path | None, gather_ms: float,
          tokens_per_batch: int, follow_s: float, deadline_s: float, drain_s: float, body_bytes: int, rows: int,
          new_tokens: int, queued_rows: int, rows_per_s: float, streams: int, slots_bytes: int,
          feedback_place: str | None, store_inputs: bool, texts_days: float, answers_days: float,
          phone_regions: str | None, traces: str | None, base: str, place: str | None) -> None:
    """Serve adapters over HTTP: OpenAI's and Hugging Face's forms, and rows of many adapters in one request.

    Nothing has to be loaded first: a request names its adapter. What `/docs` shows is the whole interface.
    """
    from adapterhub.cli.places import open_places
    from adapterhub.extras import require_extra

    require_extra("server", ("fastapi", "uvicorn", "prometheus_client", "orjson", "sqlalchemy", "email_validator",
                             "phonenumbers", "stdnum"))
    from adapterhub.feedback.place import default_place as feedback_default
    from adapterhub.server.config import FeedbackConfig, Limits, ServerConfig
    from adapterhub.server.listening import address_of, bind, inherited, require_tokens
    from adapterhub.server.tokens import Tokens, default_place

    limits = Limits(body_bytes=body_bytes, rows=rows, new_tokens=new_tokens, queued_rows=queued_rows,
                    rows_per_s=rows_per_s, streams=streams, deadline_s=deadline_s)
    if feedback_place == "none" and store_inputs:
        raise InvalidConfig("--store-inputs keeps texts, --feedback none keeps nothing.", hint="Give one of them.")
    regions = None if phone_regions is None else tuple(filter(None, map(str.strip, phone_regions.split(","))))
    feedback = FeedbackConfig(place=feedback_place or feedback_default(), stores_inputs=store_inputs,
                              texts_days=texts_days, answers_days=answers_days, phone_regions=regions)
    config = ServerConfig(host=host, port=port, certificate=certificate, key=key, gather_s=gather_ms / 1000,
                          tokens_per_batch=tokens_per_batch, follow_s=follow_s, drain_s=drain_s,
                          slots_bytes=slots_bytes, limits=limits,
                          feedback=None if feedback_place == "none" else feedback)
    if config.feedback is not None:
        _require_usable(config.feedback)
    registries, settings = open_places(place)
    tokens, passed_on = Tokens(tokens_place or default_place()), inherited()
    if passed_on is not None:
        host, port = address_of(passed_on)
        config = replace(config, host=host, port=port)
    require_tokens(config, tokens)
    tracer = _tracer(traces)
    with passed_on or bind(config) as listener:
        with _without_collecting():
            from adapterhub.server.run import serve as run_server

        run_server(base, registries, tokens, listener, config=config, is_inherited=passed_on is not None,
                   settings=settings, tracer=tracer)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Look for no garbage meanwhile, nor later in what is there by then: imports leave next to none.

    From start to serving took 5.9 s of processor time with looking, so 4.7 s (medians of four, in turn).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what was imported stays: no later look goes through it
        gc.enable()


def _require_usable(feedback: "FeedbackConfig") -> None:
    """Tell what is wrong with where feedback is to be kept before anything heavy is loaded."""
    from adapterhub.feedback.redact import Redactor
    from adapterhub.feedback.store import FeedbackStore

    if feedback.phone_regions is not None:
        Redactor(feedback.phone_regions)
    FeedbackStore(feedback.place).close()


def _tracer(traces: str | None) -> "Tracer | None":
    """Return what sends traces; None where nobody asks for them."""
    from adapterhub.extras import require_extra
    from adapterhub.server.tracing import open_tracer, wants_traces

    if traces is None and not wants_traces():
        return None
    require_extra("otel", ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"))
    return open_tracer(traces)
