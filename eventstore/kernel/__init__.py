"""The business: events, order state, the fold from one to the other. Pure: no I/O, clock or database."""
