"""The wire contracts: one Avro schema file per record, read with ``importlib.resources.files("schemas")``."""
