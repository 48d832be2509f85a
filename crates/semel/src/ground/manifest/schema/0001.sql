-- The manifest, version 1. docs/reference/manifest.md explains every column.
-- Times are UTC, ISO 8601. Digests are SHA-256: 32 bytes in what, how and
-- effect, hexadecimal text in file.sha256. Names of items and instances are
-- percent-encoded as in names of tasks; '' where a step has none.

create table memory (
    id          text not null,      -- of this manifest, random
    born        text not null,      -- when it was made
    whole_since text,               -- nothing that happened since is unknown to it; null: since ever
    runs_before integer not null    -- numbers up to this one were given to runs before it was made
) strict;

create table once_log (
    manifest text primary key,      -- of those that wrote to once.log
    seq      integer not null       -- the last of its lines that is known here
) strict, without rowid;

create table run (
    number   integer primary key,   -- for people
    id       text not null unique,  -- UUIDv7
    pipeline text not null,
    file     text not null,         -- the name of its file
    instance text not null,
    params   text not null,         -- JSON object
    command  text not null,         -- as it was typed
    selected integer not null,      -- 1 if only some steps or tasks were asked for
    host     text not null,
    user     text not null,
    pid      integer not null,
    began    text not null,
    ended    text,                  -- null while it runs, and where it was killed
    status   integer                -- its exit status
) strict;

create index run_pipeline on run (pipeline, number);

create table run_step (
    run      integer not null references run (number) on delete cascade,
    step     text not null,
    instance text not null,
    total    integer not null,      -- the tasks there were
    ran      integer not null,      -- brought to their state by running
    skipped  integer not null,
    adopted  integer not null,
    reused   integer not null,
    failed   integer not null,
    refused  integer not null,
    busy     integer not null,
    blocked  integer not null,
    untried  integer not null,      -- not reached, since the run ended before
    rows     integer,               -- records in what was written
    seconds  real not null,         -- from the first attempt to the last receipt
    note     text not null,         -- the first thing that went wrong
    primary key (run, step, instance)
) strict, without rowid;

create table receipt (
    id       integer primary key,
    pipeline text not null,
    step     text not null,
    instance text not null,
    item     text not null,
    encoding integer not null,      -- version of the fingerprint's encoding
    what     blob not null,
    how      blob not null,
    effect   blob,                  -- of the outputs; null without any
    given    blob not null,         -- part.digest: the shared fields of what
    origin   text not null,         -- run, adopt, reuse, settle
    at       text not null,
    run      integer not null,
    seconds  real not null,
    once     integer not null,      -- 1 if its step was unsafe to repeat
    unique (pipeline, step, instance, item)
) strict;

create index receipt_once on receipt (pipeline, step) where once = 1;

create table part (
    digest   blob primary key,
    json     text not null          -- the fields behind receipt.given and receipt.how
) strict, without rowid;

create table file (
    receipt  integer not null references receipt (id) on delete cascade,
    role     text not null,         -- in, out
    name     text not null,         -- the key or the place by which the pipeline names it
    path     any not null,          -- text; bytes where it is not UTF-8
    bytes    integer not null,
    rows     integer,               -- records, where they were counted
    sha256   text not null,         -- stat:... where it is one of size, time and inode
    primary key (receipt, role, name, path)
) strict, without rowid;

create index file_made on file (path) where role = 'out';

create table attempt (
    run      integer not null,
    number   integer not null,      -- within the run
    pipeline text not null,
    step     text not null,
    instance text not null,
    item     text not null,
    tries    integer not null,      -- which try in this run, from 1
    what     blob not null,
    how      blob not null,
    began    text not null,
    ended    text,
    ending   text,                  -- done, failed, void, interrupted; null while it works
    reason   text,                  -- why it failed
    status   integer,               -- exit status of the command
    signal   integer,               -- the signal that ended it
    undone   integer not null,      -- 1 if it provably did nothing
    open     integer not null,      -- 1 if no receipt was written since it began
    log_at   integer not null,      -- where in .semel/log/RUN.log its output stands
    log_size integer not null,
    once     integer not null,      -- 1 if its step was unsafe to repeat
    primary key (run, number)
) strict, without rowid;

create index attempt_open on attempt (pipeline, step, instance, item) where open = 1;
create index attempt_once on attempt (pipeline, step) where once = 1 and open = 1;
create index attempt_task on attempt (pipeline, step, instance, item, run, number);

create table answer (
    pipeline text not null,
    step     text not null,
    instance text not null,
    item     text not null,
    what     blob not null,
    how      blob not null,
    at       text not null,         -- when the check held last
    primary key (pipeline, step, instance, item)
) strict, without rowid;

create table resolution (
    id              integer primary key,
    pipeline        text not null,
    step            text not null,
    instance        text not null,
    item            text not null,
    verb            text not null,     -- done, redo
    without_outputs integer not null,  -- 1: done, though there are no outputs
    because         text not null,
    host            text not null,
    user            text not null,
    at              text not null,
    acted_by        integer            -- the run that acted on it; null until then, 0: void
) strict;

create index resolution_open on resolution (pipeline, step, instance, item) where acted_by is null;

-- Receipts of tasks that are gone: a receipt is ended only when its task has been
-- gone long enough, so it must be known since when.
create table gone (
    receipt integer primary key references receipt (id) on delete cascade,
    since   text not null            -- when gc saw first that its item is gone
) strict;
