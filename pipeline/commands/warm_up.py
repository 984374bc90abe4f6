"""``penstock warm-up``: the requests that a version answers before it is served."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.commands import options, output, warm_up_rows
from pipeline.commands.examples import CommandWithExamples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.commands.local_version import LocalVersion
    from pipeline.records import WarmUp
    from pipeline.warm_up.run import Verdict

F = TypeVar("F", bound=Callable[..., Any])


@click.group("warm-up", short_help="Write, show and check the requests that a version answers first.")
def warm_up() -> None:
    """Write, show and check warm-up.avro of a version: the requests that it answers before it is served.

    A golden request has expected outputs; a version that answers otherwise is never served.
    """


version_dir = click.argument("version_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))


def load_options(function: F) -> F:
    """Add what says how the version is loaded; the command passes it on to ``_version``."""
    servable = click.option(
        "--servable", help="Whose settings the version has.  [default: the servable whose base path holds VERSION_DIR]"
    )
    kind = click.option("--kind", help="Kind of servable, instead of what the settings or the files say.")
    kind_options = click.option(
        "--options", "kind_options", metavar="JSON", help="The kind's own options, instead of those of the settings."
    )
    return options.settings_options(servable(kind(kind_options(function))))


@warm_up.command(
    cls=CommandWithExamples,
    examples=(
        "penstock warm-up write models/digits/3 @image.npy --golden",
        "penstock warm-up write models/digits/3 @image.npy --expected @scores.npy --atol 0.001",
        "penstock warm-up write models/digits/3 @image.npy --batch-size 8 --batch-size 64 --append",
    ),
)
@version_dir
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option("--expected", metavar="FILE", multiple=True, help="The outputs of an INPUT; one for each, in order.")
@click.option("--golden", is_flag=True, help="Expect what the version itself answers now.")
@click.option("--rtol", type=float, help="Relative tolerance.  [default: 0.001 for FP datatypes, else 0]")
@click.option("--atol", type=float, help="Absolute tolerance.  [default: 0.00001 for FP datatypes, else 0]")
@click.option("--description", default="", help="What the requests stand for; shown where one fails.")
@click.option("--signature", default="", help="Signature of the servable, instead of serving_default.")
@click.option("--iterations", type=int, default=1, show_default=True, help="How often each request is answered.")
@click.option("--batch-size", "batch_sizes", type=int, multiple=True, help="Answer it at this many rows too.")
@click.option("--datatype", "datatypes", metavar="[TENSOR=]DATATYPE", multiple=True, help="As in `penstock predict`.")
@click.option(
    "--expected-datatype", "expected_datatypes", metavar="[TENSOR=]DATATYPE", multiple=True, help="The same of FILE."
)
@click.option("--append", is_flag=True, help="Keep the requests that are there, instead of replacing the file.")
@load_options
def write(
    version_dir: Path,
    inputs: tuple[str, ...],
    expected: tuple[str, ...],
    golden: bool,
    datatypes: tuple[str, ...],
    expected_datatypes: tuple[str, ...],
    append: bool,
    config: Path | None,
    bootstrap: str | None,
    servable: str | None,
    kind: str | None,
    kind_options: str | None,
    **fields: Any,
) -> None:
    """Write a request of each INPUT into VERSION_DIR/warm-up.avro.

    INPUT and FILE are JSON, the path of a JSON, .npy or .npz file, or - for stdin, as in `penstock predict`; what
    `penstock predict --json` printed is understood as FILE. Without --expected and --golden the requests only warm up.
    """
    if golden and expected:
        raise click.UsageError("--golden and --expected exclude each other")
    if expected and len(expected) != len(inputs):
        raise click.UsageError(f"{len(inputs)} INPUT and {len(expected)} --expected: give one for each")
    from pipeline.commands import warm_up_input
    from pipeline.warm_up import file

    records = warm_up_input.records(inputs, datatypes, expected, expected_datatypes, fields)
    if golden:
        records = _golden(_version(version_dir, config, bootstrap, servable, kind, kind_options), records)
    kept = file.read(version_dir) if append else ()
    path = file.write(version_dir, [*kept, *records])
    click.echo(f"{path}: {len(kept) + len(records)} requests")


@warm_up.command(cls=CommandWithExamples, examples=("penstock warm-up show models/digits/3",))
@version_dir
@options.json_option
def show(version_dir: Path, as_json: bool) -> None:
    """Show the requests in VERSION_DIR/warm-up.avro."""
    from pipeline.warm_up import file

    rows = [warm_up_rows.of_record(position, record) for position, record in enumerate(file.read(version_dir))]
    if as_json:
        output.print_json(rows)
    elif rows:
        output.print_table(tuple(rows[0]), map(warm_up_rows.cells, rows))
    else:
        click.echo(f"{version_dir} has no {file.FILE_NAME}", err=True)


@warm_up.command(cls=CommandWithExamples, examples=("penstock warm-up check models/digits/3",))
@version_dir
@load_options
@options.json_option
def check(
    version_dir: Path,
    config: Path | None,
    bootstrap: str | None,
    servable: str | None,
    kind: str | None,
    kind_options: str | None,
    as_json: bool,
) -> None:
    """Load VERSION_DIR here as a worker would, have it answer all of its requests, and unload it.

    Exit status 1 where a worker would refuse the version. For CI, before the directory is published.
    """
    version = _version(version_dir, config, bootstrap, servable, kind, kind_options)
    from pipeline.warm_up import file, gate

    records = file.read(version_dir)
    gate.check_required(version.id, records, version.warm_up)
    verdicts = _verdicts(version, records)
    if as_json:
        output.print_json([warm_up_rows.of_verdict(verdict, duration_ms) for verdict, duration_ms in verdicts])
    elif records:
        rows = [warm_up_rows.of_verdict(verdict, duration_ms) for verdict, duration_ms in verdicts]
        output.print_table(tuple(rows[0]), map(warm_up_rows.cells, rows))
    else:
        click.echo(f"{version.id} loads; it has no {file.FILE_NAME}", err=True)
    if any(gate.is_fatal(verdict, version.warm_up) for verdict, _ in verdicts):
        click.get_current_context().exit(1)


def _version(
    path: Path,
    config: Path | None,
    bootstrap: str | None,
    servable: str | None,
    kind: str | None,
    kind_options: str | None,
) -> LocalVersion:
    from pipeline.commands.local_version import LocalVersion, parse_options

    return LocalVersion(path, options.load(config, bootstrap), servable, kind, parse_options(kind_options))


def _golden(version: LocalVersion, records: Sequence[WarmUp]) -> list[WarmUp]:
    """Return the records with what the version answers now as expected outputs."""
    import msgspec

    from pipeline.warm_up.run import predict

    with version.loaded() as servable:
        return [
            msgspec.structs.replace(
                record, expected=predict(version.id, servable, record.signature, record.inputs, version.batching)
            )
            for record in records
        ]


def _verdicts(version: LocalVersion, records: Sequence[WarmUp]) -> list[tuple[Verdict, float]]:
    """Return the verdict of each record with its duration in milliseconds."""
    from pipeline.warm_up.run import run

    found = []
    with version.loaded() as servable:
        began_s = time.perf_counter()
        for verdict in run(version.id, servable, records, version.batching):
            ended_s = time.perf_counter()
            found.append((verdict, (ended_s - began_s) * 1000))
            began_s = ended_s
    return found
