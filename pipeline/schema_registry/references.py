"""What a registered schema refers to in other subjects."""

from __future__ import annotations

from typing import Final, Protocol

from pipeline.schema_registry.client import Registered

_DEEPEST: Final = 16


class Versions(Protocol):
    """Has the versions of subjects; see RegistryClient."""

    def version(self, subject: str, version: int | str = "latest") -> Registered | None:
        """Return one version of a subject."""
        ...


def texts_of(registry: Versions, registered: Registered, depth: int = 0) -> list[str]:
    """Return the texts of all that a schema refers to, however deep. Blocks where there are references.

    Raises ValueError where one is missing, ConnectorError where the registry does not answer.
    """
    if depth > _DEEPEST:
        raise ValueError(f"has references of references, more than {_DEEPEST} deep")
    texts: list[str] = []
    for subject, version in registered.references:
        found = registry.version(subject, version)
        if found is None:
            raise ValueError(f"refers to version {version} of {subject}, which is not in the registry")
        texts += [found.text, *texts_of(registry, found, depth + 1)]
    return texts
