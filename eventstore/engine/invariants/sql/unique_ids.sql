-- How many events lie between two ids, and which ids are there twice.
WITH events AS MATERIALIZED (
    SELECT id, order_id, version FROM order_events
     WHERE id >= %(first)s AND (%(until)s::uuid IS NULL OR id <= %(until)s)
)
SELECT NULL::uuid AS id, NULL AS what, count(*) AS events FROM events
UNION ALL
(SELECT id,
        count(*) || ' events have this id, such as version ' || min(version) || ' of order '
            || (array_agg(order_id ORDER BY order_id))[1] || ': readers of the feed are given only some of them',
        count(*)
   FROM events GROUP BY id HAVING count(*) > 1 ORDER BY id)
