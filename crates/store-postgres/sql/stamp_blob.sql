UPDATE blobs SET kept_at = greatest(kept_at, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
WHERE project_id = $1 AND blob = $2
