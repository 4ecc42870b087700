"""`merge`, `convert` and `export`: new adapters, or a whole model, made of published ones."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from adapterhub.cli.output import guarded, json_option, print_json, registry_option
from adapterhub.cli.run_settings import column_option, parse_columns
from adapterhub.errors import InvalidConfig
from adapterhub.progress import waiting

if TYPE_CHECKING:
    from adapterhub.adapter.folder import AdapterFolder, VerifiedFiles
    from adapterhub.combining.made import Measure, Parent
    from adapterhub.registry import Registries
    from adapterhub.settings import Settings

_BASE_HELP = "embedded, a local folder, or a Hub id.  [default: what the adapter names]"


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--output`, `--publish`, `--data`, `--column` and `--base`: where a made adapter goes, how it is measured."""
    for option in reversed((
            click.option("--output", type=click.Path(path_type=Path), help="The adapter folder to write."),
            click.option("--publish", "name", metavar="NAMESPACE/NAME", help="Publish it as the next version of this."),
            click.option("--data", help="Rows with the right answers, to measure it on: a file, or a folder's test "
                         "part."),
            column_option,
            click.option("--base", help=_BASE_HELP))):
        command = option(command)
    return command


@click.command(epilog="Example: adapterhub merge support/intents@1 support/intents@2 --weights 0.7,0.3 "
               "--publish support/intents")
@click.argument("adapters", nargs=-1, required=True, metavar="ADAPTER ADAPTER ...")
@click.option("--weights", help="One number for each adapter, separated by commas.  [default: equal shares]")
@click.option("--method", default="cat", show_default=True,
              help="PEFT's combination type: cat (exact), svd (the best of its rank), linear, ties, dare_linear, ...")
@click.option("--rank", type=int, help="Of the result, for svd methods.  [default: the highest of the adapters']")
@click.option("--density", default=0.5, show_default=True, help="Share of values that ties, dare and prune methods "
              "keep.")
@click.option("--head-from", metavar="ADAPTER", help="One of them, whose task, labels and head the result has.  "
              "[default: heads averaged]")
@click.option("--seed", default=0, show_default=True)
@output_options
@registry_option
@json_option
@guarded
def merge(adapters: tuple[str, ...], weights: str | None, method: str, rank: int | None, density: float,
          head_from: str | None, seed: int, output: Path | None, name: str | None, data: str | None,
          columns: tuple[str, ...], base: str | None, place: str | None, as_json: bool) -> None:
    """Merge adapters (references or folders) of one base into a new one; how far it is from their sum is measured.

    Each is namespace/name, or ./folder for one that is not published.
    """
    from adapterhub.cli.places import adapter_folder, open_places

    registries, settings = open_places(place)
    if head_from is not None and head_from not in adapters:
        raise InvalidConfig(f"--head-from {head_from} is none of the adapters.",
                            hint=f"Give one of {', '.join(adapters)}.")
    shares = _numbers(weights) if weights else (1 / len(adapters),) * len(adapters)
    with _destination(output, name, registries) as (folder, publish):
        parents = [_parent(adapter, adapter_folder(adapter, registries)) for adapter in adapters]
        with waiting("loading torch and the base, merging"):
            from adapterhub.bases.load import load_base
            from adapterhub.combining.merge import MergeConfig
            from adapterhub.combining.merge import merge as merge_adapters

            config = MergeConfig(weights=shares, method=method, rank=rank, density=density, seed=seed,
                                 head_from=adapters.index(head_from) if head_from else None)
            opened = load_base(base or parents[0].files.manifest.base.id, cache=settings.cache)
            like = parents[config.head_from or 0].files.manifest.task
            made = merge_adapters(parents, config, opened, folder, _measure(data, columns, base, settings, like))
        _tell(made, publish(), output, as_json)


@click.command(epilog="Example: adapterhub convert ./loha-folder --rank 16 --output lora-folder")
@click.argument("adapter")
@click.option("--rank", default=16, show_default=True, help="Of the LoRA; the higher, the nearer to the original.")
@output_options
@registry_option
@json_option
@guarded
def convert(adapter: str, rank: int, output: Path | None, name: str | None, data: str | None,
            columns: tuple[str, ...], base: str | None, place: str | None, as_json: bool) -> None:
    """Make plain LoRA of an adapter (a reference or a folder) of another method, and say how near it is.

    ADAPTER is namespace/name, or ./folder for one that is not published.
    """
    from adapterhub.cli.places import open_places

    registries, settings = open_places(place)
    with _destination(output, name, registries) as (folder, publish):
        files = _files(adapter, registries)
        with waiting("loading torch and the base, converting"):
            from adapterhub.bases.load import load_base
            from adapterhub.combining.convert import convert as convert_adapter

            opened = load_base(base or files.manifest.base.id, cache=settings.cache)
            measure = _measure(data, columns, base, settings, files.manifest.task)
            made = convert_adapter(_parent(adapter, files), rank, opened, folder, measure)
        _tell(made, publish(), output, as_json)


