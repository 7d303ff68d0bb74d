"""Runs on other machines: on the nodes of a Ray cluster. Only `launcher` and `head` need the package ray."""
