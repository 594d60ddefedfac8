"""From what a run asked and measured to the verdict.

    Case --columns--> Column --bounds--> Evidence --rows--> Finding --sentences--> Verdict

`decide.decide` does all of it. Nothing is imported here, so that reading a verdict back costs nothing.
"""
