-- What the control role may have done as the superuser, in this database: nothing but this. Run by control-role.sql
-- in postgres and in template1, from where each new database has it.
BEGIN;
CREATE SCHEMA IF NOT EXISTS bailiwick;
REVOKE ALL ON SCHEMA bailiwick FROM PUBLIC;
GRANT USAGE ON SCHEMA bailiwick TO bailiwick_operator;

-- pg_cron is not marked trusted: it works only when its owner may write its tables past row security, and whoever may,
-- runs commands as any user, the superuser too. So the superuser owns it, and one role is let in.
-- Takes the role that shall use it.
CREATE OR REPLACE FUNCTION bailiwick.create_pg_cron(user_role name) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  CREATE EXTENSION IF NOT EXISTS pg_cron;
  EXECUTE format('GRANT USAGE ON SCHEMA cron TO %I', user_role);
END
$function$;
REVOKE ALL ON FUNCTION bailiwick.create_pg_cron(name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bailiwick.create_pg_cron(name) TO bailiwick_operator;
COMMIT;
