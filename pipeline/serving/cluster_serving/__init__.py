"""Requests of Cluster Serving in the data path: they are made to fit the signature, and answered in their form."""
