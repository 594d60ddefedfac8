"""Should you fine-tune a model? Measure the ladder, then decide.

The nouns are in `shouldtune.types` and `shouldtune.judgement`; `shouldtune.task.load_task` and
`shouldtune.ladder.climb` are the two calls that make a verdict from Python.
"""

__version__ = "0.1.0"
