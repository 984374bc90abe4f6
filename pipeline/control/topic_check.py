"""What a worker does about its topics at its start: it says what is doubtful, and does not run on what is dangerous."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipeline.control import topic_reports
from pipeline.control.topic_findings import Finding
from pipeline.errors import ConnectorError, WrongTopic

if TYPE_CHECKING:
    from pipeline.settings import Settings

log = logging.getLogger(__name__)

_TIMEOUT_S = 3.0


class TopicCheck:
    """Looks at the topics once: ``step`` it, about once a second, until it returns True.

    A broker that is away is asked again, and not talked about: whoever needs it says so. Each finding is logged once.
    """

    def __init__(
        self, settings: Settings, look: Callable[[Settings, float], Sequence[Finding]] = topic_reports.findings
    ) -> None:
        self._settings, self._look = settings, look

    def step(self) -> bool:
        """Return whether there is nothing left to do. Blocks for seconds; raises WrongTopic for what is dangerous."""
        try:
            findings = self._look(self._settings, _TIMEOUT_S)
        except ConnectorError as error:
            log.debug("the topics are looked at later: %s", error)
            return False
        for finding in findings:
            level = logging.WARNING if finding.is_problem else logging.INFO
            log.log(level, "topic %s: %s; next: %s", finding.topic, finding.reason, finding.next_step)
        for finding in findings:
            if finding.is_dangerous:
                raise WrongTopic(finding.topic, finding.reason, finding.next_step)
        return True
