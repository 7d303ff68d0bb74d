-- The table customers as it was at the end of any business day (UTC), from the history of the orders. Late
-- events correct past days; "known" asks for a day as it was known at a time.
CREATE OR REPLACE FUNCTION customers_as_of(day date, known timestamptz DEFAULT 'infinity')
    RETURNS SETOF customers LANGUAGE sql STABLE AS $$
    SELECT o.customer_id, o.currency, count(*)::int, sum(o.paid_amount - o.refunded_amount),
           min(o.placed_at), max(o.placed_at)
      FROM orders_as_of(business_time(start_of_day_ms(day + 1) - 1), known) o
     WHERE o.customer_id IS NOT NULL
     GROUP BY o.customer_id, o.currency;
$$;
COMMENT ON FUNCTION customers_as_of IS
    'customers at the end of a business day (UTC), by default as far as we know now. Events that order_history '
    'has not been refreshed with are not in it.';
