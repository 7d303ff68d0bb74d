-- No event above this id is read soon: because of a stored id, publishing goes no further than a minute beyond
-- the clock and what was published. Events above it wait, with their orders, until the clock is there.
CREATE OR REPLACE FUNCTION feed_ceiling() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
    SELECT uuidv7_ceiling(greatest(pg_sequence_last_value('feed_horizon'), clock_ms()) + 60000);
$$;

-- The row of a consumer, locked, for the one who may change it: the role that registered it, the members of that
-- role, and superusers. One from before there were owners, or whose role is gone, has no owner and belongs to
-- whoever comes first. Null where there is no such consumer.
CREATE OR REPLACE FUNCTION own_consumer(consumer text) RETURNS consumers LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    kept consumers;
BEGIN
    IF consumer IS NULL OR consumer = '' OR length(consumer) > 200 THEN
        RAISE EXCEPTION 'a consumer needs a name of 1 to 200 characters, found %',
            coalesce(length(consumer) || ' characters', 'null') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO kept FROM consumers c WHERE c.name = consumer FOR UPDATE;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = kept.owner) THEN
        kept.owner := NULL;
    ELSIF NOT pg_has_role(session_user, kept.owner, 'MEMBER') THEN
        RAISE EXCEPTION 'consumer % belongs to the role %, and % is no member of it',
            quote_literal(consumer), quote_ident(kept.owner), quote_ident(session_user)
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('Use another name, or let an administrator run: GRANT %I TO %I', kept.owner, session_user);
    END IF;
    RETURN kept;
END $$;

-- Refuses a watermark above what readers can have been shown: the events in between would never be delivered.
CREATE OR REPLACE FUNCTION check_watermark(consumer text, watermark uuid) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    shown uuid;
BEGIN
    -- As in horizon_ms(), but at any isolation level: first what was published, then the appends that are open.
    shown := uuidv7_ceiling(coalesce(pg_sequence_last_value('feed_horizon'), 0));
    shown := least(shown, (
        SELECT uuidv7_ceiling(greatest(0, min(((l.classid::bigint & 65535) << 32) | l.objid::bigint) - 1))
          FROM pg_locks l
         WHERE l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.objsubid = 1
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND l.classid::bigint >> 16 = 17747
        HAVING count(*) > 0));
    IF is_subscriber() THEN
        shown := uuidv7_ceiling(replica_horizon_ms());
    END IF;
    IF watermark > shown THEN
        RAISE EXCEPTION 'watermark % of consumer % is above the horizon: readers were shown nothing above %',
            watermark, quote_literal(consumer), shown
            USING ERRCODE = 'ES002',
                  HINT = 'Save the id of the last event that read_events() returned.';
    END IF;
END $$;

