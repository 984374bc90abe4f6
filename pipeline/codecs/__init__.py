"""Bytes to records and back; one codec a file, found by entry point ``penstock.codecs``."""
