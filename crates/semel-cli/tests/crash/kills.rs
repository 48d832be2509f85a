//! Killed with SIGKILL, with all it started, before, within and after every change.

use semel_testkit::Scratch;
use semel_testkit::tracer::call::Action;
use semel_testkit::tracer::{Blow, Moment, Point, Traced};

use crate::scene::Scene;
use crate::sweep::{Sweep, all_held};

fn killed(scene: &Scene, one_of: usize) {
    let must = |_: &Scratch, traced: &Traced| match traced.status {
        137 => Ok(()),
        0 if !traced.was_struck => Ok(()),
        _ => Err("it was not killed".to_owned()),
    };
    // After one is nearly before the next.
    let moments = [
        ("killed before", Moment::Before, one_of),
        ("killed within", Moment::Within, 7 * one_of),
        ("killed after", Moment::After, 7 * one_of),
    ];
    all_held(moments.into_iter().map(|(what, moment, one_of)| {
        // Only what writes can be half done.
        let is_point = &move |point: &Point| {
            point.changes && (moment != Moment::Within || point.action == Action::Write)
        };
        let blow = Blow::Kill(moment);
        Sweep { what, scene, is_point, of_commands: false, blow, one_of, must: &must }.go()
    }));
}

/// It is at work, or just about to say that it ended.
fn killed_in_commands(scene: &Scene, one_of: usize) {
    let must = |_: &Scratch, _: &Traced| Ok(());
    let sweep = Sweep {
        what: "killed after a change that a command made",
        scene,
        is_point: &|point| point.changes,
        of_commands: true,
        blow: Blow::Kill(Moment::After),
        one_of,
        must: &must,
    };
    all_held([sweep.go()].into_iter());
}

#[test]
fn while_commands_work() {
    killed_in_commands(&Scene::small(), 1);
    killed_in_commands(&Scene::first(), 1);
    killed_in_commands(&Scene::repair(), 7);
}

#[test]
fn a_small_first_run() {
    killed(&Scene::small(), 1);
}

#[test]
fn a_first_run() {
    killed(&Scene::first(), 23);
}

#[test]
fn a_first_run_of_several_at_a_time() {
    killed(&Scene::first_in_parallel(), 41);
}

#[test]
fn a_run_that_repairs() {
    killed(&Scene::repair(), 23);
}

#[test]
fn a_run_with_nothing_to_do() {
    killed(&Scene::nothing(), 7);
}

#[test]
fn what_a_human_settles() {
    killed(&Scene::done(), 3);
}

#[test]
fn what_is_pruned() {
    killed(&Scene::prune(), 13);
}

#[test]
fn what_is_ended() {
    killed(&Scene::gc(), 29);
}

#[test]
fn a_manifest_that_is_rebuilt() {
    killed(&Scene::rebuild(), 29);
}
