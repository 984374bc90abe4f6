from __future__ import annotations

import pytest

from pipeline.registry.servable import ServableId


@pytest.fixture
def load():
    """Load one version with an adapter; everything is unloaded when the test ends."""
    loaders = []

    def load(adapter, path, **options):
        loader = adapter.loader(ServableId("m", 1), path, options)
        servable = loader.load()
        loaders.append(loader)
        return servable

    yield load
    for loader in loaders:
        loader.unload()
