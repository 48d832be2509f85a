//! Several semels and one database: each file comes into it once.

use super::{APPENDED, FLIGHTS, On, ROWS, TAGGED, on_each};

fn five_files(on: &On) {
    for day in 1..=5 {
        on.file(&format!("clean/{day}.csv"), format!("day,number\nx,{day}\n"));
    }
}

const FIVE: [&str; 5] = ["x 1", "x 2", "x 3", "x 4", "x 5"];

#[test]
fn the_same_pipeline_in_two_folders_loads_each_file_once() {
    on_each(|on| {
        on.sql(FLIGHTS);
        five_files(on);
        on.pipeline(APPENDED).semel("run").exits(0);
        let other = on.elsewhere();
        five_files(&other);
        other.pipeline(APPENDED).semel("run").exits(0).says("adopt");
        assert_eq!(on.sql(ROWS), FIVE);
        on.loads_nothing_again();
        other.loads_nothing_again();
    });
}

#[test]
fn a_new_version_from_the_other_folder_replaces_the_rows() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\nx,1\n").pipeline(TAGGED).semel("run").exits(0);
        let other = on.elsewhere();
        other.file("clean/1.csv", "day,number\nx,2\n").pipeline(TAGGED).semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["x 2"]);
        other.loads_nothing_again();
    });
}

#[test]
fn two_at_once_load_each_file_once() {
    on_each(|on| {
        on.sql(FLIGHTS);
        let other = on.elsewhere();
        for on in [on, &other] {
            five_files(on);
            on.pipeline(APPENDED);
        }
        let (one, two) = (on.at.start("run"), other.at.start("run"));
        one.end().exits(0);
        two.end().exits(0);
        assert_eq!(on.sql(ROWS), FIVE);
        on.loads_nothing_again();
        other.loads_nothing_again();
    });
}

#[test]
fn two_pipelines_of_other_names_do_not_know_each_other() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\nx,1\n").pipeline(TAGGED).semel("run").exits(0);
        let other = on.elsewhere();
        let text = format!("name = 'other'\n[db]\nmain = '{}'\n{APPENDED}", on.url());
        other.file("semel.toml", text).file("clean/1.csv", "day,number\nx,1\n");
        other.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["x 1", "x 1"]);
    });
}
