"""The data path between a connector and the registry: from records to answers."""
