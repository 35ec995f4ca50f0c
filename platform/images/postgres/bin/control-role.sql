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

-- What the server's files hold that it cannot take: a setting is in force only when this says nothing of it.
GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_all_file_settings() TO bailiwick_operator;
GRANT SELECT ON pg_catalog.pg_file_settings TO bailiwick_operator;

-- When clients have taken all other connections, the operator comes in by those that reserved_connections keeps.
GRANT pg_use_reserved_connections TO bailiwick_operator WITH INHERIT TRUE, SET FALSE, ADMIN FALSE;

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
-- The operator reads settings as this role, and a member that was rewound must come in whatever clients do.
GRANT pg_use_reserved_connections TO bailiwick_rewind WITH INHERIT TRUE, SET FALSE, ADMIN FALSE;


-- Sessions of the operator, of Patroni and pgBackRest (the superuser) and of pg_rewind count on these, whatever the server
-- or a database is set to. A standby starts no serializable transaction, and a backup's session waits for hours.
-- pg_rewind's role has none that a Region may set: the operator reads those as this role.
SELECT format('ALTER ROLE %I SET %s = %L', role, setting, value)
FROM unnest(ARRAY[current_user::text, 'bailiwick_operator', 'bailiwick_rewind']) AS role,
     (VALUES ('default_transaction_isolation', 'read committed'), ('default_transaction_read_only', 'off'),
             ('default_transaction_deferrable', 'off'), ('transaction_timeout', '0'), ('idle_session_timeout', '0'))
       AS pinned (setting, value)
\gexec
SELECT format('ALTER ROLE %I SET %s = %L', current_user, setting, value)
FROM (VALUES ('datestyle', 'ISO, MDY'), ('intervalstyle', 'postgres'), ('statement_timeout', '0'), ('lock_timeout', '0'),
             ('idle_in_transaction_session_timeout', '0'), ('client_min_messages', 'notice')) AS pinned (setting, value)
\gexec

COMMIT;
\ir fixed-functions.sql

-- What new databases start with. Database privileges are not copied from a template: whoever creates one revokes there.
\connect template1
REVOKE ALL ON SCHEMA public FROM PUBLIC;
\ir fixed-functions.sql
