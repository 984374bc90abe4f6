"""How many inputs ONNX's operators need: a graph with fewer takes OpenVINO 2026.4 down with the whole process."""

from __future__ import annotations

from typing import Final

# By number, of all versions of the default domain; all others need one. A test compares them with the onnx package's.
_NAMES: Final = {
    0: ("Constant Optional OptionalHasElement RandomNormal RandomUniform SequenceEmpty"),
    2: (
        "Add AffineGrid And BitShift BitwiseAnd BitwiseOr BitwiseXor CastLike CausalConvWithState "
        "CenterCropPad Compress Conv ConvInteger ConvTranspose CumProd CumSum DequantizeLinear Div Equal "
        "Expand Gather GatherElements GatherND Gemm Greater GreaterOrEqual GridSample LayerNormalization Less "
        "LessOrEqual Loop MatMul MatMulInteger MaxRoiPool MaxUnpool Mod Mul NegativeLogLikelihoodLoss "
        "NonMaxSuppression Or PRelu Pow QuantizeLinear RMSNormalization ReverseSequence STFT SequenceAt "
        "SequenceInsert SoftmaxCrossEntropyLoss StringConcat Sub SwiGLU TensorScatter Tile Xor"
    ),
    3: (
        "Attention Col2Im DeformConv GRU GroupNormalization InstanceNormalization LSTM LinearAttention OneHot "
        "RNN Range RoiAlign RotaryEmbedding Scatter ScatterElements ScatterND Where"
    ),
    5: ("BatchNormalization MelWeightMatrix"),
    8: ("QLinearConv QLinearMatMul"),
}
_LEAST: Final = {name: number for number, names in _NAMES.items() for name in names.split()}


def least_inputs(operator: str) -> int:
    """Return how many inputs an operator of ONNX's default domain needs at least; 1 for one that is not known."""
    return _LEAST.get(operator, 1)
