"""The pages of ``docs/reference``, made from the code: a page a module."""
