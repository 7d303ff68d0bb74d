"""Speed, measured against what a user would pick instead: ``make bench``. Not part of ``make test``."""
