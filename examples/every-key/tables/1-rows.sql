create table region (code text primary key, name text not null);
create table delay (day text not null, flights integer not null, source text not null);
create table total (day text not null, flights integer not null);
