-- Suspects: jobs whose worker died while it held them. Which of them killed it nobody knows, so they go
-- to lanes of their own, which are served first, and never beside other jobs: after the first crash a few
-- suspects together, then each alone. Whatever ends an attempt in order clears it. A job is buried for its
-- crashes only when it was alone at the last one, so never for what its neighbours did.
--
-- Lanes of suspects are below 0: the lane at the head of their priority less 1000 in company, less 2000
-- alone. A queue of which no worker ever died has none, and its claims do not look for any.

-- Up Migration

-- Of a worker's lease: jobs that it has claimed but not begun, because they must not run beside what runs.
alter table {{schema}}.leases add column aside bigint[];
-- Suspects that run, or are about to, beside other jobs: others may not wait for them without end. Should the
-- lease end, each has crashed, and none is buried for that.
alter table {{schema}}.leases add column company bigint[];

-- Whether a job of this lane was claimed alone because of its crashes.
create function {{schema}}.is_alone(p_lane smallint) returns boolean
language sql immutable parallel safe as 'select p_lane < -1000';

-- Where a job goes that is not the first to crash, or p_is_last: its next crash or attempt is the last.
create function {{schema}}.suspect_lane(p_lane smallint, p_crashes integer, p_is_last boolean)
returns smallint
language sql immutable parallel safe as $$
  select (l - l % 2 - case when p_is_last or p_crashes > 1 then 2000 else 1000 end)::smallint
  from (select {{schema}}.plain_lane(p_lane) as l) x
$$;

-- How many jobs of a lane one claim may take. Of suspects about the root of what a worker holds: for n jobs
-- in groups of g, n / g groups run and, after another crash, g single jobs.
create function {{schema}}.claim_limit(p_lane smallint, p_limit integer) returns integer
language sql immutable parallel safe as $$
  select case when p_lane >= 0 then p_limit when p_lane < -1000 then least(p_limit, 1)
    else least(p_limit, greatest(p_limit / 4, 1), 32) end
$$;

-- A worker says which suspects wait until it runs nothing else; null: they begin. Should it die meanwhile,
-- they have not crashed. And which run in company: should it die then, they are not buried for it. Both
-- replace what it has said before. Returns false when the lease has ended.
create function {{schema}}.set_aside(p_lease_id bigint, p_ids bigint[], p_company bigint[] default null)
returns boolean
language plpgsql security definer {{settings}} as $$
begin
  update leases set aside = p_ids, company = p_company where id = p_lease_id;
  return found;
end $$;

revoke execute on all functions in schema {{schema}} from public;

-- Down Migration

drop function {{schema}}.set_aside(bigint, bigint[], bigint[]);
drop function {{schema}}.claim_limit(smallint, integer);
drop function {{schema}}.suspect_lane(smallint, integer, boolean);
drop function {{schema}}.is_alone(smallint);
alter table {{schema}}.leases drop column company;
alter table {{schema}}.leases drop column aside;
