//! From a pipeline and its lists of items to tasks: what there is to be done,
//! and what comes before what.
//!
//! Invariants: no two tasks have the same output, and no output lies within
//! another; the order is the same for the same pipeline and lists.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use crate::thought::bind::{Bindings, Params};
use crate::words::path::{bytes_of, normal, within};
use crate::words::pipeline::{EachSource, Fault, InputSource, Pipeline, Step, StepId, find_cycle};
use crate::words::task::{Instance, Item, Task};

/// Where semel itself keeps an output: what a step of a script printed, to be printed
/// again.
pub const REPLAY: &str = ".semel/replay";

/// The tasks of a step in its instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTasks {
    /// The instance.
    pub instance: Instance,
    /// The tasks, in the order of the list.
    pub tasks: Vec<Task>,
}

impl StepTasks {
    /// The places of the tasks in the order of their items' names.
    #[must_use]
    pub fn by_name(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.tasks.len()).collect();
        order.sort_by(|one, other| self.tasks[*one].item.cmp(&self.tasks[*other].item));
        order
    }
}

/// Makes the tasks of a step out of its list of items, as they are called from the
/// pipeline's folder, `root`.
///
/// # Errors
/// If an output's path cannot be one.
pub fn tasks(
    step: &Step,
    items: Option<Vec<Item>>,
    params: &Params,
    root: &Path,
) -> Result<StepTasks, Fault> {
    let task = |item: Option<Item>| {
        let bindings = Bindings {
            item: item.as_ref().map(|item| &*item.name),
            row: item.as_ref().and_then(|item| item.row.as_deref()),
            ..Bindings::of(params, Some(step))
        };
        let outs = step.outs.iter().map(|out| {
            let path = within(root, normal(&out.path.render(&bindings)));
            let climbs = out.path.text.starts_with("../");
            match why_no_output(&path, climbs) {
                None => Ok(path),
                Some(why) => Err(Fault::new("an output that cannot be", &out.span, why)),
            }
        });
        let said = item.as_ref().and_then(|item| item.outs.clone());
        let outs = said.map_or_else(|| outs.collect::<Result<_, _>>(), Ok)?;
        let (name, row) = item.map_or((None, None), |item| (Some(item.name), item.row));
        Ok(Task { outs, item: name, row })
    };
    let tasks = match items {
        None => vec![task(None)?],
        Some(mut items) => {
            // The tasks of a chain follow one another by their places.
            let is_chained = step.each.as_ref().is_some_and(|each| each.source.chain().is_some());
            if step.ordered && !is_chained {
                items.sort_by(|one, other| one.name.cmp(&other.name));
            }
            items.into_iter().map(|item| task(Some(item))).collect::<Result<_, _>>()?
        }
    };
    Ok(StepTasks { instance: params.instance(&step.per), tasks })
}

/// Why a path cannot be an output. `climbs` says whether the file itself says
/// that it lies above the pipeline's folder.
fn why_no_output(path: &Path, climbs: bool) -> Option<&'static str> {
    let mut rest = path.components().skip_while(|part| climbs && *part == Component::ParentDir);
    if path.as_os_str().is_empty()
        || matches!(path.components().next_back(), Some(Component::ParentDir | Component::RootDir))
    {
        Some("names no file")
    } else if path.components().any(|part| part.as_os_str() == ".semel")
        && !path.starts_with(REPLAY)
    {
        Some("lies in semel's own folder")
    } else if rest.any(|part| part == Component::ParentDir) {
        Some("climbs with `..`: one file would have two names")
    } else if bytes_of(path).contains(&0) {
        Some("has a NUL byte")
    } else {
        None
    }
}

/// The items that a step takes from another step's tasks: their outputs, or
/// their own items.
#[must_use]
pub fn items_from_tasks(source: &EachSource, tasks: &[Task]) -> Vec<Item> {
    if matches!(source, EachSource::ItemsOf(_)) {
        return tasks.iter().filter_map(Task::as_item).collect();
    }
    let outs = tasks.iter().flat_map(|task| &*task.outs);
    outs.map(|path| Item::plain(bytes_of(path))).collect()
}

