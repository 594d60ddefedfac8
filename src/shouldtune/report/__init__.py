"""One finished run, told four ways: terminal, JSON, HTML page, and the charts on that page.

Pure functions of a `RunRecord`: they call no model, fetch nothing and decide nothing.
"""
