-- The names of Supabase, where there is no Supabase: roles, schema auth, auth.users, auth.uid().
-- One block, so that it is there whole or not at all. Whatever exists is left as it is.
do $do$
declare
  role_name text;
begin
  foreach role_name in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = role_name) then
      begin
        execute format('create role %I nologin noinherit', role_name);
      exception
        when duplicate_object or unique_violation then
          null;  -- roles belong to the whole server: another database's migration was quicker
        when insufficient_privilege then
          raise exception 'role % is missing, and % may not create roles', role_name, current_user
            using hint = 'Let an administrator run schema/sql/000_names_of_supabase.sql once, then migrate again.';
      end;
    end if;
  end loop;

  if exists (select from pg_catalog.pg_namespace where nspname = 'auth') then
    return;
  end if;
  create schema auth;
  create table auth.users (id uuid primary key, email text);
  -- As in Supabase: who is asking stands in the settings of the request, in the new form or in the old one.
  create function auth.uid() returns uuid language sql stable as $uid$
    select coalesce(
      nullif(current_setting('request.jwt.claim.sub', true), ''),
      nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
    )::uuid
  $uid$;
  grant usage on schema auth to anon, authenticated, service_role;
end
$do$;
