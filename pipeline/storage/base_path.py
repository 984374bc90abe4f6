"""What a source knows of one stream from the settings: where its versions lie, and which of them are aspired."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.settings import StreamSettings, WatchSettings
from pipeline.storage.completeness import CompleteWhen, Completion
from pipeline.storage.versions import Latest, VersionPolicy, policy_of


@dataclass(frozen=True)
class BasePath:
    """The base path of one stream. With ``keep_last`` one that has no version unloads nothing."""

    stream: str
    path: str
    policy: VersionPolicy = field(default_factory=Latest)
    kind: str | None = None
    completion: Completion = field(default_factory=Completion)
    poll_interval_s: float = 0.25
    keep_last: bool = False

    @classmethod
    def of(cls, name: str, stream: StreamSettings, watch: WatchSettings) -> BasePath:
        """Return the base path of one stream; what it does not set itself is taken from ``watch``."""
        when = CompleteWhen(stream.complete_when)
        file = {CompleteWhen.MARKER: stream.marker, CompleteWhen.MANIFEST: stream.manifest}.get(when, "")
        quiet_s = watch.quiet_period_s if stream.quiet_period_s is None else stream.quiet_period_s
        poll_s = watch.poll_interval_s if stream.poll_interval_s is None else stream.poll_interval_s
        return cls(
            name,
            stream.base_path,
            policy_of(stream.versions),
            stream.kind,
            Completion(when, file, quiet_s),
            poll_s,
            stream.keep_last,
        )

    def sees_the_same(self, other: BasePath) -> bool:
        """Whether what was seen under ``other`` holds here too: the place and the completion are the same."""
        return (self.path, self.completion) == (other.path, other.completion)
