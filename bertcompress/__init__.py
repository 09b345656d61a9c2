"""From a recipe and a BERT teacher to the best small BERT that fits a latency and parameter budget."""

__version__ = "0.1.0"
__all__ = ["__version__"]
