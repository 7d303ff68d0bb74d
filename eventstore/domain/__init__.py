"""The business: events, order state, and the fold from one to the other. Pure: no I/O, no clock, no database."""
