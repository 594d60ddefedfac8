"""Documents and examples to the few that matter for one input."""
