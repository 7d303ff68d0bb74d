-- Orders with two events that have the same source and source_id.
SELECT order_id,
       format('%s of its events are there twice, the first with source %s and id %s: a producer''s event counts twice',
              sum(times - 1), quote_literal((array_agg(source ORDER BY source, source_id))[1]),
              quote_literal((array_agg(source_id ORDER BY source, source_id))[1]))
  FROM (SELECT order_id, source, source_id, count(*) AS times
          FROM order_events
         WHERE {where} AND source_id IS NOT NULL
         GROUP BY order_id, source, source_id
        HAVING count(*) > 1) AS twice
 GROUP BY order_id
 ORDER BY order_id
