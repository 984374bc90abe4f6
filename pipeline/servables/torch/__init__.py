"""PyTorch servables: exported programs, AOTInductor packages, TorchScript, and state dicts with a configured module."""

from pipeline.servables.torch.adapter import TorchAdapter

__all__ = ["TorchAdapter"]
