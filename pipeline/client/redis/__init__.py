"""The client over Redis."""
