-- An order in quarantine, to the place in its fold from which on no payment counts.
SELECT order_id, failed_at, version, 1 AS held FROM changed WHERE projection = 'orders'
