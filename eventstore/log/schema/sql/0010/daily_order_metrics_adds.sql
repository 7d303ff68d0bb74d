-- An order, to the days on which something first happened to it. Payments come from the log.
SELECT (at AT TIME ZONE 'UTC')::date AS day, coalesce(currency, 'XXX') AS currency,
       created, paid, shipped, delivered, cancelled, 0.00 AS revenue, 0.00 AS refunds
  FROM changed, LATERAL (VALUES (placed_at, 1, 0, 0, 0, 0), (paid_at, 0, 1, 0, 0, 0), (shipped_at, 0, 0, 1, 0, 0),
                                (delivered_at, 0, 0, 0, 1, 0), (cancelled_at, 0, 0, 0, 0, 1))
                AS happened (at, created, paid, shipped, delivered, cancelled)
