-- The life of orders number "first" to "last", placed over span_ms from base_ms on: about four events each, 3 %
-- of them delivered days late. Random but for the ids: order n is md5('order n'), so anybody can find it again.
CREATE FUNCTION pg_temp.generated(first bigint, last bigint, base_ms bigint, span_ms bigint)
    RETURNS TABLE (order_id uuid, event_type text, event_data jsonb, happened bigint, arrived bigint,
                   source text, source_id text, metadata jsonb) LANGUAGE sql VOLATILE AS $$
    WITH placed AS MATERIALIZED (
        SELECT n, md5('order ' || n)::uuid AS order_id,
               base_ms + (span_ms * (n - first + random()) / (last - first + 1))::bigint AS at,
               random() AS chance, (random() * 50000)::int + 199 AS cents,
               (array['EUR', 'EUR', 'USD', 'GBP'])[1 + n % 4] AS currency
          FROM generate_series(first, last) n
    ), events AS (
        SELECT p.order_id, e.event_type, e.event_data, p.at + (e.hours * 3600000)::bigint AS happened, e.source,
               jsonb_build_object('correlationid', 'checkout-' || to_hex(p.n)) AS metadata
          FROM placed p
         CROSS JOIN LATERAL (SELECT jsonb_build_object('amount', (p.cents / 100.0)::decimal(10,2)::text,
                                                       'currency', p.currency)) AS m(money)
         CROSS JOIN LATERAL (SELECT 0.02 + random() * 2, 6 + random() * 66, 80 + random() * 120) AS h(paid, shipped, delivered)
         CROSS JOIN LATERAL (VALUES
            ('OrderCreated', '/shop/checkout', 0.0, true,
             m.money || jsonb_build_object('customer_id', md5('customer ' || p.n / 2)::uuid, 'items',
                 jsonb_build_array(jsonb_build_object('sku', 'SKU-' || p.n % 200, 'quantity', 1 + p.n % 3, 'price', '17.90'),
                                   jsonb_build_object('sku', 'SKU-' || p.n % 117, 'quantity', 1, 'price', '4.20')))),
            ('OrderPaid', '/payments', h.paid, p.chance > 0.06, m.money),
            ('OrderCancelled', '/shop/service', h.paid + 2, p.chance BETWEEN 0.03 AND 0.08, '{"reason": "out of stock"}'),
            ('OrderRefunded', '/payments', h.paid + 4, p.chance BETWEEN 0.06 AND 0.08, m.money),
            ('OrderShipped', '/warehouse', h.shipped, p.chance > 0.08,
             jsonb_build_object('carrier', 'DHL', 'tracking_number', lpad(p.n::text, 12, '0'))),
            ('OrderDelivered', '/carriers/dhl', h.delivered, p.chance > 0.08, '{}'),
            ('OrderRefunded', '/payments', h.delivered + 50, p.chance > 0.95, m.money)
         ) AS e(event_type, source, hours, happens, event_data)
         WHERE e.happens
    )
    SELECT order_id, event_type, event_data, happened,
           happened + (random() * CASE WHEN random() < 0.03 THEN 259200000 ELSE 90000 END)::bigint,
           source, event_type || '/' || order_id || '/' || happened % 86400000, metadata
      FROM events;
$$;
