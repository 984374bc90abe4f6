"""Schema registries as Confluent's: which schema a record was written with, and by what name ours is known there."""
