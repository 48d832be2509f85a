-- Version 5: calls. A row is written before the first byte of its request is sent.

create table call (
    id       integer primary key,   -- for people
    pipeline text not null,         -- ':proxy' of `semel proxy`
    step     text not null,         -- '' where all tasks of the pipeline share it
    instance text not null,
    item     text not null,
    params   text not null,         -- JSON: the parameters that the task names beside its instance
    identity blob not null,         -- equal for equal requests
    n        integer not null,      -- which of equal calls, from 1
    rest     blob,                  -- what must match beside its key; null without one
    method   text not null,
    url      text not null,         -- without secrets
    account  text not null,         -- a name or a digest, never a credential
    read     integer not null,      -- 1: replayed only until its task completes
    retired  integer not null default 0, -- 1: its task has completed since
    state    text not null,         -- in flight, complete, rejected, unknown
    sends    integer not null,      -- how often it was sent
    allowed  integer not null default 0, -- how many further sends a human allowed
    sender   text not null,         -- who sent it last, by the name of its lock
    attempt  text not null,         -- the attempt that sent it last
    awaited  integer not null,      -- 1 while its client waits
    key      text not null,         -- the idempotency key that was sent; '' without one
    key_until text,                 -- until when the provider honours it
    began    text not null,         -- when it was sent first
    sent     text not null,         -- when it was sent last
    ended    text,                  -- when its end was known
    reason   text,                  -- why it is rejected or unknown
    request_head  text not null,    -- JSON, without secrets
    request       blob not null,    -- body.sha256
    request_bytes integer not null,
    request_kept  integer not null,
    status       integer,
    answer_head  text,              -- JSON, without secrets
    trailers     text,              -- JSON
    answer       blob,              -- body.sha256
    answer_bytes integer,
    answer_kept  integer,           -- 0: it cannot be replayed
    unit     text,                  -- of the price
    price    integer,               -- billionths: what it cost, or may have cost
    sum      integer,
    unique (pipeline, step, instance, item, params, identity, n)
) strict;

create index call_open on call (sender) where state = 'in flight';
create index call_unknown on call (pipeline, step, instance, item) where state = 'unknown';

create table call_send (
    call    integer not null references call (id) on delete cascade,
    number  integer not null,       -- from 1
    began   text not null,
    ended   text,
    state   text,                   -- what was known after it
    reason  text,
    primary key (call, number)
) strict, without rowid;

create table call_resolution (
    id      integer primary key,
    call    integer not null references call (id) on delete cascade,
    verb    text not null,          -- done, redo
    because text not null,
    host    text not null,
    user    text not null,
    at      text not null
) strict;

create table body (
    sha256  blob primary key,
    bytes   integer not null,
    content blob                    -- null: it is the file .semel/bodies/SHA256
) strict;

create table budget (
    name    text not null,          -- what the rule matches
    period  text not null,          -- a run's id, a day, a month
    calls   integer not null,       -- sent, and not rejected
    unit    text not null,
    spent   integer not null,       -- billionths, with what is reserved
    primary key (name, period, unit)
) strict, without rowid;
