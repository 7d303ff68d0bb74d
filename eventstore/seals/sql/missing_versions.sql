-- Versions that orders of a bucket lack, with the ids before and after: within an order both rise together.
SELECT order_id, version - 1, id_before, id
  FROM (SELECT order_id, version, id,
               pg_catalog.lag(version, 1, 0) OVER stream AS version_before,
               pg_catalog.lag(id, 1, '00000000-0000-0000-0000-000000000000') OVER stream AS id_before
          FROM {bucket} WINDOW stream AS (PARTITION BY order_id ORDER BY version)) s
 WHERE version = version_before + 2
 LIMIT 10000
