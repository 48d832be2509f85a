-- For SQLite and for PostgreSQL.
create table if not exists flight (
  day       date    not null,
  carrier   text    not null,
  flight    integer not null,
  origin    text    not null,
  dest      text    not null,
  dep_delay integer not null,
  arr_delay integer,             -- none of those that did not arrive where they should
  distance  integer not null,
  source    text    not null     -- the task that loaded the row
);
create index if not exists flight_by_source on flight (source);
create table if not exists expected (
  day     date    not null primary key,
  flights integer not null
);
