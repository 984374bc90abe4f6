"""Versions of every kind, made and asked by the frameworks themselves: nothing of ours is imported here.

A module of this package is a process: ``python -m tests.acceptance.kinds.NAME FOLDER`` writes, for each of its streams,
``FOLDER/STREAM/1``, and ``FOLDER/STREAM.npz`` with what the framework answers when it is called directly.
"""
