-- Seals are append-only for everyone, their owner included, as the log is.
CREATE OR REPLACE FUNCTION refuse_seal_change() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: what was sealed stays', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = '`eventstore verify` says what is wrong with the seals, docs/seals.md what to do about it.';
END $$;