/// How many tasks of a step follow one task of the step that it takes its items
/// from.
#[must_use]
pub fn chain_width(pipeline: &Pipeline, step: &Step) -> usize {
    match step.each.as_ref().map(|each| &each.source) {
        Some(EachSource::OutputsOf(before)) => pipeline.step(*before).outs.len().max(1),
        _ => 1,
    }
}

/// The steps of a pipeline in an order in which none comes before what it waits
/// for, and for each how long the longest chain before it is.
///
/// `lists` are the steps whose list of items is made by another step.
///
/// # Errors
/// If the steps wait for each other, which only a list can cause here.
pub fn order(
    pipeline: &Pipeline,
    lists: &BTreeMap<StepId, StepId>,
) -> Result<Vec<(StepId, usize)>, Fault> {
    let upstream: Vec<Vec<StepId>> = pipeline
        .ids()
        .map(|(id, step)| step.upstream().chain(lists.get(&id).copied()).collect())
        .collect();
    if let Some(circle) = find_cycle(&upstream) {
        let first = pipeline.step(circle[0]);
        let names: Vec<_> =
            circle.iter().map(|id| format!("`{}`", pipeline.step(*id).name)).collect();
        return Err(Fault::new(
            "steps that wait for each other",
            &first.span,
            names.join(" waits for "),
        ));
    }
    let mut depths: Vec<Option<usize>> = vec![None; upstream.len()];
    for start in 0..upstream.len() {
        let mut open = vec![start];
        while let Some(&at) = open.last() {
            let missing: Vec<_> =
                upstream[at].iter().filter(|id| depths[id.0].is_none()).map(|id| id.0).collect();
            if missing.is_empty() {
                let deepest = upstream[at].iter().filter_map(|id| depths[id.0]).max();
                depths[at] = Some(deepest.map_or(0, |depth| depth + 1));
                open.pop();
            } else {
                open.extend(missing);
            }
        }
    }
    let mut order: Vec<_> = depths
        .into_iter()
        .enumerate()
        .map(|(at, depth)| (StepId(at), depth.unwrap_or(0)))
        .collect();
    order.sort_by_key(|(_, depth)| *depth);
    Ok(order)
}

/// The steps whose list of items is not known before other steps were brought to
/// their state, each with the last of these: it is their output, or a command makes
/// it that may read what they left.
#[must_use]
pub fn lists_made_by_steps(
    pipeline: &Pipeline,
    params: &Params,
    root: &Path,
) -> BTreeMap<StepId, StepId> {
    let render = |step, template: &crate::words::template::Template| {
        within(root, normal(&template.render(&Bindings::of(params, Some(step)))))
    };
    let mut lists = BTreeMap::new();
    for (id, step) in pipeline.ids() {
        let Some(each) = &step.each else { continue };
        if matches!(each.source, EachSource::Command(_)) {
            lists.extend(step.upstream().last().map(|before| (id, before)));
        }
        let Some(path) = each.source.list() else {
            continue;
        };
        let list = render(step, path);
        let maker = pipeline.ids().find(|(_, maker)| {
            maker.each.is_none() && maker.outs.iter().any(|out| render(maker, &out.path) == list)
        });
        if let Some((maker, _)) = maker {
            lists.insert(id, maker);
        }
    }
    lists
}

/// An output, by the step and task that make it.
#[derive(Clone, Copy)]
struct OutRef<'a> {
    path: &'a Path,
    step: StepId,
    task: usize,
    out: usize,
}

