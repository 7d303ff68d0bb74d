-- The body stands in functions/guards.sql.
CREATE FUNCTION guard_event() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';

-- As any trigger by default, it does not fire for what replication brings. Partitions get it from the parent.
CREATE TRIGGER guard BEFORE INSERT ON order_events FOR EACH ROW EXECUTE FUNCTION guard_event();

-- Locked while the horizon is published, for some microseconds. Nobody is granted anything on it, so nobody
-- else can hold it.
CREATE TABLE horizon_publishing ();
COMMENT ON TABLE horizon_publishing IS 'Empty. Its lock lets one session at a time publish the horizon.';
