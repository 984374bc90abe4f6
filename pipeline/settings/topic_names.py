"""Names of topics that stand for several: request topics by a pattern, and templates of what belongs to each. Pure.

A pattern is a request topic that begins with ``^``. It is matched against whole names, and may be written in that part
of regular expressions alone which librdkafka (POSIX), the broker (RE2) and Python read alike.
"""

from __future__ import annotations

import re
from typing import Final

PLACEHOLDER: Final = "{request_topic}"

_LITERAL: Final = r"[A-Za-z0-9_-]|\\[^A-Za-z0-9]"
_PART: Final = re.compile(rf"{_LITERAL}|\[[^\]]*\]|.", re.DOTALL)
_QUANTIFIERS: Final = "*+?{"
# What the three dialects read differently, and why.
_NOT_ALIKE: Final = (
    (r"\\[A-Za-z0-9]", "classes such as \\d are not; write [0-9]"),
    (r"\(\?", "groups that begin with (? are not"),
    (r"\[\[|\[:", "classes such as [[:alpha:]] are not"),
    (r"[*+?}][*+?{]", "a quantifier after a quantifier is not"),
    (r"(?<!\[)\^|\$", "an anchor inside is not; the whole name is matched anyway"),
    (r"[\s,]", "no topic has a space or a comma in its name, except in {1,2}"),
)


def is_pattern(topic: str) -> bool:
    """Whether a request topic stands for every topic that it matches."""
    return topic.startswith("^")


def regex(pattern: str) -> str:
    """Return the pattern as librdkafka's ``subscribe`` and ``re`` take it: anchored at both ends."""
    return f"^({_inner(pattern)})$"


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic's whole name matches; Kafka's own topics, which begin with ``__``, never do."""
    return not topic.startswith("__") and re.fullmatch(_inner(pattern), topic) is not None


def fill(template: str, request_topic: str) -> str:
    """Return the name that a template has for one request topic; a name without a placeholder is itself."""
    return template.replace(PLACEHOLDER, request_topic)


def reason_against(pattern: str) -> str:
    """Return why a pattern can not be used, or an empty text."""
    inner = _inner(pattern)
    for wrong, why in _NOT_ALIKE:
        if re.search(wrong, re.sub(r"\{\d*,\d*\}", "", inner)):
            return f"Kafka's clients and brokers do not read it alike: {why}"
    try:
        re.compile(inner)
    except re.error as error:
        return f"it is no regular expression: {error}"
    return "" if inner else "it is empty"


def may_match_filled(pattern: str, template: str) -> bool:
    r"""Whether the pattern may match what the template makes of a topic that it matches; only False is sure.

    ``^orders\..*\.requests`` can not match what ``{request_topic}.results`` makes: whatever it matches ends with
    ``.requests``. (Nor where the beginnings tell the two apart.)
    """
    if PLACEHOLDER not in template:
        return matches(pattern, template)
    head, tail = _literal_ends(_inner(pattern))
    before, _, after = template.partition(PLACEHOLDER)
    after = fill(after, head + tail)
    is_told_by_tail = bool(tail) and not (tail + after).endswith(tail)
    is_told_by_head = bool(head) and not (before + head).startswith(head)
    return not (is_told_by_tail or is_told_by_head)


def _inner(pattern: str) -> str:
    return pattern.removeprefix("^").removesuffix("$") if not pattern.endswith("\\$") else pattern.removeprefix("^")


def _literal_ends(inner: str) -> tuple[str, str]:
    """Return what every match begins and ends with, as far as it is written out."""
    parts = _PART.findall(inner)
    depth = 0
    for part in parts:
        depth += (part == "(") - (part == ")")
        if part == "|" and not depth:
            return "", ""
    is_literal = [re.fullmatch(_LITERAL, part) is not None for part in parts]
    first_other = is_literal.index(False) if False in is_literal else len(parts)
    last_other = len(parts) - is_literal[::-1].index(False) if False in is_literal else 0
    # A quantifier belongs to the literal before it.
    is_quantified = first_other < len(parts) and parts[first_other] in _QUANTIFIERS
    head = parts[: first_other - is_quantified]
    return "".join(part[-1] for part in head), "".join(part[-1] for part in parts[last_other:])