/// Finds two tasks with the same output, and outputs within one another.
///
/// # Errors
/// The first such pair, at the place of one `out`.
pub fn check_outputs(pipeline: &Pipeline, steps: &[Option<&StepTasks>]) -> Result<(), Fault> {
    let heads = Heads::of(pipeline, steps);
    let mut outs = Vec::new();
    for (id, step) in pipeline.ids() {
        let Some(tasks) = steps[id.0] else { continue };
        let is_apart = heads.near_step(id).all(|near| near == id);
        for out in 0..step.outs.len() {
            let paths = tasks.tasks.iter().map(|task| task.outs[out].as_path());
            if is_apart && step.outs.len() == 1 && is_plainly_distinct(paths.clone()) {
                continue;
            }
            outs.extend(paths.enumerate().map(|(task, path)| OutRef { path, step: id, task, out }));
        }
    }
    outs.sort_by(|one, other| by_component(one.path, other.path));
    for pair in outs.windows(2) {
        let [one, other] = pair else { continue };
        if other.path.starts_with(one.path) {
            return Err(conflict(pipeline, steps, one, other));
        }
    }
    Ok(())
}

/// Finds an output that is the pipeline's own file.
///
/// # Errors
/// At the place of that `out`.
pub fn check_file(
    pipeline: &Pipeline,
    steps: &[Option<&StepTasks>],
    file: &Path,
) -> Result<(), Fault> {
    for (id, step) in pipeline.ids() {
        let tasks = steps[id.0].iter().flat_map(|step| &step.tasks);
        let mut outs = tasks.flat_map(|task| task.outs.iter().enumerate());
        if let Some((at, _)) = outs.find(|(_, out)| out.as_path() == file) {
            let label = "a run would replace what it reads";
            let title = "the pipeline file as an output";
            return Err(Fault::new(title, &step.outs[at].span, label));
        }
    }
    Ok(())
}

/// What the paths of each step's outputs begin with, to find the steps whose
/// outputs can meet without comparing all with all.
struct Heads {
    sorted: Vec<(Vec<u8>, StepId)>,
    of_step: Vec<Vec<Vec<u8>>>,
}

impl Heads {
    fn of(pipeline: &Pipeline, steps: &[Option<&StepTasks>]) -> Self {
        let mut sorted = Vec::new();
        let mut of_step = vec![Vec::new(); pipeline.steps.len()];
        for (id, step) in pipeline.ids() {
            let Some(tasks) = steps[id.0] else { continue };
            for (at, out) in step.outs.iter().enumerate() {
                let head = match &*tasks.tasks {
                    [only] => bytes_of(&only.outs[at]).to_vec(),
                    _ => {
                        let head = normal(out.path.head().as_bytes());
                        let is_folder = out.path.head().ends_with('/');
                        let folder = if is_folder { Some(head.as_path()) } else { head.parent() };
                        folder.map(|folder| bytes_of(folder).to_vec()).unwrap_or_default()
                    }
                };
                of_step[id.0].push(head.clone());
                sorted.push((head, id));
            }
        }
        sorted.sort();
        Self { sorted, of_step }
    }

    /// The steps with an output whose head begins with this one, or the other
    /// way round.
    fn near<'a>(&'a self, head: &'a [u8]) -> impl Iterator<Item = StepId> + 'a {
        let from = self.sorted.partition_point(|(known, _)| known.as_slice() < head);
        let longer =
            self.sorted[from..].iter().take_while(move |(known, _)| known.starts_with(head));
        let shorter = (0..head.len()).flat_map(move |length| {
            let head = &head[..length];
            let from = self.sorted.partition_point(|(known, _)| known.as_slice() < head);
            self.sorted[from..].iter().take_while(move |(known, _)| known == head)
        });
        longer.chain(shorter).map(|(_, id)| *id)
    }

    fn near_step(&self, id: StepId) -> impl Iterator<Item = StepId> + '_ {
        self.of_step[id.0].iter().flat_map(|head| self.near(head))
    }
}

/// Whether paths are all different, seen at a glance: they ascend, and lie
/// equally deep, so that none is within another.
fn is_plainly_distinct<'a>(mut paths: impl Iterator<Item = &'a Path>) -> bool {
    let depth = |path: &[u8]| memchr::memchr_iter(b'/', path).count();
    let Some(mut last) = paths.next().map(bytes_of) else {
        return true;
    };
    let first_depth = depth(last);
    for path in paths.map(bytes_of) {
        if path <= last || depth(path) != first_depth {
            return false;
        }
        last = path;
    }
    true
}

