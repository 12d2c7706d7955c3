-- The circuit breaker of a queue: closed, open for a cool-down, half open for one probe.

-- Up Migration

-- Opens or closes the circuit by what jobs reported, newest last. Called with the row of limits locked.
create function {{schema}}._move_circuit(
  p_queue {{schema}}._queues, p_limit {{schema}}._limits, p_failed_at timestamptz[], p_succeeded boolean
) returns {{schema}}._limits
language plpgsql security definer {{settings}} as $$
declare
  v_count integer := coalesce(p_queue.breaker_failures, 0);
begin
  if v_count = 0 or p_limit.circuit = 'open' then
    return p_limit;  -- of attempts begun before it opened
  end if;
  if p_limit.circuit = 'half-open' and p_failed_at is not null then
    p_limit.circuit_reason := 'the probe failed';
  elsif p_limit.circuit = 'half-open' then
    if p_succeeded then
      p_limit.circuit := 'closed';
      p_limit.failed_at := '{}';
      p_limit.probe_at := null;
    end if;
    return p_limit;
  else
    p_limit.failed_at := p_limit.failed_at || p_failed_at;
    p_limit.failed_at := p_limit.failed_at[greatest(cardinality(p_limit.failed_at) - v_count, 0) + 1:];
    if cardinality(p_limit.failed_at) < v_count or p_limit.failed_at[1]
        < p_limit.failed_at[v_count] - p_queue.breaker_window_ms * interval '1 millisecond' then
      return p_limit;
    end if;
    p_limit.circuit_reason := format('%s failures within %s ms', v_count, p_queue.breaker_window_ms);
  end if;
  p_limit.circuit := 'open';
  p_limit.circuit_until := clock() + p_queue.breaker_cooldown_ms * interval '1 millisecond';
  p_limit.circuit_ms := p_queue.breaker_cooldown_ms;
  p_limit.failed_at := '{}';
  p_limit.probe_at := null;
  return p_limit;
end $$;

-- Opens or closes a circuit by hand. Open: until p_until, or until it is closed by hand; then a probe.
create function {{schema}}.set_circuit(
  p_name text, p_state text, p_reason text default null, p_until timestamptz default null
) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_id integer := _queue_id_of(p_name);
begin
  if p_state is null or p_state not in ('open', 'closed') then
    raise exception 'circuit %s is not valid', coalesce(quote_literal(p_state), 'null')
      using errcode = 'HW061', hint = 'use open or closed';
  end if;
  if p_until <= clock() or p_until > clock() + interval '10 years' then
    raise exception 'a circuit cannot be open until %', p_until using errcode = 'HW062',
      hint = 'name a time that is to come, at most 10 years ahead';
  end if;
  if not exists (select from _queues where id = v_id and breaker_failures is not null) then
    raise exception 'queue % has no circuit breaker', quote_literal(p_name) using errcode = 'HW061',
      hint = 'give it the policy key breaker_failures, or pause it';
  end if;
  update _limits set circuit = p_state, failed_at = '{}', probe_at = null,
    circuit_until = case when p_state = 'open' then p_until end, circuit_ms = null,
    circuit_reason = left(coalesce(p_reason, 'by hand'), 500)
  where queue_id = v_id;
  perform _ring_queue(v_id, 16, 0) where p_state = 'closed';
end $$;

-- Down Migration

drop function {{schema}}.set_circuit(text, text, text, timestamptz);
drop function {{schema}}._move_circuit({{schema}}._queues, {{schema}}._limits, timestamptz[], boolean);
