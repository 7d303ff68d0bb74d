"""The documentation: what is made from the code, what is run, and its pictures (``make docs``)."""
