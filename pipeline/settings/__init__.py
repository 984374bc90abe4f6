"""Settings: ``penstock.yaml`` and ``PENSTOCK_*`` variables, checked once, then frozen. Units are in the names.

``load`` is the only way in. Every mistake is an InvalidSettings that names the place. docs/settings.md describes each
field; a test compares the two.
"""

from pipeline.settings.circuit import CircuitSettings
from pipeline.settings.cluster_serving import ClusterServingSettings
from pipeline.settings.dead_letters import DeadLetterSettings
from pipeline.settings.header_names import BINARY_PARTITION, HeaderNames
from pipeline.settings.reading import FILE_NAME, Settings, at_address, file_of, load, misspelt, to_text
from pipeline.settings.redis import RedisRouteSettings, RedisSettings
from pipeline.settings.routes import RouteSettings
from pipeline.settings.schema_registry import SchemaRegistrySettings, check_schema_registry
from pipeline.settings.section import Checked, Scalar, Section, checked
from pipeline.settings.streams import BatchingSettings, StreamSettings, VersionPolicy, WarmUpSettings
from pipeline.settings.topics import TopicSettings
from pipeline.settings.watch import ControlSettings, WatchSettings
from pipeline.settings.worker import HIGHEST_NICENESS, WorkerSettings

__all__ = [
    "BINARY_PARTITION",
    "FILE_NAME",
    "HIGHEST_NICENESS",
    "BatchingSettings",
    "Checked",
    "CircuitSettings",
    "ClusterServingSettings",
    "ControlSettings",
    "DeadLetterSettings",
    "HeaderNames",
    "RedisRouteSettings",
    "RedisSettings",
    "RouteSettings",
    "Scalar",
    "SchemaRegistrySettings",
    "Section",
    "Settings",
    "StreamSettings",
    "TopicSettings",
    "VersionPolicy",
    "WarmUpSettings",
    "WatchSettings",
    "WorkerSettings",
    "at_address",
    "check_schema_registry",
    "checked",
    "file_of",
    "load",
    "misspelt",
    "to_text",
]
