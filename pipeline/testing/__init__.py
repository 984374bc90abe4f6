"""Shipped for plugin authors: fakes that keep their contracts, and the contract suites that every plugin passes."""
