-- Time, and rules of single values: what a time, a number or a size may be. Nothing here knows a table.

-- Up Migration

-- Queues: one row a queue. What a deploy declares (policy) and what an operator overrides (paused)
-- live in separate columns, so that a deploy never undoes an operator.



-- The one clock of the installation. Everything that compares or stores a time calls it, so that a
-- test can move time by replacing this function. Inlined by the planner: it costs nothing.
-- It is volatile, so an index is searched for a variable of its value or for (select clock()) only: a bare clock() there
-- would be compared with each entry.
create function {{schema}}.clock() returns timestamptz
language sql volatile parallel safe as 'select pg_catalog.clock_timestamp()';

-- Enqueue: any number of jobs of any queues in one text parameter, callable from every driver:
--   select * from enqueue($1::text::jsonb)



-- A time as text, or null when it is none. Only run_at given as text pays for the exception block.
create function {{schema}}._parse_time(p_text text) returns timestamptz
language plpgsql stable security definer {{settings}} {{plain}} as $$
begin
  return p_text::timestamptz;
exception when others then
  return null;
end $$;

-- What is wrong with a whole number among the options of a job, as a boolean.
create function {{schema}}._is_out_of_range(p_value jsonb, p_min numeric, p_max numeric)
returns boolean
language sql immutable as $$
  select case coalesce(jsonb_typeof(p_value), 'null')
    when 'null' then false
    when 'number' then p_value::numeric not between p_min and p_max or p_value::numeric % 1 <> 0
    else true
  end
$$;

-- The length of the text of a value; 2147483647 where that is beyond what the server can hold.
create function {{schema}}._text_bytes(p_value jsonb) returns integer
language plpgsql stable security definer {{settings}} as $$
begin
  return octet_length(p_value::text);
exception when program_limit_exceeded or out_of_memory then
  return 2147483647;
end $$;

-- Whether a JSON text may have a number much longer as jsonb writes it out than it is here: an exponent of two digits or
-- more. It may say so of text within a string, too. Some 3 ns a byte.
create function {{schema}}.has_exponent(p_text text) returns boolean
language sql immutable as $$
  select p_text ~ E'(^|[],:[[:space:]\x1e])-?[0-9][0-9.]*[eE][-+]?[0-9]{2}'
$$;

-- The same of a value: whether numbers in it are very large or very small. A zero counts where p_or_zero, for it may have
-- decimals, too: 0e-16383.
create function {{schema}}._is_wide(p_value jsonb, p_or_zero boolean default false) returns boolean
language sql immutable as $$
  select case when p_or_zero then jsonb_path_exists(p_value,
      'strict $.** ? (@ > 1e22 || @ < 1e-22 && (@ < -1e22 || @ > -1e-22))')
    else jsonb_path_exists(p_value,
      'strict $.** ? (@ > 1e22 || @ < 1e-22 && (@ < -1e22 || @ > -1e-22 && @ != 0))') end
$$;

-- What is wrong with a value that _is_wide(): 'unfit' where a number in it is one that no client holds, which is what
-- JavaScript reads as infinite or has more than 350 decimals; 'long' where its text is longer than p_bytes_max. It makes no
-- text, and counts a large number as a third of its length at least: a text made after it has at most four times what is allowed.
create function {{schema}}._number_flaw(p_value jsonb, p_bytes_max integer) returns text
language plpgsql stable security definer {{settings}} as $$
declare
  v_bytes bigint;
  v_is_fit boolean;
begin
  select coalesce(sum(scale(n) + case when n between -1e22 and 1e22 then 0 when n between -1e70 and 1e70 then 22
      when n between -1e150 and 1e150 then 70 else 150 end), 0),
    coalesce(bool_and(scale(n) <= 350 and n between -1.797693134862315807e308 and 1.797693134862315807e308), true)
  into v_bytes, v_is_fit
  from (select e::numeric as n from jsonb_array_elements(jsonb_path_query_array(p_value,
    'strict $.** ? (@ > 1e22 || @ < 1e-22 && (@ < -1e22 || @ > -1e-22))')) e) x;
  return case when not v_is_fit then 'unfit' when v_bytes > p_bytes_max then 'long' end;