/// The order in which what is in a folder follows the folder at once.
fn by_component(one: &Path, other: &Path) -> Ordering {
    one.components().cmp(other.components())
}

fn conflict(
    pipeline: &Pipeline,
    steps: &[Option<&StepTasks>],
    one: &OutRef<'_>,
    other: &OutRef<'_>,
) -> Fault {
    let name = |out: &OutRef<'_>| {
        let tasks = steps[out.step.0].expect("it was taken from there");
        tasks.tasks[out.task].name(&pipeline.step(out.step).name, &tasks.instance).to_string()
    };
    let span = |out: &OutRef<'_>| &pipeline.step(out.step).outs[out.out].span;
    let (path, inner) = (one.path.display(), other.path.display());
    let fault = if one.path == other.path {
        let title = format!("two tasks write `{path}`");
        Fault::new(title, span(other), format!("{} and {}", name(one), name(other)))
    } else {
        let title = format!("an output within another: `{inner}` lies in `{path}`");
        Fault::new(title, span(other), format!("of {}", name(other)))
    };
    if span(one) == span(other) {
        fault.help("put more of the item into the path")
    } else {
        fault.also(span(one), format!("of {}", name(one)))
    }
}

/// Finds a pattern of `each` or `in` that takes files which are outputs, though
/// its step does not say that it waits for them.
///
/// `matches` says whether a pattern, by its step and place, takes a path.
///
/// # Errors
/// The first such pattern, at its place.
pub fn check_patterns<'a>(
    pipeline: &Pipeline,
    steps: &'a [Option<&StepTasks>],
    mut matches: impl FnMut(StepId, PatternOf, &'a Path) -> bool,
) -> Result<(), Fault> {
    let heads = Heads::of(pipeline, steps);
    for (id, step) in pipeline.ids() {
        for (pattern, text, span) in patterns(step) {
            let head = normal(up_to_meta(text.head()).as_bytes());
            let makers: BTreeSet<_> = heads.near(bytes_of(&head)).collect();
            for maker in makers {
                if matches!(pattern, PatternOf::Input(_)) && is_upstream(pipeline, maker, id) {
                    continue;
                }
                let tasks = steps[maker.0].iter().flat_map(|step| &step.tasks);
                let taken =
                    tasks.flat_map(|task| &*task.outs).find(|path| matches(id, pattern, path));
                if let Some(path) = taken {
                    return Err(takes_output(step, pipeline.step(maker), pattern, span, path));
                }
            }
        }
    }
    Ok(())
}

/// Which pattern of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternOf {
    /// That of `each`.
    Each,
    /// That of an input, by its place.
    Input(usize),
}

fn patterns(
    step: &Step,
) -> Vec<(PatternOf, &crate::words::template::Template, &crate::words::pipeline::Span)> {
    let each = step.each.iter().filter_map(|each| match &each.source {
        EachSource::Files(pattern) => Some((PatternOf::Each, pattern, &each.span)),
        _ => None,
    });
    let inputs = step.inputs.iter().enumerate().filter_map(|(at, input)| match &input.source {
        InputSource::Files(pattern) => Some((PatternOf::Input(at), pattern, &input.span)),
        InputSource::OutputsOf(_) => None,
    });
    each.chain(inputs).collect()
}

fn up_to_meta(text: &str) -> &str {
    text.find(['*', '?', '[', '{', '\\']).map_or(text, |at| &text[..at])
}

/// Whether one step comes before another, directly or not.
fn is_upstream(pipeline: &Pipeline, before: StepId, after: StepId) -> bool {
    let mut seen = vec![false; pipeline.steps.len()];
    let mut open = vec![after];
    while let Some(at) = open.pop() {
        for next in pipeline.step(at).upstream() {
            if next == before {
                return true;
            }
            if !std::mem::replace(&mut seen[next.0], true) {
                open.push(next);
            }
        }
    }
    false
}

