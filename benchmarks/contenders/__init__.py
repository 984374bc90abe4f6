"""Contenders, one a file: how its process is started, and, where it is not ours, the process itself."""
