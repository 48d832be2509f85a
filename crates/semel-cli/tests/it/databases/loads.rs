//! A load: what comes into the table, of what kinds of files, and what is expected of it.

use super::{APPENDED, FLIGHTS, ROWS, TAGGED, on_each};

#[test]
fn files_are_loaded_once_and_receipts_tell_how_many_rows() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\n2013-01-01,842\n2013-01-01,943\n");
        on.file("clean/2.csv", "day,number\n2013-01-02,914\n");
        on.pipeline(TAGGED).semel("run").exits(0).says("3 rows");
        assert_eq!(on.sql(ROWS), ["2013-01-01 842", "2013-01-01 943", "2013-01-02 914"]);
        assert_eq!(
            on.sql("select distinct source from flights order by source"),
            ["load:clean/1.csv", "load:clean/2.csv"]
        );
        assert_eq!(
            on.sql("select pipeline, step, item, row_count, target, whole from semel_stamp order by item"),
            ["test load clean/1.csv 2 flights 1", "test load clean/2.csv 1 flights 1"]
        );
        let mut receipts = on.receipts();
        receipts.sort();
        assert_eq!(receipts, ["flights 1", "flights 2"]);
        on.loads_nothing_again();
        on.file("clean/3.csv", "day,number\n2013-01-03,1\n").semel("run").exits(0);
        assert_eq!(on.sql("select count(*) from flights"), ["4"]);
        on.loads_nothing_again();
    });
}

#[test]
fn a_file_without_records_is_loaded_too() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\n").pipeline(TAGGED).semel("run").exits(0);
        assert_eq!(on.receipts(), ["flights 0"]);
        on.loads_nothing_again();
        // And replaced as any other.
        on.file("clean/1.csv", "day,number\na,1\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        on.file("clean/1.csv", "day,number\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), [""; 0]);
        on.loads_nothing_again();
    });
}

#[test]
fn nothing_is_null_and_quoted_nothing_is_an_empty_text() {
    on_each(|on| {
        on.sql("create table t (id integer, a varchar(20), b varchar(20));");
        on.file("clean/1.csv", "id,a,b\n1,,\"\"\n2,\"\",\n3,NULL,\\N\n4,\" \",\"a\"\"b\n,\"\n");
        on.pipeline(&APPENDED.replace("flights", "t")).semel("run").exits(0);
        let asked = "select id, a is null, b is null, length(a), length(b) from t order by id";
        let said: Vec<_> =
            on.sql(asked).iter().map(|row| row.replace(" t", " 1").replace(" f", " 0")).collect();
        assert_eq!(
            said,
            ["1 1 0 NULL 0", "2 0 1 0 NULL", "3 0 0 4 2", "4 0 0 1 5"],
            "nothing else means NULL"
        );
    });
}

#[test]
fn columns_are_chosen_by_a_list() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "carrier,number,day,more\nUA,1,a,x\n");
        on.pipeline(&TAGGED.replace("tag", "columns = ['day', 'number'], tag"));
        on.semel("run").exits(0);
        assert_eq!(on.sql("select day, number, source from flights"), ["a 1 load:clean/1.csv"]);
    });
}

#[test]
fn columns_of_other_names_are_said_by_a_table() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "Flight No.,Date,more\n1,a,x\n");
        let columns = "columns = { day = 'Date', number = 'Flight No.' }, tag";
        on.pipeline(&TAGGED.replace("tag", columns)).semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        // The mapping is part of what is done.
        let other = columns.replace("'Date'", "'more'");
        on.pipeline(&TAGGED.replace("tag", &other)).semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["x 1"]);
    });
}

#[test]
fn names_of_tables_and_columns_may_be_words_of_sql() {
    on_each(|on| {
        let quote = if on.engine == super::MariaDb { '`' } else { '"' };
        on.sql(&format!(
            "create table {quote}order{quote} ({quote}from{quote} varchar(9), {quote}Größe x{quote} integer)"
        ));
        on.file("in.csv", "from,Größe x\na,1\n");
        on.pipeline(&format!(
            "[step.load]\nload = {{ into = '{quote}order{quote}', file = 'in.csv' }}"
        ));
        on.semel("run").exits(0);
        assert_eq!(on.sql(&format!("select * from {quote}order{quote}")), ["a 1"]);
        on.loads_nothing_again();
    });
}