end $$;

-- Whether the text of a value is longer than it may be, or has a number that no client holds. The stored form does not
-- tell: a number such as 1e131071 takes some 16 bytes of it and 131,072 of text. Text is made only of what is neither short
-- nor wide. What is stored takes no more than four times its text. p_may_be_wide false: it was looked at before.
create function {{schema}}._is_too_long(p_value jsonb, p_bytes_max integer, p_may_be_wide boolean default true)
returns boolean
language sql stable as $$
  select case
    when p_may_be_wide and {{schema}}._is_wide(p_value, pg_column_size(p_value) > 4096)
      and {{schema}}._number_flaw(p_value, p_bytes_max) is not null then true
    when pg_column_size(p_value) <= least(p_bytes_max / 4000, 262) then false
    when pg_column_size(p_value) > 4 * p_bytes_max::bigint + 100 then true
    when pg_column_size(p_value) <= 65536 then octet_length(p_value::text) > p_bytes_max
    else {{schema}}._text_bytes(p_value) > p_bytes_max end
$$;

-- Whether it is nested deeper than clients take: JSON_DEPTH_MAX in src/core/json.ts. A level takes 8 bytes at least.
create function {{schema}}._is_too_deep(p_value jsonb) returns boolean
language sql stable as $$
  select pg_column_size(p_value) > 4000 and jsonb_path_exists(p_value,
    'strict $.**{501} ? (@.type() == "array" || @.type() == "object")')
$$;

-- The rate of p_count events since p_since, joined to the rate before: it forgets within 10 seconds.
create function {{schema}}._smoothed_rate(
  p_rate double precision, p_count double precision, p_since timestamptz, p_now timestamptz
) returns double precision
language sql immutable as $$
  select p_rate * exp(-s / 10) + p_count / s * (1 - exp(-s / 10))
  from (select greatest(extract(epoch from p_now - p_since), 0.001)::double precision as s) x
$$;

-- The day as history is cut, as text that no setting of the session shapes.
create function {{schema}}._day_start(p_day date) returns text
language sql stable as $$
  select pg_catalog.to_char(p_day, 'YYYY-MM-DD') || ' 00:00:00+00'
$$;

-- Limits of a queue: concurrency, rate, circuit breaker, and what a handler learned of a service
-- (HTTP 429). Claims of one limited queue take turns on its row of limits, for the length of a claim;
-- settles never touch that row: they insert what they give back, and the next claim folds it.
-- Lock order: lease, jobs, queues, limits.
--
-- What runs is counted by permits: a claim writes into the job what it takes, whatever ends the lease of
-- a job gives back exactly that. So the count cannot drift when a limit is set, changed or taken away
-- while jobs run; jobs claimed before the first limit hold none and are not counted.



create function {{schema}}._ms_until(p_time timestamptz) returns bigint
language sql volatile as $$
  select greatest(ceil(extract(epoch from p_time - {{schema}}.clock()) * 1000), 0)::bigint
$$;

-- Milliseconds since 1970 in JSON, or null.
create function {{schema}}._ms_to_time(p_ms jsonb) returns timestamptz
language sql immutable as $$
  select to_timestamp(nullif(p_ms, 'null')::float8 / 1000)
$$;

-- Down Migration

drop function {{schema}}._ms_to_time(jsonb);
drop function {{schema}}._ms_until(timestamptz);
drop function {{schema}}._day_start(date);
drop function {{schema}}._smoothed_rate(double precision, double precision, timestamptz, timestamptz);
drop function {{schema}}._is_too_deep(jsonb);
drop function {{schema}}._is_too_long(jsonb, integer, boolean);
drop function {{schema}}._number_flaw(jsonb, integer);
drop function {{schema}}._is_wide(jsonb, boolean);
drop function {{schema}}.has_exponent(text);
drop function {{schema}}._text_bytes(jsonb);
drop function {{schema}}._is_out_of_range(jsonb, numeric, numeric);
drop function {{schema}}._parse_time(text);
drop function {{schema}}.clock();
