//! New versions of what was loaded: rows of the old one are replaced, or nothing is done;
//! never are there both, and never does a row of somebody else go.

use super::{APPENDED, FLIGHTS, ROWS, TAGGED, on, on_each, side_by_side};
use super::{MariaDb, Postgres};

#[test]
fn f4a_a_new_version_is_not_appended_to_the_old_one() {
    let said = on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\nb,2\n").pipeline(APPENDED).semel("run").exits(0);
        on.file("clean/1.csv", "day,number\na,1\nb,3\n");
        let ran = on.semel("run").exits(3);
        assert_eq!(on.sql(ROWS), ["a 1", "b 2"]);
        on.semel("run").exits(3);
        // A human deletes the old rows, and says so.
        on.sql("delete from flights");
        on.semel("redo load:clean/1.csv --because deleted").exits(0);
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1", "b 3"]);
        on.loads_nothing_again();
        on.shown(&ran)
    });
    insta::assert_snapshot!("append_refused", side_by_side(&said));
}

#[test]
fn f4a_a_human_may_say_that_the_new_version_is_there_already() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").pipeline(APPENDED).semel("run").exits(0);
        on.file("clean/1.csv", "day,number\na,2\n").semel("run").exits(3);
        on.sql("update flights set number = 2");
        on.semel("done load:clean/1.csv --because updated").exits(0);
        on.semel("run").exits(0);
        on.loads_nothing_again();
        assert_eq!(on.sql(ROWS), ["a 2"]);
        // It holds without memory, too.
        on.at.remove(".semel").semel("run").exits(0).says("adopt");
        assert_eq!(on.sql(ROWS), ["a 2"]);
    });
}

#[test]
fn f4b_back_to_the_first_version_are_the_first_rows() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.pipeline(TAGGED);
        for number in ["1", "2", "1"] {
            on.file("clean/1.csv", format!("day,number\na,{number}\n")).semel("run").exits(0);
            assert_eq!(on.sql(ROWS), [format!("a {number}")]);
            on.loads_nothing_again();
        }
    });
}

#[test]
fn f4b_back_to_the_first_version_with_replace_where() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.pipeline(WHERE);
        for number in ["1", "2", "1"] {
            on.file("clean/a.csv", format!("day,number\na,{number}\n")).semel("run").exits(0);
            assert_eq!(on.sql(ROWS), [format!("a {number}")]);
        }
        on.loads_nothing_again();
    });
}

#[test]
fn f4c_a_renamed_file_is_not_loaded_again_and_its_next_version_finds_its_rows() {
    for steps in [TAGGED, APPENDED] {
        on_each(|on| {
            on.sql(FLIGHTS);
            on.file("clean/a.csv", "day,number\na,1\nb,2\n");
            on.file("clean/other.csv", "day,number\nc,3\n");
            on.pipeline(steps).semel("run").exits(0);
            on.at.rename("clean/a.csv", "clean/b.csv");
            on.semel("run").exits(0).says("reuse");
            assert_eq!(on.sql(ROWS), ["a 1", "b 2", "c 3"]);
            on.loads_nothing_again();
            on.file("clean/b.csv", "day,number\na,9\n");
            if steps == APPENDED {
                on.semel("run").exits(3);
                assert_eq!(on.sql(ROWS), ["a 1", "b 2", "c 3"]);
            } else {
                on.semel("run").exits(0);
                assert_eq!(on.sql(ROWS), ["a 9", "c 3"]);
                on.loads_nothing_again();
            }
        });
    }
}

const WHERE: &str = "[step.load]\neach = 'clean/*.csv'\nload = { into = 'flights', replace-where = 'day = {{ item.stem }}' }\n";

#[test]
fn f4d_daily_files_do_not_delete_one_anothers_rows() {
    on_each(|on| {
        on.sql(FLIGHTS);
        for day in ["a", "b", "it's"] {
            on.file(&format!("clean/{day}.csv"), format!("day,number\n{day},1\n{day},2\n"));
        }
        on.pipeline(WHERE).semel("run").exits(0);
        assert_eq!(on.sql("select count(*) from flights"), ["6"]);
        on.file("clean/it's.csv", "day,number\nit's,3\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1", "a 2", "b 1", "b 2", "it's 3"]);
        on.loads_nothing_again();
    });
}

