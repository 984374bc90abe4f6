"""``penstock worker``: serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from pipeline.commands.examples import CommandWithExamples
from pipeline.errors import InvalidSettings

if TYPE_CHECKING:
    from pipeline.settings import Settings


@click.command(
    cls=CommandWithExamples,
    short_help="Answer requests.",
    examples=(
        "penstock worker --id worker-2 --web-port 6067",
        "penstock worker --processes 4",
        "penstock worker --cluster-serving config.yaml --dry-run > penstock.yaml",
    ),
)
@options.settings_options
@click.option("--id", "worker_id", metavar="NAME", help="Name of this worker in states and metrics.")
@click.option(
    "--web-port", type=click.IntRange(1, 65535), help="Port of the web pages; differs for workers on one host."
)
@click.option(
    "--web-host", metavar="ADDRESS", help="Where the web pages listen; 0.0.0.0 is everywhere.  [default: 127.0.0.1]"
)
@click.option("--without-web", is_flag=True, help="Serve no web pages.")
@click.option(
    "--processes",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Run so many workers, a process and a share of the cores each, with the web ports from --web-port upwards.",
)
@click.option("--watch", "is_watching", is_flag=True, help="Look for versions too, as `penstock watch` does.")
@options.log_level_option
@click.option(
    "--cluster-serving",
    "job_file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="Serve the job of a config.yaml of Cluster Serving, and look for versions of its model; the settings file is "
    "used beside it.",
)
@click.option("--dry-run", is_flag=True, help="With --cluster-serving: print the settings that it stands for, and end.")
def worker(
    config: Path | None,
    bootstrap: str | None,
    worker_id: str | None,
    web_port: int | None,
    web_host: str | None,
    without_web: bool,
    processes: int,
    is_watching: bool,
    log_level: str,
    job_file: Path | None,
    dry_run: bool,
) -> None:
    """Serve: answer the requests of every route with the versions that are aspired.

    Runs until SIGTERM or Ctrl-C, then finishes what it has begun. Exits with another status than 0 after a crash.
    Servables that are added to the settings file, or removed from it, are taken up meanwhile.
    """
    if dry_run and job_file is None:
        raise click.UsageError("--dry-run goes with --cluster-serving")
    tree: dict[str, Any] = {}
    if job_file is not None:
        tree = _job(job_file, is_dry=dry_run)
        is_watching = True
        if dry_run:
            return
    overrides: dict[str, Any] = {}
    if worker_id is not None:
        overrides["id"] = worker_id
    if web_port is not None:
        overrides["web_port"] = web_port
    if web_host is not None:
        overrides["web_host"] = web_host
    file = options.settings_file(config, bootstrap, {**tree, "worker": overrides})
    if not file.current.routes:
        raise InvalidSettings(
            "routes", "there are none to answer; add one to penstock.yaml, or name a file with --config"
        )
    if processes > 1:
        click.get_current_context().exit(_run_several(processes, file.current, is_watching=is_watching))
    from pipeline.app import run_worker

    status = run_worker(
        file, log_level=log_level.upper(), with_web=not without_web, is_watching=True if is_watching else None
    )
    click.get_current_context().exit(status)


def _run_several(count: int, settings: Settings, *, is_watching: bool) -> int:
    """Run this very command in several processes; what differs from one to the other is not passed on."""
    from pipeline.clock import SystemClock
    from pipeline.commands import worker_processes

    given = click.get_current_context().params
    arguments = ["--log-level", given["log_level"]]
    for name, option in (
        ("config", "--config"),
        ("bootstrap", "--bootstrap"),
        ("web_host", "--web-host"),
        ("job_file", "--cluster-serving"),
    ):
        if given[name] is not None:
            arguments += [option, str(given[name])]
    if given["without_web"]:
        arguments += ["--without-web"]
    options.log_to_stderr(given["log_level"])
    worker = settings.worker
    starts = worker_processes.starts(count, arguments, worker.id, worker.web_port, is_watching=is_watching)
    return worker_processes.WorkerProcesses(starts, SystemClock()).run()


def _job(file: Path, *, is_dry: bool) -> dict[str, Any]:
    """Return the settings of a job, or print them; what has no effect is said on stderr."""
    import yaml

    from pipeline.commands import cluster_serving_config, cluster_serving_model

    found = cluster_serving_config.read(file)
    stream = cluster_serving_model.stream_of(found.job, found.model_path, file, found.threads, is_dry=is_dry)
    tree = {**found.tree, "servables": {found.job: stream}, "watch": {"in_worker": True}}
    for note in found.notes:
        click.echo(f"{file}: {note}", err=True)
    if is_dry:
        click.echo(yaml.safe_dump(tree, sort_keys=False), nl=False)
    return tree
