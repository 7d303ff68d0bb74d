-- Where in its order an event is that cannot be folded, or written: the row holds what comes before it.
ALTER TABLE quarantine
    ADD COLUMN version     int,
    ADD COLUMN event_type  text,
    ADD COLUMN failed_at   bigint,
    ADD COLUMN tried_at    timestamptz DEFAULT now();
COMMENT ON COLUMN quarantine.version IS
    'of the event that cannot be folded, or makes a row that is refused; null until the next refresh tries again';
COMMENT ON COLUMN quarantine.failed_at IS
    'its created_at: the row holds the events before (failed_at, version) in the order of the fold';
COMMENT ON COLUMN quarantine.tried_at IS 'a refresh tries again those that were tried least recently';

CREATE VIEW quarantined_orders AS
    SELECT projection, order_id, version, event_type, error, since FROM quarantine;
COMMENT ON VIEW quarantined_orders IS
    'Orders of which a read model shows only the events before one that cannot be folded or written, and why.';
GRANT SELECT ON quarantined_orders TO eventstore_reader, eventstore_projector;

-- The payments in the log up to the watermark of daily_order_metrics, whatever became of their orders.
CREATE TABLE daily_payments (
    day       date NOT NULL,
    currency  text NOT NULL,
    revenue   numeric NOT NULL,
    refunds   numeric NOT NULL,
    PRIMARY KEY (day, currency)
);
COMMENT ON TABLE daily_payments IS
    'Sums of all payments in the log by day and currency: daily_order_metrics takes off those that were not folded.';
GRANT SELECT ON daily_payments TO eventstore_reader, eventstore_projector;
GRANT INSERT, UPDATE, DELETE ON daily_payments TO eventstore_projector;
UPDATE projections SET watermark = DEFAULT WHERE name = 'daily_order_metrics';  -- its next refresh sums them all

