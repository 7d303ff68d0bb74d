-- The history that this log is in: 1, and one more for each restore and each promotion.
CREATE OR REPLACE FUNCTION current_epoch() RETURNS int LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
    SELECT coalesce(max(epoch), 1) FROM log_epochs;
$$;

-- Up to where this log has surely all that any reader was given: as far as the row of replicas says, or a watermark
-- that was saved here, for that too was below the horizon.
CREATE OR REPLACE FUNCTION common_id() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT greatest(
        '00000000-0000-0000-0000-000000000000',
        (SELECT e.id FROM order_events e WHERE e.id <= (SELECT uuidv7_ceiling(r.horizon_ms) FROM scanned_horizon r)
          ORDER BY e.id DESC LIMIT 1),
        (SELECT c.watermark FROM consumers c ORDER BY c.watermark DESC LIMIT 1),
        (SELECT p.watermark FROM projections p ORDER BY p.watermark DESC LIMIT 1));
$$;

-- Begins an epoch, whose ids lie above all that is known: what is stored, what was published, the clock, and "above",
-- an id that is known outside.
CREATE OR REPLACE FUNCTION begin_epoch(kind text, reason text, above uuid DEFAULT NULL, declared_by text DEFAULT NULL)
    RETURNS log_epochs LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    begun   log_epochs;
    here    record;
    newest  uuid;
BEGIN
    IF is_replica() THEN
        RAISE EXCEPTION 'an epoch begins on the primary: this is a replica'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Promote it first: SELECT pg_promote(), or DROP SUBSCRIPTION.';
    ELSIF uuidv7_ms(above) > clock_ms() + 86400000 THEN
        RAISE EXCEPTION 'the id % lies more than a day ahead of the clock: new events would be recorded after it', above
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE horizon_publishing, log_epochs IN EXCLUSIVE MODE;
    SELECT e.id INTO newest FROM order_events e
     WHERE e.id <= uuidv7_ceiling(greatest(pg_sequence_last_value('feed_horizon'), clock_ms()) + 60000)
     ORDER BY e.id DESC LIMIT 1;
    PERFORM setval('feed_horizon', greatest(
        pg_sequence_last_value('feed_horizon'), clock_ms(), uuidv7_ms(newest), uuidv7_ms(above)));
    INSERT INTO log_epochs (epoch, last_id, horizon_ms, kind, reason, declared_by)
    VALUES (current_epoch() + 1, common_id(), pg_sequence_last_value('feed_horizon'), begin_epoch.kind,
            begin_epoch.reason, begin_epoch.declared_by)
    RETURNING * INTO begun;
    SELECT * INTO here FROM log_home();
    UPDATE scanned_horizon
       SET system_identifier = here.system_identifier, timeline = here.timeline, log = here.log;
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'local', true);
    END IF;
    RETURN begun;
END $$;

-- Says of an epoch that was found out who stands for it, and why it began. Once: what was declared stays.
CREATE OR REPLACE FUNCTION declare_epoch(epoch int, reason text, declared_by text) RETURNS log_epochs
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    declared log_epochs;
BEGIN
    UPDATE log_epochs e SET reason = declare_epoch.reason, declared_by = declare_epoch.declared_by
     WHERE e.epoch = declare_epoch.epoch AND e.declared_by IS NULL RETURNING * INTO declared;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no epoch % that was found out and not declared', epoch
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN declared;
END $$;

-- Begins an epoch where the log is written somewhere else than before, and nobody has said so: a standby was
-- promoted, a subscription dropped, a dump or an older copy restored. Once; any role may call it. Returns the epoch.
CREATE OR REPLACE FUNCTION settle_epoch() RETURNS int LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    here   record;
    noted  scanned_horizon;
BEGIN
    IF NOT is_replica() THEN
        SELECT * INTO here FROM log_home();
        SELECT * INTO noted FROM scanned_horizon;
        IF (noted.system_identifier, noted.timeline, noted.log) <> (here.system_identifier, here.timeline, here.log) THEN
            LOCK TABLE horizon_publishing IN EXCLUSIVE MODE;
            SELECT * INTO noted FROM scanned_horizon;  -- somebody else may have been faster
            IF (noted.system_identifier, noted.timeline, noted.log)
               <> (here.system_identifier, here.timeline, here.log) THEN
                IF (noted.system_identifier, noted.log) = (here.system_identifier, here.log) THEN
                    PERFORM begin_epoch('promotion', format(
                        'found: the timeline of the server is %s, it was %s', here.timeline, noted.timeline));
                ELSE
                    PERFORM begin_epoch('restore', 'found: the log is on another server, or in another table');
                END IF;
            END IF;
        END IF;
    END IF;
    RETURN current_epoch();
END $$;

