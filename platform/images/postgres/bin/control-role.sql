-- The operator's control role, and what PUBLIC loses. Run by post-bootstrap as the superuser, in the database postgres;
-- running it again changes nothing but the verifier's salt.
\getenv verifier BAILIWICK_CONTROL_VERIFIER

BEGIN;

-- Neither the server's log nor its statistics see the verifier.
SET LOCAL log_statement = 'none';
SET LOCAL log_min_duration_statement = -1;
SET LOCAL log_min_error_statement = 'panic';
SET LOCAL track_activities = off;
SET LOCAL client_min_messages = 'warning';

-- Roles are shared by all databases; a second run finds them.
SELECT 'CREATE ROLE bailiwick_operator' WHERE to_regrole('bailiwick_operator') IS NULL \gexec

-- CREATEDB and CREATEROLE: databases and roles of the Region. Nothing that passes by privileges: no SUPERUSER,
-- no REPLICATION (would read every byte), no BYPASSRLS. The limit keeps a broken operator from taking all connections.
ALTER ROLE bailiwick_operator WITH LOGIN NOSUPERUSER INHERIT CREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS
  CONNECTION LIMIT 20 PASSWORD :'verifier';

-- A role that it makes is granted to it with SET and INHERIT, which makes it able to give that role a database or a schema,
-- to change its default privileges, and to create a (trusted) extension in its database. ADMIN it holds as the creator.
ALTER ROLE bailiwick_operator SET createrole_self_grant = 'set, inherit';

-- Names resolve to the catalog alone, whatever an application has put into its schemas.
ALTER ROLE bailiwick_operator SET search_path = pg_catalog;

-- A statement that fails, or is slow, may be one that sets a password.
ALTER ROLE bailiwick_operator SET log_statement = 'none';
ALTER ROLE bailiwick_operator SET log_min_error_statement = 'panic';
ALTER ROLE bailiwick_operator SET log_min_duration_statement = '-1';

-- Archive and replication as they are: pg_stat_replication in full, pg_ls_archive_statusdir(), pg_ls_waldir(),
-- pg_stat_wal_receiver. Inherited only: it cannot pass the membership on.
GRANT pg_monitor TO bailiwick_operator WITH INHERIT TRUE, SET FALSE, ADMIN FALSE;

-- To see the archive work on an idle server, a segment must be finished.
GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO bailiwick_operator;

-- The databases that come with Postgres are nobody's but the operator's.
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
REVOKE ALL ON DATABASE template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO bailiwick_operator;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- The role of pg_rewind: Patroni gives it its password and its four functions right after this, but not the database.
SELECT 'CREATE ROLE bailiwick_rewind LOGIN' WHERE to_regrole('bailiwick_rewind') IS NULL \gexec
GRANT CONNECT ON DATABASE postgres TO bailiwick_rewind;

COMMIT;
\ir fixed-functions.sql

-- What new databases start with. Database privileges are not copied from a template: whoever creates one revokes there.
\connect template1
REVOKE ALL ON SCHEMA public FROM PUBLIC;
\ir fixed-functions.sql
