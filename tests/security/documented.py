"""The ACLs of docs/security.md, with the names that a deployment's settings have."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
_ROW = re.compile(r"^\| (topic|group|transactional-id) \| `([^`]+)` \| (\w+) \|", re.MULTILINE)

Acl = tuple[str, str, str]


def acls(role: str, settings: Settings, route: str = "") -> list[Acl]:
    """Return the rows of a role's first table; names are those of the settings, and of one route where there is one.

    A worker whose route has exactly-once needs those of its second table, too.
    """
    section = PAGE.read_text().partition(f"\n### {role}\n")[2].partition("\n### ")[0]
    is_all = role == "Worker" and route and settings.routes[route].guarantee == "exactly_once"
    table = section if is_all else section.strip().partition("\n\n")[0]
    names = {"aspired_topic": settings.control.aspired_topic, "states_topic": settings.control.states_topic}
    if route:
        of_route = settings.routes[route]
        names |= {name: getattr(of_route, name) for name in
                  ("request_topic", "result_topic", "dead_letter_topic", "group")}  # fmt: skip
    return [(kind, names.get(name.strip("<>"), name), operation) for kind, name, operation in _ROW.findall(table)]
