"""What the reference pages say, read from the code: one module per table, one function each.

`scripts.write_reference` writes the tables between the marks in the Markdown files and compares them.
"""
