"""``penstock topics``: the topics that are needed, and those that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options, output
from pipeline.commands.examples import CommandWithExamples

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from pipeline.control.topic_admin import TopicReport

# The worse one is the greater one.
_STATUS = {True: "problem", False: "note"}


@click.command(
    cls=CommandWithExamples,
    short_help="Compare and create the topics that are needed.",
    examples=("penstock topics --create --partitions 8 --replication-factor 3",),
)
@options.settings_options
@click.option("--create", is_flag=True, help="Create the topics that are missing; the others stay as they are.")
@click.option(
    "--partitions",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Partitions of the topics of routes that are created; the control topics have one.",
)
@click.option(
    "--replication-factor",
    type=click.IntRange(1),
    help="Copies of each partition.  [default: what the broker defaults to]",
)
@options.json_option
def topics(
    config: Path | None,
    bootstrap: str | None,
    create: bool,  # noqa: FBT001  # click passes options by name
    partitions: int,
    replication_factor: int | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Compare the topics that the settings need with those that exist, and create those that are missing.

    Exit status 1 where something is wrong in the end.
    """
    settings = options.load(config, bootstrap)
    from pipeline.control import topic_admin  # noqa: PLC0415  # loads Kafka's client
    from pipeline.control.topics import wanted  # noqa: PLC0415

    specs = wanted(settings)
    created = (
        topic_admin.create_missing(settings.kafka, specs, partitions, replication_factor or topic_admin.BROKER_DEFAULT)
        if create
        else []
    )
    reports = topic_admin.inspect(settings.kafka, specs)
    if as_json:
        output.print_json([_as_dict(report, created) for report in reports])
    else:
        _print(reports, created)
    if any(finding.is_problem for report in reports for finding in report.findings):
        click.get_current_context().exit(1)


def _as_dict(report: TopicReport, created: Collection[str]) -> dict[str, Any]:
    described = report.described
    return {
        "topic": report.spec.name,
        "purpose": report.spec.purpose,
        "exists": described is not None,
        "created": report.spec.name in created,
        "partitions": described and described.partitions,
        "replication": described and described.replication,
        "cleanup": described and described.config.get("cleanup.policy"),
        "findings": report.findings,
    }


def _print(reports: Sequence[TopicReport], created: Collection[str]) -> None:
    rows = []
    for report in reports:
        spec, described = report.spec, report.described
        status = max((_STATUS[finding.is_problem] for finding in report.findings), default="ok")
        shape = (str(described.partitions), described.config.get("cleanup.policy", "")) if described else ("-", "-")
        found = "; ".join(finding.reason for finding in report.findings) or ("created" if spec.name in created else "")
        rows.append((status, spec.name, spec.purpose, *shape, found))
    output.print_table(("", "topic", "for", "partitions", "cleanup", "found"), rows)
    output.print_next_steps((finding.topic, finding.next_step) for report in reports for finding in report.findings)
