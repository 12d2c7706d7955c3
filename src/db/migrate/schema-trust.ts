import { HowdahError } from '../../core/errors.js';

/**
 * Who else could have put something into the schema, as the column `problem`; no row: nobody. Functions there run
 * with the rights of whoever migrates, and names are looked up there first: what another role may create or
 * has left there would be run with these rights. Superusers need no such way.
 * @param schema a name that needs no escape
 * @param trusted whose the schema is to be: of whoever asks, or its owner, where only a look is wanted
 */
export function distrustSql(schema: string, trusted: 'current_user' | 'owner'): string {
  const me = `(select r.oid from pg_catalog.pg_roles r where r.rolname = current_user)`;
  return `
  select w.problem from (
    select n.oid, n.nspowner, n.nspacl, o.rolname as owner, ${trusted === 'owner' ? 'n.nspowner' : me} as trusted
    from pg_catalog.pg_namespace n join pg_catalog.pg_roles o on o.oid = n.nspowner
    where n.nspname = '${schema}'
  ) n cross join lateral (
    select 1 as place, pg_catalog.format('it belongs to %I, not to %I', n.owner, current_user) as problem
    where n.nspowner <> n.trusted and exists (select from pg_catalog.pg_roles r
      where r.oid in (n.nspowner, n.trusted) and not r.rolsuper)
    union all
    select 2, pg_catalog.format('%s may create objects in it', coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
    from pg_catalog.aclexplode(n.nspacl) a left join pg_catalog.pg_roles r on r.oid = a.grantee
    where a.privilege_type = 'CREATE' and a.grantee not in (n.nspowner, n.trusted) and r.rolsuper is not true
    union all
    select 3, pg_catalog.format('%I owns %s', r.rolname, pg_catalog.pg_describe_object(d.classid, d.objid, 0))
    from pg_catalog.pg_depend d
    join pg_catalog.pg_shdepend s on s.classid = d.classid and s.objid = d.objid and s.objsubid = 0
      and s.deptype = 'o' and s.dbid = (select b.oid from pg_catalog.pg_database b
        where b.datname = pg_catalog.current_database())
    join pg_catalog.pg_roles r on r.oid = s.refobjid and r.oid <> n.trusted and not r.rolsuper
    where d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.refobjid = n.oid
      and d.classid in ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_proc'::regclass,
        'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_operator'::regclass,
        'pg_catalog.pg_opclass'::regclass, 'pg_catalog.pg_opfamily'::regclass,
        'pg_catalog.pg_collation'::regclass, 'pg_catalog.pg_conversion'::regclass)
    union all
    select 4, pg_catalog.format('%I owns the function of a trigger on %s', r.rolname, c.relname)
    from pg_catalog.pg_class c join pg_catalog.pg_trigger t on t.tgrelid = c.oid
    join pg_catalog.pg_proc p on p.oid = t.tgfoid
    join pg_catalog.pg_roles r on r.oid = p.proowner and r.oid <> n.trusted and not r.rolsuper
    where c.relnamespace = n.oid
    union all
    select 5, 'its table migration is not one that Howdah has made'
    from pg_catalog.pg_class c where c.relnamespace = n.oid and c.relname = 'migration'
      and (c.relkind <> 'r' or c.relhasrules or c.relrowsecurity or c.relchecks > 0
        or exists (select from pg_catalog.pg_index i
          where i.indrelid = c.oid and (i.indexprs is not null or i.indpred is not null))
        or exists (select from pg_catalog.pg_attrdef e where e.adrelid = c.oid
          and pg_catalog.pg_get_expr(e.adbin, e.adrelid) not like 'nextval(%'))
  ) w order by w.place limit 1`;
}

/** @param problem a row of {@link distrustSql} */
export function unsafe(schema: string, problem: string): HowdahError {
  return new HowdahError('HOWDAH_SCHEMA_UNSAFE', `Schema ${schema} is not safe: ${problem}.`, {
    details: { schema, problem },
    remedy: remedyFor(schema),
  });
}

/** What makes a schema safe. */
export function remedyFor(schema: string): string {
  return (
    `Use a schema that only this role owns and creates in: look at what is there, then ALTER SCHEMA ${schema} ` +
    `OWNER TO ... and REVOKE CREATE ON SCHEMA ${schema} FROM ..., or choose another with the option schema.`
  );
}

/** The same as SQL that fails, for a script of psql. */
export function distrustScript(schema: string): string {
  return `do $trust$
declare
  v_problem text := (${distrustSql(schema, 'current_user')});
begin
  if v_problem is not null then
    raise exception 'schema ${schema} is not safe: %', v_problem using errcode = '42501',
      hint = 'use a schema that only this role owns and creates in';
  end if;
end $trust$;`;
}
