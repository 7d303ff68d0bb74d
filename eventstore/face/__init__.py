"""What people use: the Python API and the command line."""
