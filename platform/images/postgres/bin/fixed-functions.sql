-- What the control role may have done as the superuser, in this database: nothing but this. Run by control-role.sql
-- in postgres and in template1, from where each new database has it.
BEGIN;
CREATE SCHEMA IF NOT EXISTS bailiwick;
REVOKE ALL ON SCHEMA bailiwick FROM PUBLIC;
GRANT USAGE ON SCHEMA bailiwick TO bailiwick_operator;

-- Two extensions are not marked trusted, because their owner must be a superuser: whoever owns pg_cron's tables runs
-- commands as any user, and nobody but its owner could let others into topology's schema.
-- Takes the extension and the role that shall use it. Naming anything else is an error.
CREATE OR REPLACE FUNCTION bailiwick.create_extension(extension name, user_role name) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF extension = 'pg_cron' THEN
    CREATE EXTENSION IF NOT EXISTS pg_cron;
    EXECUTE format('GRANT USAGE ON SCHEMA cron TO %I', user_role);
  ELSIF extension = 'postgis_topology' THEN
    CREATE EXTENSION IF NOT EXISTS postgis_topology;
    EXECUTE format('GRANT USAGE ON SCHEMA topology TO %I', user_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON topology.topology, topology.layer TO %I', user_role);
    EXECUTE format('GRANT USAGE ON SEQUENCE topology.topology_id_seq TO %I', user_role);
  ELSE
    RAISE EXCEPTION 'bailiwick.create_extension: % is not one of pg_cron, postgis_topology', extension
      USING HINT = 'Other extensions of the image are trusted: CREATE EXTENSION.';
  END IF;
END
$function$;
REVOKE ALL ON FUNCTION bailiwick.create_extension(name, name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bailiwick.create_extension(name, name) TO bailiwick_operator;
COMMIT;
