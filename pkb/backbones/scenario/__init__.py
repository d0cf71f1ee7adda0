"""Models of many scenarios: MI-DPG, what it is held against, and the plain controls; one a file.

The scenario of a row is its value of the schema's field of that role. `base` has what they share, `table` the weights
that belong to one scenario each.
"""
