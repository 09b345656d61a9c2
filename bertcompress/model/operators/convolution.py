"""A separable convolution along time."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from bertcompress.model.operators.operator_module import BertLayer
from bertcompress.space import Dimensions, Operator


class SeparableConvolution(nn.Module):
    """A depthwise convolution over `size` neighbours in time, gelu, then a dense layer over the channels.

    Padded positions are zeroed right before it, so they are as good as absent.
    """

    def __init__(
        self, operator: Operator, dimensions: Dimensions, *, dropout: float, layer_norm_eps: float
    ) -> None:
        super().__init__()
        width, kernel = dimensions.hidden_size, operator.size
        # Two-dimensional of height 1: ONNX Runtime runs that faster than Conv1d, whatever the kernel.
        self.depthwise = nn.Conv2d(width, width, (1, kernel), padding=(0, kernel // 2), groups=width)
        self.pointwise = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, attention_mask: Tensor, *, first_token: bool = False) -> Tensor:
        kept = x * attention_mask.unsqueeze(-1).to(x.dtype)
        image = kept.transpose(1, 2).unsqueeze(2)  # (B, D, 1, T)
        convolved = self.depthwise(image)
        if first_token:
            x, convolved = x[:, :1], convolved[..., :1]
        mixed = F.gelu(convolved).squeeze(2).transpose(1, 2)  # (B, T, D)
        return self.norm(x + self.dropout(self.pointwise(mixed)))

    def start_from_bert(self, layer: BertLayer) -> None:
        """Keep the weights as drawn: no BERT has a convolution."""

    def start_from_alike(self, others: Sequence[SeparableConvolution]) -> None:
        """Take the weights of the nearest kernel size, the kernel cut or padded with zeros."""
        start_from_nearest_kernel(self, others)


def start_from_nearest_kernel(module: nn.Module, others: Sequence[nn.Module]) -> None:
    """Copy the weights of the module whose depthwise kernel is nearest in size, in place; none, if none.

    The modules are alike but for `depthwise`, whose kernel is cut or padded with zeros in the middle.
    """

    def kernel_of(each: nn.Module) -> int:
        return int(each.state_dict()["depthwise.weight"].shape[-1])

    if not others:
        return
    kernel = kernel_of(module)
    state = min(others, key=lambda other: abs(kernel_of(other) - kernel)).state_dict()
    state["depthwise.weight"] = resized_kernel(state["depthwise.weight"], kernel)
    module.load_state_dict(state)


def resized_kernel(weight: Tensor, kernel: int) -> Tensor:
    """Resize a depthwise weight (D, 1, 1, k) to another odd kernel size around its middle: (D, 1, 1, kernel).

    Padded with zeros it convolves to the same.
    """
    edge = (kernel - weight.shape[-1]) // 2  # negative cuts
    return F.pad(weight, (edge, edge))
