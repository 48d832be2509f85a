-- Version 2: leases with fencing tokens.

create table lease (
    pipeline text not null,
    instance text not null,
    token    integer not null,      -- only grows: who was given a lower one writes nothing more
    run      integer not null,      -- who has it, or had it last
    since    text not null,         -- when the token was given
    ended    text,                  -- when it was given back; null while it is held, and where its run was killed
    primary key (pipeline, instance)
) strict, without rowid;
