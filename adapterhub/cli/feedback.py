"""`feedback`: what people said of a server's answers, listed, exported, counted and forgotten."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from adapterhub.cli.output import guarded, json_option, print_json, print_table
from adapterhub.errors import InvalidConfig

if TYPE_CHECKING:
    from adapterhub.feedback.forgetting import Forgotten
    from adapterhub.feedback.reading import Chosen, VersionFigures
    from adapterhub.feedback.records import Judged
    from adapterhub.feedback.store import FeedbackStore

P = ParamSpec("P")
_TIMES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z")


def place_option(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--feedback`."""
    return click.option("--feedback", "feedback_place", metavar="PLACE",
                        help="Where `adapterhub serve` keeps it: a file or a SQLAlchemy URL; default: "
                             "ADAPTERHUB_FEEDBACK, else your data folder.")(command)


def period_options(command: Callable[P, None]) -> Callable[P, None]:
    """Add `--since` and `--until`."""
    for name, what in (("until", "Before this time."), ("since", "From this time on.")):
        command = click.option(f"--{name}", type=click.DateTime(_TIMES), metavar="TIME",
                               help=f"{what} UTC, for instance 2026-11-24T09:30.")(command)
    return command


def chosen_options(command: Callable[P, None]) -> Callable[P, None]:
    """Add what chooses feedback: adapter, holder, period."""
    command = click.option("--holder", help="Id of the token that asked or said it.")(command)
    return click.option("--adapter", metavar="NAMESPACE/NAME", help="Only of this adapter's answers.")(
        period_options(command))


@click.group()
def feedback() -> None:
    """What people said of a server's answers: list, export, count or forget it."""


@feedback.command("list", epilog="Example: adapterhub feedback list --adapter support/intents")
@chosen_options
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="The newest so many.")
@place_option
@json_option
@guarded
def list_feedback(adapter: str | None, holder: str | None, since: datetime | None, until: datetime | None, limit: int,
                  feedback_place: str | None, as_json: bool) -> None:
    """List feedback, newest first."""
    from adapterhub.feedback.reading import feedback_of

    with opened_store(feedback_place) as store, store.reading() as connection:
        lines = list(feedback_of(connection, chosen_feedback(adapter, holder, since, until), n_most=limit,
                                 is_newest_first=True))
    if as_json:
        print_json([_facts(line) for line in lines])
    else:
        print_table(f"{len(lines)} of what was said, newest first",
                    ("answer", "at", "by", "version", "answered", "rating", "true label", "correction"),
                    [_cells(line) for line in lines])


@feedback.command(epilog="Example: adapterhub feedback export corrections.jsonl --as-training-rows --adapter "
                  "support/intents")
@click.argument("output", type=click.Path(path_type=Path, allow_dash=True))
@chosen_options
@click.option("--as-training-rows", is_flag=True, help="Only what says what is right, as rows to train on; for this "
              "the server must have kept the texts (--store-inputs).")
@place_option
@json_option
@guarded
def export(output: Path, adapter: str | None, holder: str | None, since: datetime | None, until: datetime | None,
           as_training_rows: bool, feedback_place: str | None, as_json: bool) -> None:
    """Write feedback as JSON lines, oldest first, with the texts that are kept; - writes to standard output."""
    from adapterhub.feedback.lessons import newest_lessons
    from adapterhub.feedback.reading import feedback_of

    with opened_store(feedback_place) as store, store.reading() as connection:
        lines = feedback_of(connection, chosen_feedback(adapter, holder, since, until))
        values = newest_lessons(lines) if as_training_rows else map(_facts, lines)
        n_lines = _write_lines(output, values)
    if as_json and str(output) != "-":
        print_json({"file": str(output), "n_rows": n_lines})
    elif str(output) != "-":
        click.echo(f"Wrote {n_lines} rows to {output}.")


@feedback.command(epilog="Example: adapterhub feedback stats --adapter support/intents --json")
@chosen_options
@place_option
@json_option
@guarded
def stats(adapter: str | None, holder: str | None, since: datetime | None, until: datetime | None,
          feedback_place: str | None, as_json: bool) -> None:
    """Count, for each version, what it answered and what people said of it."""
    from adapterhub.feedback.reading import figures_of

    with opened_store(feedback_place) as store, store.reading() as connection:
        figures = figures_of(connection, chosen_feedback(adapter, holder, since, until))
    if as_json:
        print_json([_figures(line) for line in figures])
    else:
        print_table("What was answered, and what people said of it",
                    ("version", "answers", "judged", "rate", "ratings", "mean", "true labels", "right"),
                    [(line.version or "the bare base", line.n_answers, line.n_judged,
                      f"{line.n_judged / line.n_answers:.1%}", line.n_ratings, _shown(line.mean_rating),
                      line.n_labels, _shown(line.accuracy)) for line in figures])


