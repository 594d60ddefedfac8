"""From measurements to the verdict.

    Measurement --columns--> Column --bounds--> Evidence --rows--> Finding --sentences--> Verdict

`decide.decide` does all of it. Nothing is imported here, so that reading a verdict back costs nothing.
"""
