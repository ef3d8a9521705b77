-- Of the episodes of one block: as in `migrations/0010_sketch_blocks.sql`.
INSERT INTO episode_sketches (space, block, model, sketches)
SELECT
    ?1,
    ?2,
    model,
    unhex(group_concat(
        printf('%016X%04X', episode, coalesce(length(sketch), 0)) || hex(sketch), '' ORDER BY episode
    ))
FROM episode_vectors
WHERE episode BETWEEN ?2 << 6 AND (?2 << 6) + 63 AND space = ?1
GROUP BY model
