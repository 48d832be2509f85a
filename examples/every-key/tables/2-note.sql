create table note (day text primary key, who text not null);
