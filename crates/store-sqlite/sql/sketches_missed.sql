-- Blocks of sketches that are not what the vectors say: as in `migrations/0010_sketch_blocks.sql`.
WITH made AS (
    SELECT
        space,
        episode >> 6 AS block,
        model,
        unhex(group_concat(
            printf('%016X%04X', episode, coalesce(length(sketch), 0)) || hex(sketch), '' ORDER BY episode
        )) AS sketches
    FROM episode_vectors
    GROUP BY space, episode >> 6, model
)
SELECT model, space, block << 6, (block << 6) + 63 FROM (
    SELECT space, block, model FROM (
        SELECT * FROM made EXCEPT SELECT space, block, model, sketches FROM episode_sketches
    )
    UNION
    SELECT space, block, model FROM (
        SELECT space, block, model, sketches FROM episode_sketches EXCEPT SELECT * FROM made
    )
)
LIMIT ?1
