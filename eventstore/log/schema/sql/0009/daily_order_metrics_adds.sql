-- An order, to the days on which something first happened to it. Payments come from the log.
SELECT (at AT TIME ZONE 'UTC')::date AS day, coalesce(currency, 'XXX') AS currency,
       created, paid, shipped, delivered, cancelled, 0.00 AS revenue, 0.00 AS refunds
  FROM (SELECT placed_at AS at, currency, 1 AS created, 0 AS paid, 0 AS shipped, 0 AS delivered, 0 AS cancelled
          FROM changed WHERE placed_at IS NOT NULL
         UNION ALL SELECT paid_at, currency, 0, 1, 0, 0, 0 FROM changed WHERE paid_at IS NOT NULL
         UNION ALL SELECT shipped_at, currency, 0, 0, 1, 0, 0 FROM changed WHERE shipped_at IS NOT NULL
         UNION ALL SELECT delivered_at, currency, 0, 0, 0, 1, 0 FROM changed WHERE delivered_at IS NOT NULL
         UNION ALL SELECT cancelled_at, currency, 0, 0, 0, 0, 1 FROM changed WHERE cancelled_at IS NOT NULL) AS happened
