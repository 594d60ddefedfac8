"""Should you fine-tune a model? Measure the ladder, then decide."""

__version__ = "0.1.0"
