-- Note what a run has verified, unless another one did so meanwhile.
UPDATE public.seal_verification
   SET bucket = %(bucket)s, tile = %(tile)s, checkpoint = %(checkpoint)s,
       begun_at = CASE WHEN %(done)s THEN NULL ELSE coalesce(begun_at, %(now)s) END,
       events = CASE WHEN %(done)s THEN 0 ELSE events + %(events)s END,
       verified_at = %(now)s,
       all_done_at = CASE WHEN %(done)s THEN %(now)s ELSE all_done_at END,
       all_done_by = %(by)s,
       failing = %(failing)s,
       problems = %(problems)s
 WHERE (bucket, tile) = (%(old_bucket)s, %(old_tile)s)