-- Refuses appends and reads where an epoch has to begin first. A server takes over before its sessions write, and
-- never while they do, so a session looks once.
CREATE OR REPLACE FUNCTION check_home() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'events are appended on the primary: this is a standby'
            USING ERRCODE = 'read_only_sql_transaction';
    ELSIF is_subscriber() THEN
        RAISE EXCEPTION 'events are appended where they are published: this database subscribes to them'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'To make it the primary: DROP SUBSCRIPTION.';
    ELSIF EXISTS (SELECT FROM scanned_horizon r, log_home() h
                   WHERE (r.system_identifier, r.timeline, r.log) <> (h.system_identifier, h.timeline, h.log)) THEN
        RAISE EXCEPTION 'the log has moved to this server, and its epoch has not begun'
            USING ERRCODE = 'ES004', HINT = 'Call settle_epoch(), then try again.';
    END IF;
    PERFORM set_config('eventstore.home', pg_backend_pid()::text, false);
END $$;

-- Refuses a position in the feed that the history of this log does not lead to. "epoch" is the one in which the
-- reader was given "after". Returns the epoch of what is read now.
CREATE OR REPLACE FUNCTION check_position(epoch int, after uuid) RETURNS int LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    now_in  CONSTANT int := current_epoch();
    ended   log_epochs;
BEGIN
    IF current_setting('eventstore.home', true) IS DISTINCT FROM pg_backend_pid()::text AND NOT is_replica() THEN
        PERFORM check_home();
    END IF;
    IF epoch IS NULL OR epoch < 1 THEN
        RAISE EXCEPTION 'an epoch is a number from 1 on, found %', coalesce(epoch::text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF epoch > now_in THEN
        RAISE EXCEPTION 'this log is in epoch %, and the position is of epoch %: it is another log, or a replica that '
            'is behind', now_in, epoch USING ERRCODE = 'ES005';
    END IF;
    SELECT * INTO ended FROM log_epochs e WHERE e.epoch > check_position.epoch ORDER BY e.last_id, e.epoch LIMIT 1;
    IF after > ended.last_id THEN
        RAISE EXCEPTION 'epoch % began at % (%): of what a reader was given before, the events above % up to % may not '
            'be in this log', ended.epoch, to_char(ended.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
            ended.reason, ended.last_id, after
            USING ERRCODE = 'ES003', HINT = format('To accept that, go on behind %s:%s.', now_in, ended.last_id),
                  DETAIL = json_build_object('epoch', now_in, 'last_id', ended.last_id)::text;
    END IF;
    RETURN now_in;
END $$;

-- The feed for a reader that keeps its position elsewhere: read_events() for whoever was given "after" in "epoch".
-- The next position is the id of the last event with current_epoch(), asked for in the same statement or before.
CREATE OR REPLACE FUNCTION read_feed(epoch int, after uuid, max_events int)
    RETURNS SETOF order_events LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM check_position(epoch, after);
    RETURN QUERY SELECT * FROM read_events(after, max_events);
END $$;

-- A consumer that goes on although the log went back since its watermark was saved: from there, or from where the
-- histories part. Events that it was given after may be gone, or come again.
CREATE OR REPLACE FUNCTION accept_epoch(consumer text, OUT epoch int, OUT watermark uuid)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    kept consumers;
BEGIN
    kept := claim_consumer(consumer);
    epoch := current_epoch();
    watermark := least(kept.watermark, (SELECT e.last_id FROM log_epochs e WHERE e.epoch > kept.epoch
                                         ORDER BY e.last_id LIMIT 1));
    UPDATE consumers c
       SET watermark = accept_epoch.watermark, epoch = accept_epoch.epoch, updated_at = now(),
           owner = coalesce(kept.owner, session_user)
     WHERE c.name = consumer;
END $$;

-- Refuses a consumer whose watermark went back with the database, until it is accepted or reset: it cannot know what
-- it was given after.
CREATE OR REPLACE FUNCTION check_consumer(kept consumers) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE
    ended log_epochs;
BEGIN
    SELECT * INTO ended FROM log_epochs e
     WHERE e.epoch > kept.epoch AND (e.kind = 'restore' OR e.last_id < kept.watermark) ORDER BY e.last_id, e.epoch LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the log was restored at % (%), and consumer % went back with it, to %: what it was given after '
            'comes again up to %, and above that may be gone',
            to_char(ended.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), ended.reason,
            quote_literal(kept.name), kept.watermark, ended.last_id
            USING ERRCODE = 'ES003',
                  HINT = format('To accept that: eventstore consumers accept %s, or SELECT accept_epoch(%L). To go on '
                                'elsewhere, reset it.', quote_literal(kept.name), kept.name),
                  DETAIL = json_build_object('epoch', current_epoch(), 'last_id', ended.last_id)::text;
    END IF;
END $$;

REVOKE ALL ON FUNCTION common_id, begin_epoch, declare_epoch, settle_epoch, check_home, check_position, read_feed, accept_epoch,
                       check_consumer, current_epoch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION current_epoch, settle_epoch TO
    eventstore_writer, eventstore_ingester, eventstore_reader, eventstore_projector;
GRANT EXECUTE ON FUNCTION check_position, read_feed, accept_epoch TO eventstore_reader, eventstore_projector;
