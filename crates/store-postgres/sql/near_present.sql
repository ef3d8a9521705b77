SELECT to_regclass('near_spaces') IS NOT NULL