-- Remembers how far a consumer is, and registers it the first time, as the caller's. A watermark never goes back
-- by itself: a process that was slow to notice its successor changes nothing.
CREATE OR REPLACE FUNCTION save_watermark(consumer text, watermark uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    kept consumers;
BEGIN
    IF watermark IS NULL THEN
        RAISE EXCEPTION 'the watermark of consumer % is null: give the id of the last event it is done with, or '
            '00000000-0000-0000-0000-000000000000 for the beginning', coalesce(quote_literal(consumer), 'null')
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    LOOP
        kept := own_consumer(consumer);
        PERFORM check_consumer(kept);
        IF kept.watermark IS NULL OR watermark > kept.watermark THEN
            PERFORM check_watermark(consumer, watermark);
        ELSIF kept.owner IS NOT NULL THEN
            RETURN;
        END IF;
        IF kept.name IS NOT NULL THEN
            UPDATE consumers c
               SET watermark = greatest(c.watermark, save_watermark.watermark), epoch = current_epoch(),
                   updated_at = now(), owner = coalesce(kept.owner, session_user)
             WHERE c.name = consumer;
            RETURN;
        END IF;
        INSERT INTO consumers (name, watermark, epoch, owner) VALUES (consumer, watermark, current_epoch(), session_user)
            ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN;
        END IF;  -- somebody else was faster: see whose it is
    END LOOP;
EXCEPTION
    WHEN lock_not_available THEN
        RAISE EXCEPTION 'consumer % is being changed by %, for more than 10 s',
            quote_literal(consumer), name_holders('consumer', consumer)
            USING ERRCODE = 'lock_not_available', HINT = 'End that transaction, then try again.';
END $$;

-- What resetting and deleting have in common: the consumer is there, is the caller's, and nobody follows it,
-- who would save a watermark of his own afterwards.
CREATE OR REPLACE FUNCTION claim_consumer(consumer text) RETURNS consumers LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    kept consumers;
BEGIN
    kept := own_consumer(consumer);
    IF kept.name IS NULL THEN
        RAISE EXCEPTION 'there is no consumer %', quote_literal(consumer)
            USING ERRCODE = 'no_data_found', HINT = 'SELECT name FROM consumers lists those that there are.';
    ELSIF NOT pg_try_advisory_xact_lock(17748, hashtext(consumer)) THEN
        RAISE EXCEPTION 'consumer % is followed by %', quote_literal(consumer), name_holders('consumer', consumer)
            USING ERRCODE = 'object_in_use', HINT = 'Stop that process first: it would save its own watermark.';
    END IF;
    RETURN kept;
EXCEPTION
    WHEN lock_not_available THEN
        RAISE EXCEPTION 'consumer % is being changed by %, for more than 10 s',
            quote_literal(consumer), name_holders('consumer', consumer)
            USING ERRCODE = 'lock_not_available', HINT = 'End that transaction, then try again.';
END $$;

-- Puts a consumer somewhere else, forwards or back, deliberately: what lies behind is delivered again, what lies
-- before never.
CREATE OR REPLACE FUNCTION reset_watermark(consumer text, watermark uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    kept consumers;
BEGIN
    IF watermark IS NULL THEN
        RAISE EXCEPTION 'the watermark of consumer % is null: give the id of an event, or '
            '00000000-0000-0000-0000-000000000000 for the beginning', coalesce(quote_literal(consumer), 'null')
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    kept := claim_consumer(consumer);
    PERFORM check_watermark(consumer, watermark);
    UPDATE consumers c SET watermark = reset_watermark.watermark, epoch = current_epoch(), updated_at = now(),
                           owner = coalesce(kept.owner, session_user)
     WHERE c.name = consumer;
END $$;

-- Forgets a consumer: one that follows under its name later begins at the beginning.
CREATE OR REPLACE FUNCTION delete_consumer(consumer text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
BEGIN
    PERFORM claim_consumer(consumer);
    DELETE FROM consumers c WHERE c.name = consumer;
END $$;

-- The events of an order that its row in orders does not hold yet: with the row, the exact current state.
CREATE OR REPLACE FUNCTION order_tail(order_id uuid) RETURNS SETOF order_events LANGUAGE sql STABLE AS $$
    SELECT e.* FROM order_events e
     WHERE e.order_id = $1
       AND e.version > coalesce((SELECT o.version FROM orders o WHERE o.order_id = $1), 0)
     ORDER BY e.version;
$$;

COMMENT ON FUNCTION save_watermark IS
    'Remembers how far a consumer is, and registers it the first time. It never goes back by this';
COMMENT ON FUNCTION reset_watermark IS
    'Puts a consumer somewhere else, forwards or back';
COMMENT ON FUNCTION delete_consumer IS
    'Forgets a consumer: one that follows under its name later begins at the beginning';
COMMENT ON FUNCTION order_tail IS
    'The events of an order that its row in orders does not hold yet';

REVOKE ALL ON FUNCTION own_consumer, check_watermark, claim_consumer, save_watermark, reset_watermark,
                       delete_consumer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION save_watermark, reset_watermark, delete_consumer TO eventstore_reader, eventstore_projector;
