-- The manifest, version 2: sums of rows. SQLite keeps no checksums; a byte that changed
-- in a closed file could make a receipt one of another task. Each sum is of the columns
-- of its row that a decision rests on, but for times; null in rows that were written
-- before, or by another hand.

alter table receipt    add column sum integer;
alter table attempt    add column sum integer;
alter table answer     add column sum integer;
alter table resolution add column sum integer;
alter table memory     add column sum integer;
