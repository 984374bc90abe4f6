"""Pipelines of servables: pre-processing, model and post-processing as one servable with one version."""

from pipeline.servables.pipeline.adapter import PipelineAdapter

__all__ = ["PipelineAdapter"]
