-- An order, to its status and to everything that is odd about it.
SELECT facet, value, 1 AS orders
  FROM changed, LATERAL (SELECT 'status', status
                         UNION ALL SELECT 'odd', 'yes' WHERE anomalies <> '{}'
                         UNION ALL SELECT 'anomaly', unnest(anomalies)
                         UNION ALL SELECT 'unknown_event', unnest(unknown_events)) AS fact (facet, value)
