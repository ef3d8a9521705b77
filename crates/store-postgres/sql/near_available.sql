-- Whether the server has the extension pgvector, installed in this database or not.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')
    OR EXISTS (SELECT FROM pg_extension WHERE extname = 'vector')
