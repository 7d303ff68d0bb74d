-- Whoever follows the log with a watermark above the horizon. A watermark is saved after the horizon below which it
-- lies was published, and what was published stays: it is asked for last.
SELECT name, what
  FROM (SELECT name, 'read model' AS what, watermark FROM projections
        UNION ALL SELECT name, 'consumer', watermark FROM consumers
        UNION ALL SELECT projection || ', bucket ' || bucket, 'replay', watermark FROM replay_buckets) AS followers
 WHERE watermark > (SELECT uuidv7_ceiling(greatest(pg_sequence_last_value('feed_horizon'), horizon_ms())))
 ORDER BY name
