-- Version 4: scripts. A task of a script is said by the script alone, while it runs:
-- what it said last is kept, but for the words of its commands, so that others can
-- look at the task.

create table guard (
    pipeline text not null,         -- the script
    step     text not null,
    instance text not null,
    item     text not null,
    says     text not null,         -- JSON: what it said, see docs/format.md
    run      integer not null,      -- the run in which it said so
    primary key (pipeline, step, instance, item)
) strict, without rowid;

-- The task that it is about, where it is a run of a step that stands alone.
alter table run add column task text;

alter table run_step add column place integer not null default 0; -- of a script: in which order it came to its steps
