"""Which child is trained at a step: streams of children over the choices of a chain, one idea a file."""

from bertcompress.supernet.samplers.fair import FairSampler
from bertcompress.supernet.samplers.gradual import GradualSampler
from bertcompress.supernet.samplers.sampler import Sampler
from bertcompress.supernet.samplers.sandwich import SandwichSampler
from bertcompress.supernet.samplers.uniform import UniformSampler

__all__ = ["FairSampler", "GradualSampler", "Sampler", "SandwichSampler", "UniformSampler"]
