"""The connectors that come with Penstock, each found by entry point ``penstock.connectors``."""
