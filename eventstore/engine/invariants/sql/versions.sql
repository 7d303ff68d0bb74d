-- Orders whose versions are not 1, 2, 3 … up to the number of their events.
SELECT order_id,
       format('its %s events have the versions %s to %s%s: %s', count(*), min(version), max(version),
              CASE WHEN count(DISTINCT version) < count(*) THEN ', some of them twice' ELSE '' END,
              'an event was taken away, put in or changed; restore a backup')
  FROM order_events
 WHERE {where}
 GROUP BY order_id
HAVING (min(version), max(version), count(DISTINCT version)) IS DISTINCT FROM (1, count(*)::int, count(*))
 ORDER BY order_id