-- Sums are not bounded. PostgreSQL refuses to change the type of a column that a view or a function names, so
-- those are dropped and created again exactly as they were.
CREATE FUNCTION pg_temp.widen(targets jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    target   record;
    found    record;
    restore  text[] := '{}';
BEGIN
    CREATE TEMPORARY TABLE dependents ON COMMIT DROP AS
    WITH RECURSIVE dependent (class, id, depth) AS (
        SELECT d.classid, d.objid, 1
          FROM jsonb_each(targets) t, jsonb_array_elements_text(t.value) AS name
          JOIN pg_attribute a ON a.attname = name
          JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
         WHERE a.attrelid = t.key::regclass AND d.deptype = 'n'
        UNION
        SELECT d.classid, d.objid, b.depth + 1
          FROM dependent b
          LEFT JOIN pg_rewrite r ON b.class = 'pg_rewrite'::regclass AND r.oid = b.id
          LEFT JOIN pg_class c ON c.oid = r.ev_class
          JOIN pg_depend d ON d.deptype = 'n' AND (
               d.refclassid = b.class AND d.refobjid = b.id
            OR d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
            OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (c.reltype,
               (SELECT typarray FROM pg_type t WHERE t.oid = c.reltype)))
         WHERE c.relkind IS DISTINCT FROM 'r' AND NOT (d.classid = b.class AND d.objid = b.id) AND b.depth < 100
    )
    SELECT d.class, d.id, max(d.depth) AS depth, r.ev_class::regclass AS view, c.relkind AS kind
      FROM dependent d
      LEFT JOIN pg_rewrite r ON d.class = 'pg_rewrite'::regclass AND r.oid = d.id
      LEFT JOIN pg_class c ON c.oid = r.ev_class
     GROUP BY d.class, d.id, r.ev_class, c.relkind;

    FOR found IN
        SELECT coalesce(pg_describe_object('pg_class'::regclass, view, 0), pg_describe_object(class, id, 0)) AS what
          FROM dependents d
         WHERE NOT coalesce(kind = 'v', class = 'pg_proc'::regclass)
            OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = d.view)
            OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = d.view AND r.rulename <> '_RETURN')
    LOOP
        RAISE EXCEPTION '% depends on a sum of money whose type changes', found.what
            USING ERRCODE = 'dependent_objects_still_exist',
                  HINT = 'Drop it, run eventstore init again, and create it anew.';
    END LOOP;

    FOR found IN
        SELECT d.depth, true AS is_view, format('VIEW %s', d.view) AS name, c.relowner AS owner, c.relacl AS acl,
               format('CREATE VIEW %s%s AS %s', d.view, ' WITH (' || array_to_string(c.reloptions, ', ') || ')',
                      pg_get_viewdef(d.view)) AS definition,
               d.view, obj_description(d.view, 'pg_class') AS comment
          FROM dependents d JOIN pg_class c ON c.oid = d.view
         UNION ALL
        SELECT d.depth, false, format('ROUTINE %s', p.oid::regprocedure), p.proowner, p.proacl,
               pg_get_functiondef(p.oid), NULL, obj_description(p.oid, 'pg_proc')
          FROM dependents d JOIN pg_proc p ON d.class = 'pg_proc'::regclass AND p.oid = d.id
         ORDER BY depth DESC
    LOOP
        restore := array[
            found.definition,
            format('ALTER %s OWNER TO %s', found.name, found.owner::regrole),
            format('COMMENT ON %s IS %L', found.name, found.comment)]
            || ARRAY(SELECT format('COMMENT ON COLUMN %s.%I IS %L', found.view, attname, col_description(attrelid, attnum))
                       FROM pg_attribute WHERE attrelid = found.view AND col_description(attrelid, attnum) IS NOT NULL)
            || ARRAY(SELECT format('GRANT %s (%I) ON %s TO %s%s', privilege_type, attname, found.view,
                                   CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
                                   CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
                       FROM pg_attribute, aclexplode(attacl) WHERE attrelid = found.view)
            || CASE WHEN found.acl IS NOT NULL THEN
                   ARRAY[format('REVOKE ALL ON %s FROM PUBLIC', replace(found.name, 'VIEW ', ''))]
                   || ARRAY(SELECT format('GRANT %s ON %s TO %s%s', privilege_type, replace(found.name, 'VIEW ', ''),
                                          CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
                                          CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
                              FROM aclexplode(found.acl))
               ELSE '{}' END
            || restore;
        EXECUTE 'DROP ' || found.name;
    END LOOP;

    FOR target IN SELECT key AS name, value AS columns FROM jsonb_each(targets) LOOP
        EXECUTE (SELECT format('ALTER TABLE %s %s', target.name, string_agg(format('ALTER %I TYPE numeric', name), ', '))
                   FROM jsonb_array_elements_text(target.columns) AS name);
    END LOOP;
    FOR i IN 1 .. cardinality(restore) LOOP
        EXECUTE restore[i];
    END LOOP;
END $$;

SELECT pg_temp.widen('{
    "orders": ["paid_amount", "refunded_amount"],
    "orders_candidate": ["paid_amount", "refunded_amount"],
    "order_history": ["paid_amount", "refunded_amount"],
    "order_history_candidate": ["paid_amount", "refunded_amount"],
    "order_snapshots": ["paid_amount", "refunded_amount"],
    "order_checkpoints": ["paid_amount", "refunded_amount"],
    "customers": ["lifetime_value"],
    "daily_order_metrics": ["revenue", "refunds"]
}');
DROP FUNCTION pg_temp.widen;

-- Each type that the rules did not know is listed once.
DO $$
DECLARE
    states regclass;
BEGIN
    FOREACH states IN ARRAY ARRAY['orders', 'orders_candidate', 'order_history', 'order_history_candidate',
                                  'order_snapshots', 'order_checkpoints']::regclass[] LOOP
        EXECUTE format(
            'UPDATE %s SET unknown_events = ARRAY(SELECT name FROM unnest(unknown_events) WITH ORDINALITY AS u (name, nth)
                                                   GROUP BY name ORDER BY min(nth))
              WHERE unknown_events <> ''{}'' AND cardinality(unknown_events)
                    > (SELECT count(DISTINCT name) FROM unnest(unknown_events) AS name)', states);
    END LOOP;
END $$;
