"""What a migrated database consists of, as lines of text: two databases are equal when their lines are."""

from typing import Final

import asyncpg

TABLES: Final = (
    "stellar_wallets",
    "balance_snapshots",
    "deposit_commands",
    "auto_deposit_policies",
    "stream_cursors",
    "read_requests",
    "dead_letters",
    "webhook_ids",
)

# Policies and grants on stellar_wallets are people's own where the table was there first. Names of indexes are not
# compared: an equal one of another name is kept. NOT NULL is a constraint with a name from PostgreSQL 18 on: seen with
# its column.
_CATALOG: Final = r"""
select format('column %s.%s %s not null %s default %s %s%s', c.relname, a.attname,
              format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity,
              a.attgenerated)
from pg_attribute a join pg_class c on c.oid = a.attrelid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.oid = any($1::regclass[]) and a.attnum > 0 and not a.attisdropped
union all
select format('constraint %s %s %s valid %s', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated)
from pg_constraint where conrelid = any($1::regclass[]) and contype <> 'n'
union all
select regexp_replace(pg_get_indexdef(indexrelid), 'INDEX \S+ ON', 'INDEX ON')
from pg_index where indrelid = any($1::regclass[])
union all
select format('policy %s %s for %s to %s using %s check %s', tablename, policyname, cmd, roles, qual, with_check)
from pg_policies where schemaname = 'public' and tablename <> 'stellar_wallets'
union all
select format('trigger %s', pg_get_triggerdef(oid)) from pg_trigger
where tgrelid = any($1::regclass[]) and not tgisinternal
union all
select format('function %s callable by anon %s authenticated %s service_role %s', pg_get_functiondef(oid),
              has_function_privilege('anon', oid, 'execute'), has_function_privilege('authenticated', oid, 'execute'),
              has_function_privilege('service_role', oid, 'execute'))
from pg_proc where pronamespace = 'public'::regnamespace and prorettype <> 'trigger'::regtype
union all
select format('function %s', pg_get_functiondef(oid))
from pg_proc where pronamespace = 'public'::regnamespace and prorettype = 'trigger'::regtype
union all
select format('table %s row security %s options %s', relname, relrowsecurity, reloptions)
from pg_class where oid = any($1::regclass[])
union all
select format('%s may %s on %s: %s', role, privilege, t, has_table_privilege(role, t, privilege))
from unnest($1::regclass[]) t, unnest(array['anon', 'authenticated', 'service_role']) role,
     unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) privilege
where t <> 'public.stellar_wallets'::regclass
union all
select format('%s may %s on deposit_commands_position_seq: %s', role, privilege,
              has_sequence_privilege(role, 'public.deposit_commands_position_seq', privilege))
from unnest(array['anon', 'authenticated', 'service_role']) role, unnest(array['select', 'usage', 'update']) privilege
"""


async def catalog_lines(connection: asyncpg.Connection) -> list[str]:
    """Everything of the project's tables that decides how they behave, in a fixed order."""
    await connection.execute("set search_path = ''")
    rows = await connection.fetch(_CATALOG, [f"public.{table}" for table in TABLES])
    return sorted(row[0] for row in rows)