#[test]
fn f4d_a_condition_that_finds_rows_of_others_deletes_none() {
    let said = on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").file("clean/2.csv", "day,number\na,2\n");
        // Both have the same month, so to say.
        on.pipeline(&WHERE.replace("'day = {{ item.stem }}'", "\"day = 'a'\""));
        let ran = on.semel("run -j 1").exits(3);
        assert_eq!(on.sql(ROWS), ["a 1"], "the second would have deleted the first");
        on.shown(&ran)
    });
    insta::assert_snapshot!("overlapping_conditions", side_by_side(&said));
}

#[test]
fn f4d_a_condition_changed_in_the_file_deletes_by_the_old_one() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/a.csv", "day,number\na,1\na,2\n").pipeline(WHERE).semel("run").exits(0);
        on.pipeline(
            &WHERE.replace("day = {{ item.stem }}", "{{ item.stem }} = day and number > 0"),
        );
        on.file("clean/a.csv", "day,number\na,3\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 3"]);
        on.loads_nothing_again();
    });
}

#[test]
fn f4e_replace_with_each_is_an_error_of_the_file() {
    let on = super::On::new(super::Sqlite);
    on.file("clean/1.csv", "day\na\n");
    on.pipeline(
        "[step.load]\neach = 'clean/*.csv'\nload = { into = 'flights', mode = 'replace' }\n",
    );
    let ran = on.semel("run").exits(2);
    insta::assert_snapshot!("replace_with_each", on.shown(&ran));
    assert!(!on.at.has("test.db"));
}

#[test]
fn rows_that_somebody_else_changed_are_neither_deleted_nor_loaded_again() {
    let said = on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\nb,2\nc,3\n").pipeline(TAGGED);
        on.semel("run").exits(0);
        on.sql("delete from flights where number > 1");
        on.file("clean/1.csv", "day,number\na,7\n");
        let deleted = on.semel("run").exits(3);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        let status = on.semel("status");
        let why = on.semel("why load:clean/1.csv");
        on.semel("redo load:clean/1.csv --because stale").exits(0);
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 7"]);
        on.loads_nothing_again();
        // Others were added under the same tag.
        on.sql("insert into flights values ('mine', 0, 'load:clean/1.csv')");
        on.file("clean/1.csv", "day,number\na,8\n");
        on.semel("run").exits(3).says("2 rows").says("1 row ");
        assert_eq!(on.sql(ROWS), ["a 7", "mine 0"]);
        on.semel("done load:clean/1.csv --because checked").exits(0);
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 7", "mine 0"]);
        on.loads_nothing_again();
        [deleted, status, why].map(|ran| on.shown(&ran)).join("\n---\n")
    });
    insta::assert_snapshot!("rows_changed", side_by_side(&said));
}

#[test]
fn f4_equal_files_are_loaded_once_and_when_one_changes_the_other_keeps_the_rows() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").file("clean/2.csv", "day,number\na,1\n");
        on.pipeline(TAGGED).semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        on.loads_nothing_again();
        // Whichever of them it was that loaded the rows.
        let leader = on.sql("select source from flights")[0].replace("load:", "");
        let other = if leader == "clean/1.csv" { "clean/2.csv" } else { "clean/1.csv" };
        on.file(&leader, "day,number\nb,2\n").semel("run").exits(0);
        let tags = "select number, source from flights order by number";
        assert_eq!(on.sql(tags), [format!("1 load:{other}"), format!("2 load:{leader}")]);
        on.loads_nothing_again();
        on.file(other, "day,number\nc,3\n").semel("run").exits(0);
        assert_eq!(on.sql(tags), [format!("2 load:{leader}"), format!("3 load:{other}")]);
        on.loads_nothing_again();
    });
}

#[test]
fn f4_when_the_other_of_two_equal_files_changes_the_first_keeps_its_rows() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").file("clean/2.csv", "day,number\na,1\n");
        on.pipeline(TAGGED).semel("run").exits(0);
        let leader = on.sql("select source from flights")[0].replace("load:", "");
        let other = if leader == "clean/1.csv" { "clean/2.csv" } else { "clean/1.csv" };
        on.file(other, "day,number\nb,2\n").semel("run").exits(0);
        let tags = "select number, source from flights order by number";
        assert_eq!(on.sql(tags), [format!("1 load:{leader}"), format!("2 load:{other}")]);
        on.loads_nothing_again();
    });
}