@feedback.command(epilog="Example: adapterhub feedback forget --holder 1f0c22ab --yes")
@click.argument("answer_id", metavar="[ID]", required=False)
@click.option("--holder", help="All that this token asked, with what was said of it, and what it said of others.")
@period_options
@click.option("--yes", is_flag=True, help="Do not ask again.")
@place_option
@json_option
@guarded
def forget(answer_id: str | None, holder: str | None, since: datetime | None, until: datetime | None, yes: bool,
           feedback_place: str | None, as_json: bool) -> None:
    """Forget one answer, a holder or a period, for good: answers, feedback and texts."""
    from adapterhub.feedback.forgetting import forget_answer, forget_holder, forget_period

    is_period = since is not None or until is not None
    if sum((answer_id is not None, holder is not None, is_period)) != 1:
        raise InvalidConfig("What to forget is one of an answer's id, a holder or a period.",
                            hint="Give ID, --holder, or --since and --until.")
    told = (f"answer {answer_id}" if answer_id else f"holder {holder}" if holder else
            f"what was answered or said from {_iso(since) or 'the beginning'} until {_iso(until) or 'now'}")
    if not yes:
        click.confirm(f"Forget {told} for good?", abort=True, err=True)
    with opened_store(feedback_place) as store:
        if answer_id is not None:
            gone = store.write(lambda connection: forget_answer(connection, answer_id))
        elif holder is not None:
            gone = store.write(lambda connection: forget_holder(connection, holder))
        else:
            start, end = _ms(since) or 0, _ms(until) or int(datetime.now(UTC).timestamp() * 1000) + 1
            gone = store.write(lambda connection: forget_period(connection, start, end))
        store.wipe()
    _tell_gone(gone, as_json=as_json)


@feedback.command(epilog="Example: adapterhub feedback expire --keep-texts 7")
@click.option("--keep-texts", "texts_days", default=30.0, show_default=True, type=click.FloatRange(min=0),
              help="Days after which texts are forgotten.")
@click.option("--keep-answers", "answers_days", default=365.0, show_default=True, type=click.FloatRange(min=0),
              help="Days after which answers and their feedback are forgotten.")
@place_option
@json_option
@guarded
def expire(texts_days: float, answers_days: float, feedback_place: str | None, as_json: bool) -> None:
    """Forget what is past its time; a running server does so by itself."""
    from adapterhub.feedback.forgetting import Retention
    from adapterhub.feedback.forgetting import expire as expire_in
    from adapterhub.feedback.records import now_ms

    retention = Retention(texts_days=texts_days, answers_days=answers_days)
    with opened_store(feedback_place) as store:
        gone = store.write(lambda connection: expire_in(connection, retention, now_ms()))
        store.wipe()
    _tell_gone(gone, as_json=as_json)


@contextmanager
def opened_store(feedback_place: str | None) -> "Iterator[FeedbackStore]":
    """Give the store that was named, or the environment's. Raises InvalidConfig, StorageError."""
    from adapterhub.extras import require_extra

    require_extra("server", ("sqlalchemy",))
    from adapterhub.feedback.place import default_place
    from adapterhub.feedback.store import FeedbackStore

    store = FeedbackStore(default_place() if feedback_place is None else feedback_place, creates=False)
    try:
        yield store
    finally:
        store.close()


def chosen_feedback(adapter: str | None, holder: str | None, since: datetime | None,
                    until: datetime | None) -> "Chosen":
    """Return what options choose. Raises InvalidReference."""
    from adapterhub.adapter.reference import parse_path
    from adapterhub.feedback.reading import Chosen

    path = None if adapter is None else parse_path(adapter).path
    return Chosen(adapter=path, holder=holder, since_ms=_ms(since), until_ms=_ms(until))


def _ms(time: datetime | None) -> int | None:
    """Return a time as milliseconds since 1970; one without a zone is UTC."""
    if time is None:
        return None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def _iso(time: datetime | None) -> str:
    return "" if time is None else time.isoformat()


def _write_lines(output: Path, values: Iterator[dict[str, Any]]) -> int:
    """Write JSON lines, a file whole or not at all, and return how many."""
    from adapterhub.files import write_atomic

    lines = [json.dumps(value, ensure_ascii=False) + "\n" for value in values]
    if str(output) == "-":
        sys.stdout.writelines(lines)
    else:
        write_atomic(output, "".join(lines).encode())  # for its owner alone, as mkstemp makes it
    return len(lines)


def _facts(line: "Judged") -> dict[str, Any]:
    from adapterhub.feedback.records import shown_time

    answer, said = line.answer, line.feedback
    return {"answer": answer.id, "answered_at": shown_time(answer.at_ms), "asked_by": answer.holder,
            "reference": answer.reference, "version": answer.version, "digest": answer.digest, "task": answer.task,
            "answered_label": answer.label, "seconds": answer.seconds, "said_at": shown_time(said.at_ms),
            "said_by": said.holder, "rating": said.rating, "label": said.label, "correction": said.correction,
            "row": line.row, "result": line.result}


def _cells(line: "Judged") -> tuple[object, ...]:
    from adapterhub.feedback.records import shown_time

    answer, said = line.answer, line.feedback
    return (answer.id, shown_time(said.at_ms), said.holder, answer.version or "the bare base", _shown(answer.label),
            _shown(said.rating), _shown(said.label), "" if said.correction is None else _shown(said.correction))


def _figures(line: "VersionFigures") -> dict[str, Any]:
    return {"version": line.version, "answers": line.n_answers, "judged": line.n_judged, "ratings": line.n_ratings,
            "mean_rating": line.mean_rating, "labels": line.n_labels, "right": line.n_right,
            "accuracy": line.accuracy}


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return ", ".join(value) if isinstance(value, tuple) else value if isinstance(value, str) else json.dumps(
        value, ensure_ascii=False)


def _tell_gone(gone: "Forgotten", *, as_json: bool) -> None:
    if as_json:
        print_json({"answers": gone.n_answers, "feedback": gone.n_feedback, "texts": gone.n_texts})
    else:
        click.echo(f"Forgot {gone.n_answers} answers, {gone.n_feedback} of what was said, {gone.n_texts} texts.")
