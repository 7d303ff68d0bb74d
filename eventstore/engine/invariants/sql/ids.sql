-- Orders of which a later version has an id that is not above the one before.
SELECT order_id,
       format('the id of its version %s is not above that of the version before%s: followers of the feed may pass it over',
              min(version), CASE WHEN count(*) > 1 THEN format(', nor are %s more', count(*) - 1) ELSE '' END)
  FROM (SELECT order_id, version, id, lag(id) OVER (PARTITION BY order_id ORDER BY version) AS id_before
          FROM order_events WHERE {where}) AS events
 WHERE id <= id_before
 GROUP BY order_id
 ORDER BY order_id
