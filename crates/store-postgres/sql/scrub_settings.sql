SET statement_timeout = 0;
SET lock_timeout = '60s'