#[test]
fn f4_when_both_of_two_equal_files_change_the_old_rows_go() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").file("clean/2.csv", "day,number\na,1\n");
        on.pipeline(TAGGED).semel("run").exits(0);
        on.file("clean/1.csv", "day,number\nb,2\n").file("clean/2.csv", "day,number\nc,3\n");
        on.semel("run").exits(0);
        assert_eq!(
            on.sql("select number, source from flights order by number"),
            ["2 load:clean/1.csv", "3 load:clean/2.csv"]
        );
        on.loads_nothing_again();
    });
}

#[test]
fn equal_files_that_change_places_load_nothing() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").file("clean/2.csv", "day,number\nb,2\n");
        on.pipeline(TAGGED).semel("run").exits(0);
        on.file("clean/1.csv", "day,number\nb,2\n").file("clean/2.csv", "day,number\na,1\n");
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1", "b 2"]);
        on.loads_nothing_again();
    });
}

#[test]
fn a_step_that_is_renamed_finds_its_rows() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").pipeline(TAGGED).semel("run").exits(0);
        on.pipeline(&TAGGED.replace("[step.load]", "[step.store]\nwas = 'load'"));
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        on.file("clean/1.csv", "day,number\na,2\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 2"]);
        on.loads_nothing_again();
    });
}

#[test]
fn another_table_for_what_was_loaded_is_asked_about() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.sql(&FLIGHTS.replace("flights", "trips"));
        on.file("clean/1.csv", "day,number\na,1\n").pipeline(TAGGED).semel("run").exits(0);
        on.pipeline(&TAGGED.replace("flights", "trips"));
        on.semel("run").exits(3).says("flights").says("trips");
        assert_eq!(on.sql("select count(*) from trips"), ["0"]);
        on.semel("redo load:clean/1.csv --because moved").exits(0);
        on.semel("run").exits(0);
        assert_eq!(on.sql("select day from trips union all select day from flights"), ["a", "a"]);
        on.loads_nothing_again();
    });
}

#[test]
fn f4f_another_name_of_the_same_host_loads_nothing_again() {
    on(&[Postgres, MariaDb], |on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").pipeline(TAGGED).semel("run").exits(0);
        let url = on.url().replace("127.0.0.1", "localhost");
        on.at.pipeline(&format!("[db]\nmain = '{url}'\n{TAGGED}"));
        let ran = on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"], "{ran:?}");
        on.loads_nothing_again();
        assert_eq!(on.sql("select count(*) from semel_stamp"), ["1"]);
        // And back, with a parameter in its place.
        on.at.pipeline(&format!(
            "[params]\nhost = '127.0.0.1'\n[db]\nmain = '{}'\n{TAGGED}",
            on.url().replace("127.0.0.1", "{{ params.host }}")
        ));
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        assert_eq!(on.sql("select count(*) from semel_stamp"), ["1"]);
    });
}

#[test]
fn f4_equal_files_that_nothing_tells_apart_are_asked_about_when_one_changes() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/a.csv", "day,number\na,1\n").file("clean/b.csv", "day,number\na,1\n");
        on.pipeline("[step.load]\neach = 'clean/*.csv'\nload = { into = 'flights', replace-where = \"day = 'a'\" }");
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        on.file("clean/a.csv", "day,number\na,2\n");
        on.semel("run").exits(3);
        assert_eq!(on.sql(ROWS), ["a 1"], "they may be those of the other, too");
    });
}

#[test]
fn f36_afresh_replaces_the_rows_or_is_refused() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").pipeline(TAGGED).semel("run").exits(0);
        on.semel("run --fresh").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        let runs = on.sql("select run from semel_stamp");
        on.semel("run --fresh").exits(0);
        assert_ne!(on.sql("select run from semel_stamp"), runs, "they were loaded again");
        assert_eq!(on.sql(ROWS), ["a 1"]);
        on.loads_nothing_again();
        let other = on.elsewhere();
        other.sql("delete from flights; delete from semel_stamp;");
        other.file("clean/1.csv", "day,number\na,1\n").pipeline(APPENDED).semel("run").exits(0);
        other.semel("run --fresh").exits(3);
        assert_eq!(on.sql(ROWS), ["a 1"]);
    });
}

