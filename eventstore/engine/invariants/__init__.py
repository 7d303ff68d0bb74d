"""What must hold of the log and of what is made from it: each a proof, in a module of its own."""
