-- What a statement has changed in the source of a derived table is noted in the queue of that table, by group: what
-- it added to the group's sums. A row of nulls says: everything. The refresh of the table takes the queue away.

-- The query for what becomes of the groups where the rows `old_rows` become `new_rows`, names of relations, either
-- of them null where there are none.
CREATE OR REPLACE FUNCTION changes_query(queue text, old_rows text, new_rows text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
DECLARE
    noted   change_queues;
    groups  text;
    sides   text;
BEGIN
    SELECT * INTO STRICT noted FROM change_queues WHERE name = queue;
    groups := (SELECT string_agg(format('%I', name), ', ') FROM unnest(noted.key) AS name);
    SELECT string_agg(
               format(E'SELECT %s%s FROM (WITH changed AS NOT MATERIALIZED (SELECT * FROM %s) SELECT * FROM (\n%s\n) AS added) AS side',
                      groups, (SELECT string_agg(format(', %s%I AS %I', sign, name, name), '')
                                 FROM unnest(noted.sums) AS name), relation, noted.adds), ' UNION ALL ')
      INTO sides
      FROM (VALUES ('-', old_rows), ('', new_rows)) AS side (sign, relation) WHERE relation IS NOT NULL;
    RETURN format('SELECT %s%s FROM (%s) AS sides WHERE (%s) IS NOT NULL GROUP BY %s%s', groups,
                  (SELECT string_agg(format(', coalesce(sum(%I), 0) AS %I', name, name), '')
                     FROM unnest(noted.sums) AS name), sides, groups, groups,
                  CASE WHEN noted.only_sums THEN  -- what adds nothing changes nothing
                      (SELECT format(' HAVING (%s) <> (%s)', string_agg(format('sum(%I)', name), ', '),
                                     string_agg('0', ', ')) FROM unnest(noted.sums) AS name) END);
END $$;

-- After each statement on the source. Never fails the statement for what is wrong with a derived table: that comes
-- to light in the refresh, which starts from nothing then.
CREATE OR REPLACE FUNCTION note_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    queue  text := TG_ARGV[0];
BEGIN
    -- ON CONFLICT DO UPDATE fires for both, each with its rows or none.
    IF TG_OP = 'INSERT' THEN
        IF NOT EXISTS (SELECT FROM new_rows) THEN RETURN NULL; END IF;
    ELSIF TG_OP <> 'TRUNCATE' THEN
        IF NOT EXISTS (SELECT FROM old_rows) THEN RETURN NULL; END IF;
    END IF;
    IF TG_OP <> 'TRUNCATE' THEN
        BEGIN
            EXECUTE format('INSERT INTO %I ', queue || '_changes')
                || changes_query(queue, CASE WHEN TG_OP <> 'INSERT' THEN 'old_rows' END,
                                 CASE WHEN TG_OP <> 'DELETE' THEN 'new_rows' END);
            RETURN NULL;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'what changed in % could not be noted for %, which will be computed anew: %',
                TG_TABLE_NAME, queue, SQLERRM;
        END;
    END IF;
    EXECUTE format('INSERT INTO %I DEFAULT VALUES', queue || '_changes');
    RETURN NULL;
END $$;

-- Whoever made a trigger of it on a table of his own could forge notes.
REVOKE ALL ON FUNCTION note_changes FROM PUBLIC;

-- After each statement on a derived table, and on its queue: whoever is not its refresh leaves it to be computed anew.
CREATE OR REPLACE FUNCTION guard_derived() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    IF current_setting('eventstore.refreshing', true) IS DISTINCT FROM 'on' THEN
        EXECUTE format('INSERT INTO %I DEFAULT VALUES', TG_ARGV[0] || '_changes');
    END IF;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION guard_derived FROM PUBLIC;