#[test]
fn instances_of_a_pipeline_have_rows_of_their_own() {
    on_each(|on| {
        on.sql(FLIGHTS);
        let steps = "[params]\nmonth = '01'\n[step.load]\nper = ['month']\neach = 'in/{{ params.month }}/*.csv'\nload = { into = 'flights', tag = 'source' }\n";
        on.file("in/01/a.csv", "day,number\na,1\n").file("in/02/a.csv", "day,number\na,1\n");
        on.at.pipeline(&format!("[db]\nmain = '{}'\n{steps}", on.url()));
        for month in ["01", "02"] {
            on.semel(&format!("run -p month={month}")).exits(0);
        }
        assert_eq!(
            on.sql("select source, number from flights order by source"),
            ["load@01:in/01/a.csv 1", "load@02:in/02/a.csv 1"]
        );
        on.file("in/02/a.csv", "day,number\na,2\n").semel("run -p month=02").exits(0);
        assert_eq!(on.sql("select number from flights order by source"), ["1", "2"]);
        on.semel("run -p month=01 --expect-noop").exits(0);
    });
}

#[test]
fn other_columns_of_the_same_file_replace_its_rows() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").pipeline(TAGGED).semel("run").exits(0);
        on.pipeline(&TAGGED.replace("tag", "columns = ['day'], tag")).semel("run").exits(0);
        assert_eq!(on.sql("select day, number from flights"), ["a NULL"]);
        on.loads_nothing_again();
        // Or do not matter, this time.
        on.pipeline(TAGGED).semel("run --keep load").exits(0);
        assert_eq!(on.sql("select day, number from flights"), ["a NULL"]);
        on.loads_nothing_again();
        on.at.remove(".semel").semel("run").exits(0);
        assert_eq!(on.sql("select count(*) from flights"), ["1"]);
    });
}

/// Logs that rotate: what was 1.csv is 1.old.csv now, and there is another 1.csv.
#[test]
fn f4_files_that_rotate_lose_no_rows() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").pipeline(TAGGED).semel("run").exits(0);
        for (number, jobs) in [("2", "1"), ("3", "4"), ("4", "2")] {
            on.at.sh(&format!("mv clean/1.csv clean/before-{number}.csv"));
            on.file("clean/1.csv", format!("day,number\na,{number}\n"));
            on.semel(&format!("run -j {jobs}")).exits(0);
            on.loads_nothing_again();
        }
        assert_eq!(on.sql(ROWS), ["a 1", "a 2", "a 3", "a 4"]);
        on.semel("verify").exits(0);
    });
}

#[test]
fn f4_a_copy_keeps_the_rows_when_the_original_changes() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").pipeline(TAGGED).semel("run").exits(0);
        on.at.sh("cp clean/1.csv clean/2.csv");
        on.file("clean/1.csv", "day,number\na,5\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1", "a 5"]);
        on.loads_nothing_again();
        // The owner goes, and then the last one that had its content.
        on.at.sh("mv clean/2.csv clean/3.csv");
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1", "a 5"]);
        on.loads_nothing_again();
    });
}

#[test]
fn f4_a_file_that_becomes_equal_to_another_has_no_rows_of_its_own() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").file("clean/2.csv", "day,number\nb,2\n");
        on.pipeline(TAGGED).semel("run").exits(0);
        on.file("clean/2.csv", "day,number\na,1\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        on.loads_nothing_again();
        // The one that has the rows goes; then the other one changes.
        on.at.remove("clean/1.csv");
        on.semel("run").exits(0);
        on.file("clean/2.csv", "day,number\nc,3\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["c 3"]);
        on.loads_nothing_again();
    });
}

#[test]
fn f4_rows_that_were_accepted_uncounted_are_not_added_to() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.sql("insert into flights (day, number) values ('a', 1)");
        on.file("clean/1.csv", "day,number\na,1\n").pipeline(TAGGED);
        on.semel("init --bare").exits(0);
        on.semel("done load:clean/1.csv --because loaded-by-hand").exits(0);
        on.semel("run").exits(0);
        on.loads_nothing_again();
        on.file("clean/1.csv", "day,number\na,1\nb,2\n").semel("run").exits(3);
        assert_eq!(on.sql(ROWS), ["a 1"]);
    });
}

#[test]
fn f4_a_condition_that_does_not_find_what_was_loaded_is_refused() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/a.csv", "day,number\na,1\nb,2\n").pipeline(WHERE);
        on.semel("run").exits(3).says("2 rows would be loaded, and its condition finds 1 row");
        assert_eq!(on.sql(ROWS), Vec::<String>::new());
        // A renamed file is not loaded again, and keeps the condition that finds its rows.
        on.file("clean/a.csv", "day,number\na,1\n").semel("run").exits(0);
        on.at.sh("mv clean/a.csv clean/c.csv");
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        on.loads_nothing_again();
    });
}
