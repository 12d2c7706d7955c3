-- Topics: one publication, a job in each queue that is subscribed.

-- Up Migration

-- Who gets what is published.
create table {{schema}}._subscriptions (
  topic         text not null,
  queue_id      integer not null,
  subscribed_at timestamptz not null default {{schema}}.clock(),
  constraint subscriptions_pkey primary key (topic, queue_id),
  constraint subscriptions_topic_check check (topic ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$')
);

create function {{schema}}._check_topic(p_topic text) returns void
language plpgsql immutable security definer {{settings}} as $$
begin
  if p_topic is null or p_topic !~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$' then
    raise exception 'topic % is not valid', coalesce(quote_literal(left(p_topic, 140)), 'null')
      using errcode = 'HW203',
      hint = 'use 1 to 128 letters, digits and . _ : / -, beginning with a letter or digit';
  end if;
end $$;

-- From now on the queue gets what is published to the topic. False: it did already.
create function {{schema}}.subscribe(p_topic text, p_queue text) returns boolean
language plpgsql security definer {{settings}} as $$
declare
  v_queue_id integer := _queue_id_of(p_queue);
begin
  perform _check_topic(p_topic);
  delete from _subscriptions s using _queues q where q.id = s.queue_id and q.deleted_at is not null;
  insert into _subscriptions (topic, queue_id) values (p_topic, v_queue_id) on conflict do nothing;
  return found;
end $$;

-- False: it was not subscribed.
create function {{schema}}.unsubscribe(p_topic text, p_queue text) returns boolean
language plpgsql security definer {{settings}} as $$
begin
  perform _check_topic(p_topic);
  delete from _subscriptions where topic = p_topic and queue_id = _queue_id_of(p_queue);
  return found;
end $$;

-- A job in each queue that is subscribed, or none at all. p_job: {"topic", "payload", ...}, with the options of
-- enqueue() in place of a queue. No row: nobody is subscribed.
create function {{schema}}.publish(p_job jsonb, p_ring boolean default true)
returns table (queue text, id bigint, created boolean)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_topic text := p_job ->> 'topic';
  v_queues text[];
  v_problem text;
  v_text record;
begin
  if jsonb_typeof(p_job) is distinct from 'object' or p_job ? 'queue' then
    raise exception 'what is published must be a JSON object without a queue' using errcode = 'HW018',
      hint = 'for example {"topic": "orders", "payload": {"id": 1}}';
  end if;
  if jsonb_typeof(p_job -> 'topic') <> 'string' then
    raise exception 'topic % is not text', left((p_job -> 'topic')::text, 140) using errcode = 'HW203',
      hint = 'for example {"topic": "orders", "payload": {"id": 1}}';
  end if;
  perform _check_topic(v_topic);
  v_queues := array(
    select q.name from _subscriptions s join _queues q on q.id = s.queue_id and q.deleted_at is null
    where s.topic = v_topic order by q.name);
  p_job := p_job - 'topic';
  v_problem := _job_problem(p_job, 0, 67108864);
  if v_problem is not null then  -- told even where nobody listens
    v_text := _describe_problem(v_problem, p_job);
    raise exception '%', v_text.message using errcode = v_problem, hint = v_text.hint;
  end if;
  if v_queues <> '{}' then
    p_job := _with_header(p_job, 'howdah-topic', to_jsonb(v_topic));
    return query
      select v_queues[e.ordinal], e.id, e.created
      from enqueue((select jsonb_agg(p_job || jsonb_build_object('queue', name) order by n)
        from unnest(v_queues) with ordinality u (name, n)), 'raise', p_ring) e
      order by e.ordinal;
  end if;
end $$;

create view {{schema}}.topics as
select s.topic, q.name as queue, s.subscribed_at
from {{schema}}._subscriptions s join {{schema}}._queues q on q.id = s.queue_id and q.deleted_at is null;

-- Down Migration

drop view {{schema}}.topics;
drop function {{schema}}.publish(jsonb, boolean);
drop function {{schema}}.unsubscribe(text, text);
drop function {{schema}}.subscribe(text, text);
drop function {{schema}}._check_topic(text);
drop table {{schema}}._subscriptions;