#[test]
fn other_formats_and_what_is_packed() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("in/a.tsv", "day\tnumber\na, b\t1\n");
        on.file(
            "in/b.jsonl",
            "{\"number\": 2, \"day\": \"b\\tc\"}\n{\"day\": null, \"number\": 3}\n",
        );
        on.file("in/c.csv", "day,number\nc,4\n").at.sh("gzip in/c.csv");
        on.file("in/d.csv", "day,number\nd,5\n").at.sh("zstd -q --rm in/d.csv");
        on.file("in/e.jsonl", "{\"day\":\"e\",\"number\":6}").at.sh("gzip in/e.jsonl");
        // Its name does not say what it is.
        on.file("f.data", "day,number\nf,7\n").at.sh("gzip -c f.data > f");
        on.pipeline(
            "[step.load]\neach = 'in/*'\nload = { into = 'flights', tag = 'source' }\n[step.other]\nload = { into = 'flights', file = 'f', format = 'csv', packing = 'gzip', tag = 'source' }",
        );
        on.semel("run").exits(0);
        assert_eq!(
            on.sql("select number, day from flights order by number"),
            ["1 a, b", "2 b\tc", "3 NULL", "4 c", "5 d", "6 e", "7 f"]
                .map(|row| row.replace('\t', if on.engine == super::Sqlite { "\t" } else { " " }))
        );
        on.loads_nothing_again();
    });
}

#[test]
fn replace_takes_the_place_of_all_that_it_loaded() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("in.csv", "day,number\na,1\nb,2\n");
        on.pipeline("[step.load]\nload = { into = 'flights', file = 'in.csv', mode = 'replace' }");
        on.semel("run").exits(0);
        on.file("in.csv", "day,number\nc,3\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["c 3"]);
        on.loads_nothing_again();
    });
}

#[test]
fn replace_does_not_delete_what_it_did_not_load() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.sql("insert into flights values ('old', 0, 'x')");
        on.file("in.csv", "day,number\na,1\n");
        on.pipeline("[step.load]\nload = { into = 'flights', file = 'in.csv', mode = 'replace' }");
        on.semel("run").exits(3).says("flights has 1 row already that this task did not load");
        assert_eq!(on.sql(ROWS), ["old 0"]);
        on.semel("redo load --because theirs").exits(0);
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        // Somebody else writes into it, too.
        on.sql("insert into flights values ('new', 0, 'x')");
        on.file("in.csv", "day,number\nb,2\n").semel("run").exits(3).says("2 rows");
        assert_eq!(on.sql(ROWS), ["a 1", "new 0"]);
    });
}

#[test]
fn what_is_expected_of_a_load_holds_before_it_is_committed() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n\"b\nc\",2\n");
        on.pipeline(&format!("{TAGGED}expect = {{ rows = '>= 3' }}"));
        on.semel("run").exits(1).says("2 rows were loaded from `clean/1.csv`; expected >= 3");
        assert_eq!(on.sql("select count(*) from flights"), ["0"]);
        assert_eq!(on.sql("select count(*) from semel_stamp"), ["0"]);
        on.pipeline(&format!("{TAGGED}expect = {{ rows = 2, same-rows-as = 'in' }}"));
        on.semel("run").exits(0);
        assert_eq!(on.sql("select count(*) from flights"), ["2"]);
        on.loads_nothing_again();
    });
}

#[test]
fn one_item_that_fails_leaves_the_others_loaded() {
    on_each(|on| {
        on.sql(FLIGHTS);
        for day in 1..=4 {
            on.file(&format!("clean/{day}.csv"), format!("day,number\na,{day}\n"));
        }
        on.file("clean/2.csv", "day,number\na,1\nb,2,3\n");
        on.pipeline(TAGGED).semel("run").exits(1).says("clean/2.csv");
        assert_eq!(on.sql("select number from flights order by number"), ["1", "3", "4"]);
        on.file("clean/2.csv", "day,number\na,2\n").semel("run").exits(0);
        assert_eq!(on.sql("select number from flights order by number"), ["1", "2", "3", "4"]);
        on.loads_nothing_again();
    });
}

#[test]
fn who_reads_the_table_never_sees_half_a_file() {
    // The last record is wrong; those before it came first.
    on_each(|on| {
        on.sql(FLIGHTS);
        let mut text = String::from("day,number\n");
        for number in 0..20_000 {
            text.push_str(&format!("day,{number}\n"));
        }
        text.push_str("day,many\n");
        on.file("clean/1.csv", text).pipeline(TAGGED);
        on.semel("run").exits(1).says("line 20002");
        assert_eq!(on.sql("select count(*) from flights"), ["0"]);
    });
}

#[test]
fn the_tables_name_may_come_from_the_item() {
    on_each(|on| {
        on.sql("create table a (x integer); create table b (x integer);");
        on.file("in/a.csv", "x\n1\n").file("in/b.csv", "x\n2\n");
        on.pipeline("[step.load]\neach = 'in/*.csv'\nload = { into = '{{ item.stem }}' }");
        on.semel("run").exits(0);
        assert_eq!(on.sql("select x from a union all select x from b"), ["1", "2"]);
        on.file("in/c; drop table a.csv", "x\n1\n");
        on.semel("run").exits(1).says("`into` is no name of a table");
        assert_eq!(on.sql("select x from a"), ["1"]);
    });
}
