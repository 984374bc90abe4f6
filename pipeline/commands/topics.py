"""``penstock topics``: the topics that are needed, and those that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options, output
from pipeline.commands.examples import CommandWithExamples

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.control.topic_findings import TopicReport
    from pipeline.control.topics import TopicSpec
    from pipeline.settings import Settings

# The worse one is the greater one.
_STATUS = {True: "problem", False: "note"}


@click.command(
    cls=CommandWithExamples,
    short_help="Compare, create and correct the topics that are needed.",
    examples=(
        "penstock topics --create --partitions 8 --replication-factor 3",
        "penstock topics --alter --partitions 16 --dry-run",
    ),
)
@options.settings_options
@click.option("--create", is_flag=True, help="Create the topics that are missing; the others stay as they are.")
@click.option(
    "--alter", is_flag=True, help="Correct the settings of topics that exist, and add partitions where more are asked."
)
@click.option(
    "--partitions",
    type=click.IntRange(1),
    help="Partitions of the topics of routes: of those that are created [default: 4], and with --alter at least so "
    "many of the others. The control topics have one.",
)
@click.option(
    "--replication-factor",
    type=click.IntRange(1),
    help="Copies of each partition of a topic that is created.  [default: what the broker defaults to]",
)
@click.option("--dry-run", is_flag=True, help="Say what --create and --alter would do, and do nothing.")
@options.json_option
def topics(
    config: Path | None,
    bootstrap: str | None,
    create: bool,
    alter: bool,
    partitions: int | None,
    replication_factor: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Compare the topics that the settings need with those that exist; create and correct them where that is asked.

    In Redis there is nothing to create: its streams come with use, and its own settings are looked at.
    Exit status 1 where something is wrong in the end.
    """
    if not create and not alter:
        given = [("--partitions", partitions), ("--replication-factor", replication_factor), ("--dry-run", dry_run)]
        if idle := [name for name, value in given if value]:
            raise click.UsageError(f"{' and '.join(idle)} go with --create or --alter")
    elif replication_factor and not create:
        raise click.UsageError("--replication-factor goes with --create")
    settings = options.load(config, bootstrap)
    asked = partitions if alter and partitions else 0
    reports = _inspect(settings, asked)
    missing = [report.spec for report in reports if create and report.described is None and not report.spec.is_pattern]
    if missing and not dry_run:
        from pipeline.control import topic_admin
        from pipeline.control.topics import DEFAULT_PARTITIONS

        copies = replication_factor or topic_admin.BROKER_DEFAULT
        topic_admin.create_missing(settings.kafka, missing, partitions or DEFAULT_PARTITIONS, copies)
        reports = _inspect(settings, asked)
    wrong = [found for report in reports for found in report.findings if alter and (found.fix or found.partitions)]
    if wrong and not dry_run:
        from pipeline.control import topic_admin

        topic_admin.alter(settings.kafka, wrong)
        reports = _inspect(settings, asked)
    would = "would be " if dry_run else ""
    done = {found.topic: f"{would}changed" for found in wrong} | {spec.name: f"{would}created" for spec in missing}
    if as_json:
        output.print_json([_as_dict(report, done.get(report.spec.name, "")) for report in reports])
    else:
        _print(reports, done)
    if any(finding.is_problem for report in reports for finding in report.findings):
        click.get_current_context().exit(1)


def _inspect(settings: Settings, partitions: int) -> list[TopicReport]:
    """Return the reports; the topics of routes shall have ``partitions`` at least, 0 for no matter how many."""
    import msgspec

    from pipeline.control import topic_reports

    def adjust(spec: TopicSpec) -> TopicSpec:
        if not partitions or spec.partitions is not None:
            return spec
        return msgspec.structs.replace(spec, at_least=max(spec.at_least, partitions))

    return topic_reports.inspect(settings, adjust=adjust)


def _as_dict(report: TopicReport, done: str) -> dict[str, Any]:
    described = report.described
    return {
        "topic": report.spec.name,
        "purpose": report.spec.purpose,
        "exists": described is not None,
        "created": done == "created",
        "changed": done == "changed",
        "partitions": described and described.partitions,
        "replication": described and described.replication,
        "cleanup": described and described.config.get("cleanup.policy"),
        "findings": report.findings,
    }


def _print(reports: Sequence[TopicReport], done: dict[str, str]) -> None:
    rows = []
    for report in reports:
        spec, described = report.spec, report.described
        status = max((_STATUS[finding.is_problem] for finding in report.findings), default="ok")
        shape = (
            (str(described.partitions or ""), described.config.get("cleanup.policy", "")) if described else ("-", "-")
        )
        reasons = [finding.reason for finding in report.findings]
        found = "; ".join([done[spec.name], *reasons] if spec.name in done else reasons)
        rows.append((status, spec.name, spec.purpose, *shape, found))
    output.print_table(("", "topic", "for", "partitions", "cleanup", "found"), rows)
    output.print_next_steps((finding.topic, finding.next_step) for report in reports for finding in report.findings)