fn takes_output(
    step: &Step,
    maker: &Step,
    pattern: PatternOf,
    span: &crate::words::pipeline::Span,
    path: &Path,
) -> Fault {
    let title = format!("a pattern that takes an output: `{}`", path.display());
    let label = if std::ptr::eq(step, maker) {
        "it is this step's own".to_owned()
    } else {
        format!("`{}` makes it", maker.name)
    };
    let fault = Fault::new(title, span, label);
    match pattern {
        PatternOf::Each if std::ptr::eq(step, maker) => fault
            .help("a second run would have twice the items; write the outputs to another folder"),
        PatternOf::Each => {
            fault.help(format!("say so:  each = {{ outputs-of = \"{}\" }}", maker.name))
        }
        PatternOf::Input(_) => fault
            .help(format!("say so:  in = {{ outputs-of = \"{}\" }}", maker.name))
            .help(format!("or, if only the order matters:  after = [\"{}\"]", maker.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(steps: &str) -> Pipeline {
        Pipeline::read(&format!("name = 'test'\n{steps}")).expect("a good file")
    }

    fn items(names: &[&str]) -> Option<Vec<Item>> {
        Some(names.iter().map(|name| Item::plain(name.as_bytes())).collect())
    }

    /// The fault of a pipeline in which each step that fans out has these items.
    fn conflict_of(steps: &str, names: &[&str]) -> Option<Fault> {
        let pipeline = pipeline(steps);
        let params = Params::default();
        let tasks: Vec<_> = pipeline
            .steps
            .iter()
            .map(|step| {
                tasks(step, step.each.as_ref().and_then(|_| items(names)), &params, Path::new("/"))
                    .expect("good paths")
            })
            .collect();
        let steps: Vec<_> = tasks.iter().map(Some).collect();
        check_outputs(&pipeline, &steps).err()
    }

    #[test]
    fn outputs_are_named_by_their_items() {
        let pipeline = pipeline(
            "[step.a]\neach = 'raw/*'\nout = ['./o//{{ item.stem }}.x', 'p/{{ item }}']\nrun = 'x {{ out }}'",
        );
        let made =
            tasks(&pipeline.steps[0], items(&["raw/1.csv"]), &Params::default(), Path::new("/"))
                .expect("good paths");
        let outs: Vec<_> =
            made.tasks[0].outs.iter().map(|path| path.to_str().expect("text")).collect();
        assert_eq!(outs, ["o/1.x", "p/raw/1.csv"]);
        assert_eq!(made.tasks[0].name("a", &made.instance).to_string(), "a:raw/1.csv");
    }

    #[test]
    fn two_items_with_one_output_are_found() {
        let step = "[step.a]\neach = '*/*'\nout = 'o/{{ item.name }}'\nrun = 'x {{ out }}'";
        assert_eq!(conflict_of(step, &["a/1", "a/2"]), None);
        let fault = conflict_of(step, &["a/1", "a/2", "b/1"]).expect("a conflict");
        assert_eq!(
            (fault.title.as_str(), fault.label.as_str()),
            ("two tasks write `o/1`", "a:a/1 and a:b/1")
        );
    }

    #[test]
    fn outputs_within_one_another_are_found_among_others() {
        let steps = "[step.a]\nout = 'site/'\nrun = 'x {{ out }}'\n[step.b]\nout = 'site-map'\nrun = 'x {{ out }}'\n[step.c]\nout = 'site/x/y'\nrun = 'x {{ out }}'";
        let fault = conflict_of(steps, &[]).expect("a conflict");
        assert_eq!(fault.title, "an output within another: `site/x/y` lies in `site`");
        let apart = "[step.a]\nout = 'site/'\nrun = 'x {{ out }}'\n[step.b]\nout = 'site-map/x'\nrun = 'x {{ out }}'";
        assert_eq!(conflict_of(apart, &[]), None);
    }

    #[test]
    fn two_steps_with_one_output_are_found() {
        let steps = "[step.a]\neach = 'r/*'\nout = 'o/{{ item.name }}'\nrun = 'x {{ out }}'\n[step.b]\nout = './o/1'\nrun = 'x {{ out }}'";
        let fault = conflict_of(steps, &["r/1"]).expect("a conflict");
        assert_eq!(
            (fault.title.as_str(), fault.label.as_str()),
            ("two tasks write `o/1`", "a:r/1 and b")
        );
    }

    #[test]
    fn paths_that_cannot_be_outputs() {
        for (path, why) in [
            ("../", "names no file"),
            (".semel/x", "lies in semel's own folder"),
            ("/", "names no file"),
        ] {
            let pipeline = pipeline(&format!("[step.a]\nout = '{path}'\nrun = 'x {{{{ out }}}}'"));
            let fault = tasks(&pipeline.steps[0], None, &Params::default(), Path::new("/"))
                .expect_err("no output");
            assert_eq!(fault.label, why);
        }
    }

    #[test]
    fn steps_come_after_what_they_wait_for() {
        let pipeline = pipeline(
            "[step.c]\nrun = 'x'\nneeds = ['b']\n[step.b]\nrun = 'x'\nafter = ['a']\n[step.a]\nrun = 'x'\n[step.d]\nrun = 'x'\nneeds = ['a', 'c']",
        );
        let order = order(&pipeline, &BTreeMap::new()).expect("no circle");
        assert_eq!(order, [(StepId(2), 0), (StepId(1), 1), (StepId(0), 2), (StepId(3), 3)]);
    }

    #[test]
    fn a_list_that_a_step_makes_is_waited_for() {
        let pipeline = pipeline(
            "[step.use]\neach = { lines = './hosts.txt' }\nrun = 'x {{ item }}'\n[step.make]\nout = 'hosts.txt'\nrun = 'x {{ out }}'",
        );
        let lists = lists_made_by_steps(&pipeline, &Params::default(), Path::new("/"));
        assert_eq!(lists, BTreeMap::from([(StepId(0), StepId(1))]));
        assert_eq!(order(&pipeline, &lists).expect("no circle")[0].0, StepId(1));
    }

    #[test]
    fn a_pattern_that_takes_outputs_is_found_unless_its_step_waits() {
        let find = |steps: &str| {
            let pipeline = pipeline(steps);
            let made: Vec<_> = pipeline
                .steps
                .iter()
                .map(|step| {
                    tasks(
                        step,
                        step.each.as_ref().and_then(|_| items(&["d/1"])),
                        &Params::default(),
                        Path::new("/"),
                    )
                    .expect("good")
                })
                .collect();
            let steps: Vec<_> = made.iter().map(Some).collect();
            check_patterns(&pipeline, &steps, |_, _, path| path.starts_with("d"))
                .err()
                .map(|fault| fault.help.join("; "))
        };
        let own = "[step.a]\neach = 'd/*'\nout = 'd/{{ item.name }}.x'\nrun = 'x {{ out }}'";
        assert!(find(own).expect("it is its own").contains("twice the items"));
        let make = "[step.m]\nout = 'd/x'\nrun = 'x {{ out }}'\n";
        let each =
            format!("{make}[step.a]\neach = 'd/*'\nsame = 'content'\nrun = 'x'\nneeds = ['m']");
        assert!(find(&each).expect("it takes them").contains("outputs-of = \"m\""));
        let reads = format!("{make}[step.a]\nin = 'd/*'\nrun = 'x {{{{ in }}}}'");
        assert!(find(&reads).expect("it takes them").contains("after = [\"m\"]"));
        assert_eq!(find(&format!("{reads}\nafter = ['m']")), None);
        assert_eq!(find(&format!("{make}[step.a]\nin = 'e/*'\nrun = 'x {{{{ in }}}}'")), None);
    }
}