@click.command("export", epilog="Example: adapterhub export support/banking77@production --output banking77-model")
@click.argument("adapter")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The model folder to write.")
@click.option("--base", help=_BASE_HELP)
@registry_option
@json_option
@guarded
def export_model(adapter: str, output: Path, base: str | None, place: str | None, as_json: bool) -> None:
    """Merge an adapter (a reference or a folder) into its base's weights: a whole transformers model in a folder.

    ADAPTER is namespace/name, or ./folder for one that is not published.
    """
    from adapterhub.cli.places import open_places
    from adapterhub.files import require_free

    registries, settings = open_places(place)
    require_free(output)
    parent = _parent(adapter, _files(adapter, registries))
    with waiting("loading torch and the base, merging"):
        from adapterhub.bases.load import load_base
        from adapterhub.combining.export import export

        made = export(parent, load_base(base or parent.files.manifest.base.id, cache=settings.cache), output)
    adapter_bytes = sum(map(len, parent.files.files.values()))
    if as_json:
        print_json({"folder": str(output), "adapter": parent.reference, "size_bytes": made.size_bytes,
                    "adapter_bytes": adapter_bytes, "output_difference": made.output_difference})
    else:
        click.echo(f"Wrote {output}: {made.size_bytes:,} bytes, {made.size_bytes / adapter_bytes:.0f} times the "
                   f"adapter's {adapter_bytes:,}.")
        click.echo(f"Its outputs on the probe differ by {made.output_difference:.1e} of the largest output.")


def _files(adapter: str, registries: "Registries") -> "VerifiedFiles":
    """Read an adapter of any method: a folder, or what a registry holds; one in a bucket must be of a known method."""
    from adapterhub.adapter.folder import read_files
    from adapterhub.cli.places import is_given_as_folder, telling_of_namesake

    if is_given_as_folder(adapter):
        return read_files(Path(adapter))
    with telling_of_namesake(adapter):
        version = registries.resolve(adapter)
    folder = registries.local_path(version)
    if folder is not None and (files := read_files(folder)).digest == version.digest:
        registries.confirm(version, files)
        return files
    return registries.read(version)


@contextmanager
def _destination(output: Path | None, name: str | None,
                 registries: "Registries") -> Iterator[tuple[Path, Callable[[], str | None]]]:
    """Yield the folder to write and what publishes it; both are looked at before any work is done.

    Raises InvalidConfig where neither is given; DataError where the folder is taken; InvalidReference.
    """
    from adapterhub.adapter.reference import parse_path
    from adapterhub.files import require_free

    if output is None and name is None:
        raise InvalidConfig("Neither --output nor --publish says where the adapter shall go.",
                            hint="Give --output FOLDER, --publish NAMESPACE/NAME, or both.")
    if output is not None:
        require_free(output)
    if name is not None:
        parse_path(name)
    with TemporaryDirectory() as place:
        folder = output or Path(place) / "adapter"

        def publish() -> str | None:
            return registries.publish(folder, name).reference if name else None
        yield folder, publish


def _parent(adapter: str, files: "VerifiedFiles") -> "Parent":
    from adapterhub.cli.places import is_given_as_folder
    from adapterhub.combining.made import Parent

    path = "" if is_given_as_folder(adapter) else f"{adapter.partition('@')[0]}@"
    return Parent(files=files, reference=f"{path}sha256:{files.digest}")


def _measure(data: str | None, columns: tuple[str, ...], base: str | None, settings: "Settings",
             task: str) -> "Measure | None":
    """Return what measures a made adapter on the rows, which are read once now, before the work that they come after.

    Raises DataError, InvalidConfig.
    """
    from adapterhub.data.split import read_test_rows
    from adapterhub.tasks.table import find_task

    given = parse_columns(columns)
    if data is None:
        return None
    read_test_rows(data, columns=find_task(task).columns, given=given)

    def measure(folder: "AdapterFolder") -> Any:
        from adapterhub.runtime.measure import evaluate_adapter

        return evaluate_adapter(folder, data, base=base or folder.manifest.base.id, settings=settings, columns=given)
    return measure


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidConfig(f"--weights {text!r} are no numbers.",
                            hint="Write for instance --weights 0.7,0.3.") from error


def _tell(made: "AdapterFolder", published: str | None, output: Path | None, as_json: bool) -> None:
    how = made.manifest.combination
    assert how is not None, "what is made of others says how"
    if as_json:
        print_json({"folder": str(output) if output else None, "reference": published, "digest": made.digest,
                    "rank": made.manifest.method.rank, "parents": made.manifest.parents, "method": how.method,
                    "relative_error": how.relative_error, "layer_errors": how.layer_errors,
                    "output_difference": how.output_difference,
                    "metrics": {metric.name: metric.value for metric in made.manifest.metrics}})
        return
    worst, error = max(how.layer_errors.items(), key=lambda item: item[1])
    of = "the weighted sum of the changes" if how.action == "merge" else "the original's change"
    click.echo(f"Rank {made.manifest.method.rank}, {made.manifest.method.n_parameters:,} parameters. It differs from "
               f"{of} by {how.relative_error:.2e} (relative Frobenius norm), most in {worst} ({error:.2e}).")
    if how.output_difference is not None:
        click.echo(f"Its outputs on the probe differ by {how.output_difference:.2e} of the largest output.")
    figures = ", ".join(f"{metric.name} {metric.value:.4f}" for metric in made.manifest.metrics)
    click.echo(f"Measured: {figures}." if figures else "Not measured on rows; --data does that.")
    if output:
        click.echo(f"Wrote {output}.{'' if published else f' Next: adapterhub publish {output} namespace/name'}")
    if published:
        click.echo(f"Published {published} (sha256:{made.digest[:12]}).")
