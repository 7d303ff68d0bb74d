"""What the tests notice: each mutant is the code without one step of a protocol."""
