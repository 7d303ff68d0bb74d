-- Before each row that is inserted into the log, by whomever: it keeps to the limits, and its id lies above the floor
-- that this transaction has announced (hold_horizon), or readers that have passed it would never see it. A restore of
-- data alone brings rows that were recorded elsewhere. Its transaction says so, and the guard lets them pass:
--     SET LOCAL eventstore.restoring = 'on';
-- Neither a full restore nor logical replication fires this trigger.
CREATE OR REPLACE FUNCTION guard_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    problem text;
BEGIN
    -- Nearly every event passes this one cheap expression: its id lies above the floor, and what is so short is within
    -- the limits.
    IF NEW.id >= nullif(current_setting('eventstore.floor_id', true), '')::uuid
       AND get_byte(uuid_send(NEW.id), 6) >> 4 = 7
       AND octet_length(NEW.event_data::text) <= 200 AND octet_length(NEW.metadata::text) <= 200
       AND NOT NEW.metadata ? 'schema_version'
       AND public.new_payload_problem(NEW.event_type, NEW.event_data, NEW.metadata) IS NULL THEN
        RETURN NEW;
    ELSIF current_setting('eventstore.restoring', true) = 'on' THEN
        RETURN NEW;
    ELSIF coalesce(current_setting('eventstore.floor_id', true), '') = '' THEN
        RAISE EXCEPTION 'events are appended by append_events(), not by INSERT or COPY into %', TG_TABLE_NAME
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'An id that was not announced first is lost to readers that have passed it. To restore rows '
                         'that were recorded elsewhere: BEGIN; SET LOCAL eventstore.restoring = ''on''; …';
    ELSIF NEW.id < current_setting('eventstore.floor_id')::uuid OR get_byte(uuid_send(NEW.id), 6) >> 4 <> 7 THEN
        RAISE EXCEPTION 'the id % is no uuidv7 above what this transaction announced', NEW.id
            USING ERRCODE = 'check_violation', TABLE = 'order_events',
                  HINT = 'Leave the ids to append_events().';
    END IF;
    problem := coalesce(
        public.new_payload_problem(NEW.event_type, NEW.event_data, NEW.metadata),
        public.beyond_limits(NEW.event_data, NEW.metadata));
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'event % cannot be recorded: %',
            regexp_replace(left(NEW.event_type, 200), '[[:cntrl:]]', '?', 'g'), problem
            USING ERRCODE = 'check_violation', TABLE = 'order_events', CONSTRAINT = 'limits',
                  HINT = 'Keep large or deep documents elsewhere, and their address in the event.';
    END IF;
    RETURN NEW;
END $$;
