//! One place turns errors into words, the command to type next, and the exit
//! status.

use std::io::Write;
use std::path::{Path, PathBuf};

use semel::deed::Trouble;
use semel::deed::lease::LeaseError;
use semel::deed::run::{CannotBegin, NoSuchTarget};
use semel::ground::home::Home;
use semel::ground::manifest::ManifestError;
use semel::thought::bind::ParamsError;
use semel::words::guard::GuardFault;
use semel::words::pipeline::Fault;
use semel::words::task::TaskName;

use super::busy::{Busy, Kind};
use super::style::Styles;
use super::text;
use crate::exit::Exit;
use crate::file::{self, NoPipeline, PipelineFile};
use crate::place::Place;

/// Why a verb could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failed {
    /// What was typed makes no sense here.
    Usage(String),
    /// There is no pipeline to work with.
    NoPipeline(NoPipeline),
    /// A parameter is not the pipeline's, or has no value.
    Params(ParamsError),
    /// A step or task is not there.
    NoSuchTarget(NoSuchTarget),
    /// Its file contradicts itself, or its inputs are not as they must be.
    Trouble(Box<PipelineFile>, Trouble),
    /// Its inputs are not as they must be, so that nobody can tell what a run would do.
    CannotPlan(Box<PipelineFile>, Fault),
    /// What a script says of a step contradicts itself.
    Guard(String, GuardFault),
    /// A script comes to a task a second time in one run.
    Twice {
        /// The task.
        task: TaskName,
        /// The run.
        run: i64,
    },
    /// Nowhere upwards from here is there a manifest.
    NoHome(PathBuf),
    /// Somebody else is at work on it.
    Busy(Busy),
    /// A signal came before it began.
    Stopped(i32),
    /// There is no memory, and the file says that a run may not make one: its `once`
    /// steps.
    NoMemory(Vec<String>),
    /// The manifest cannot be used.
    Manifest(PathBuf, ManifestError),
    /// Something else that semel relies on does not work.
    Broken(String),
    /// Whoever reads what is printed went away.
    Unheard,
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::Unheard
        } else {
            Self::Broken(format!("cannot write the output: {error}"))
        }
    }
}

impl Failed {
    /// A run that could not begin.
    pub(crate) fn to_begin(error: CannotBegin, file: PipelineFile) -> Self {
        match error {
            CannotBegin::Trouble(Trouble::Broken(why)) | CannotBegin::Broken(why) => {
                Self::Broken(why)
            }
            CannotBegin::Trouble(trouble) => Self::Trouble(Box::new(file), trouble),
            CannotBegin::Target(target) => Self::NoSuchTarget(target),
            CannotBegin::TwoFiles { other, name } if name == file.pipeline.name => {
                Self::Usage(format!(
                    "{} and {other} are both named `{name}`: receipts are kept by that name, give one of them another",
                    file.name
                ))
            }
            CannotBegin::TwoFiles { other, name } => Self::Usage(format!(
                "{} says that it was `{name}`, but {other} is: receipts are kept by that name",
                file.name
            )),
            CannotBegin::Busy(holder) => {
                let folder = file.path.parent().unwrap_or(Path::new("."));
                Self::Busy(Busy::see(&Home::in_folder(folder), &file.pipeline.name, holder))
            }
            CannotBegin::Stopped(signal) => Self::Stopped(signal),
            CannotBegin::NoMemory(once) => Self::NoMemory(once),
            CannotBegin::Manifest { path, error } => Self::Manifest(path, error),
        }
    }

    /// A run of a script, or a task of one, that could not begin.
    pub(crate) fn of_script(error: CannotBegin, home: &Home, name: &str, kind: Kind) -> Self {
        match error {
            CannotBegin::Busy(holder) => {
                let doing = if kind == Kind::Script {
                    Busy::see(home, name, None).doing
                } else {
                    Vec::new()
                };
                Self::Busy(Busy { pipeline: name.to_owned(), holder, doing, kind })
            }
            CannotBegin::Trouble(trouble) => match trouble {
                Trouble::Broken(why) => Self::Broken(why),
                // There is no file to show the place in.
                Trouble::File(fault) | Trouble::Input(fault) => Self::Guard(
                    name.to_owned(),
                    GuardFault { title: fault.title, help: fault.help },
                ),
            },
            CannotBegin::Manifest { path, error } => Self::Manifest(path, error),
            CannotBegin::Stopped(signal) => Self::Stopped(signal),
            CannotBegin::Broken(why) => Self::Broken(why),
            CannotBegin::Target(target) => Self::NoSuchTarget(target),
            CannotBegin::NoMemory(once) => Self::NoMemory(once),
            CannotBegin::TwoFiles { other, name } => Self::Usage(format!(
                "{other} is named `{name}`, too: receipts are kept by that name, give one of them another"
            )),
        }
    }

    /// A lease that could not be had.
    pub(crate) fn lease(error: LeaseError, place: &Place) -> Self {
        match error {
            LeaseError::Busy(holder) => {
                Self::Busy(Busy::see(&place.home, &place.file.pipeline.name, holder))
            }
            error @ LeaseError::Io { .. } => Self::Broken(error.to_string()),
        }
    }

    /// A plan that could not be made.
    pub(crate) fn to_plan(error: CannotBegin, file: PipelineFile) -> Self {
        match error {
            CannotBegin::Trouble(Trouble::Input(fault)) => Self::CannotPlan(Box::new(file), fault),
            error => Self::to_begin(error, file),
        }
    }

    /// Says it, and gives the exit status.
    pub(crate) fn tell(&self, again: &str) -> Exit {
        let styles = Styles::for_stderr();
        let mut out = anstream::stderr().lock();
        // Where nobody hears, the exit status must do.
        self.write(&mut out, styles, again).unwrap_or_else(|_| self.exit())
    }

    /// Why, in a line, for a record.
    pub(crate) fn in_a_line(&self) -> String {
        match self {
            Self::Guard(_, fault) => fault.title.clone(),
            Self::Busy(_) => "somebody else is at work on it".to_owned(),
            Self::Manifest(_, error) => format!("the manifest: {error}"),
            Self::Usage(why) | Self::Broken(why) => why.clone(),
            Self::Twice { .. } => "it came a second time".to_owned(),
            _ => "it could not begin".to_owned(),
        }
    }

    /// The same, for a verb that stands before a command: what is semel's own among its
    /// exit statuses is 100 more.
    pub(crate) fn tell_of_prefix(&self) -> Exit {
        let styles = Styles::for_stderr();
        let exit = self.exit().of_prefix();
        let mut text = Vec::new();
        // It goes to memory.
        let _ = self.write(&mut text, styles, "");
        let text = String::from_utf8_lossy(&text);
        let plain = format!("; exit {}", self.exit().0);
        let told = text.trim_end().strip_suffix(&plain).unwrap_or(&text);
        let mut out = anstream::stderr().lock();
        let _ = match told.len() == text.len() {
            true => write!(out, "{told}"),
            false => writeln!(out, "{told}; exit {}", exit.0),
        };
        exit
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Guard(..) | Self::Twice { .. } => Exit::USAGE,
            Self::NoHome(_) => Exit::BROKEN,
            Self::Usage(_) | Self::NoPipeline(_) | Self::Params(_) | Self::NoSuchTarget(_) => {
                Exit::USAGE
            }
            Self::Trouble(_, Trouble::File(_)) => Exit::USAGE,
            Self::Trouble(_, Trouble::Input(_)) => Exit::FAILED,
            Self::Busy(_) => Exit::BUSY,
            Self::Stopped(signal) => Exit(128 + signal),
            Self::NoMemory(_) => Exit::REFUSED,
            Self::Trouble(..) | Self::CannotPlan(..) | Self::Manifest(..) | Self::Broken(_) => {
                Exit::BROKEN
            }
            Self::Unheard => Exit(128 + 13),
        }
    }

    fn write(&self, out: &mut impl Write, styles: Styles, again: &str) -> std::io::Result<Exit> {
        let exit = self.exit();
        let next = |command: &str, about: &str| {
            format!("\n  next\n{}", text::next(&format!("{command}{again}"), about))
        };
        let error = styles.state("failed");
        match self {
            Self::Usage(what) => writeln!(out, "{error}  {what}")?,
            Self::Guard(step, fault) => {
                writeln!(out, "{error}  {}  {}", styles.bold(step), fault.title)?;
                for line in &fault.help {
                    writeln!(out, "  {line}")?;
                }
            }
            Self::Twice { task, run } => {
                let name = styles.bold(&task.to_string());
                writeln!(out, "{error}  {name}  comes a second time in run {run}")?;
                writeln!(out, "  a step of a loop says which task it is:  --item \"$f\"")?;
                writeln!(out, "  two that are different have different names")?;
            }
            Self::NoHome(folder) => {
                writeln!(out, "{}  there is no manifest: no .semel/", styles.state("broken"))?;
                writeln!(out, "  in {} or above it", folder.display())?;
                writeln!(out, "\n  next")?;
                writeln!(
                    out,
                    "{}",
                    text::next("semel init --bare", "make one, in the script's folder")
                )?;
                writeln!(out, "{}", text::next("export SEMEL_DIR=FOLDER", "or say where it is"))?;
            }
            Self::Params(wrong) => {
                writeln!(out, "{error}  {wrong}")?;
                match wrong {
                    ParamsError::Unknown { near: Some(near), .. } => {
                        writeln!(out, "\n  did you mean `{near}`?")?;
                    }
                    ParamsError::Unknown { near: None, known, .. } if known.is_empty() => {
                        writeln!(out, "\n  the pipeline has none")?;
                    }
                    ParamsError::Unknown { near: None, known, .. } => {
                        writeln!(out, "\n  its parameters are {}", known.join(", "))?;
                    }
                    ParamsError::Missing { name, about } => {
                        if let Some(about) = about {
                            writeln!(out, "\n  {about}")?;
                        }
                        writeln!(out, "\n  give it one:  -p {name}=VALUE")?;
                    }
                }
            }
            Self::NoSuchTarget(target) => {
                writeln!(out, "{error}  {target}")?;
                match target {
                    NoSuchTarget::Step { near: Some(near), .. } => {
                        writeln!(out, "\n  did you mean `{near}`?")?;
                    }
                    NoSuchTarget::Task { example: Some(example), .. } => {
                        writeln!(out, "\n  its tasks are named like `{example}`")?;
                    }
                    _ => {}
                }
            }
            Self::NoPipeline(missing) => return self.write_no_pipeline(out, styles, missing),
            Self::CannotPlan(file, fault)
            | Self::Trouble(file, Trouble::File(fault) | Trouble::Input(fault)) => {
                let faults = std::slice::from_ref(fault);
                self.write_faults(out, styles, &file.path, &file.text, faults)?;
            }
            Self::Trouble(_, Trouble::Broken(why)) => {
                writeln!(out, "{}  {why}", styles.state("broken"))?;
            }
            Self::Busy(busy) => busy.write(out, styles, again)?,
            Self::Stopped(signal) => {
                writeln!(out, "{}  signal {signal} came while it waited", styles.state("stopped"))?;
            }
            Self::NoMemory(once) => {
                writeln!(out, "{}  there is no memory here", styles.state("refused"))?;
                writeln!(out, "\n  These are done once, and nothing tells whether they were:")?;
                writeln!(out, "    {}", once.join(", "))?;
                writeln!(out, "  The file says  fresh-memory = \"refuse\".")?;
                writeln!(out, "\n  put the `.semel/` of this pipeline back; or, if this is")?;
                writeln!(out, "  its first run, make a new memory and run again")?;
                writeln!(out, "    semel init --bare{again}")?;
            }
            Self::Manifest(path, why) => {
                writeln!(out, "{}  the manifest, {}", styles.state("broken"), path.display())?;
                writeln!(out, "\n  {why}")?;
                match why {
                    ManifestError::Newer { .. } => {
                        writeln!(out, "  use that semel, or a newer one")?;
                    }
                    ManifestError::Absent => {
                        writeln!(out, "{}", next("semel run", "makes it"))?;
                        writeln!(
                            out,
                            "{}",
                            next("semel init --bare", "makes it, and runs nothing")
                        )?;
                    }
                    ManifestError::Foreign => {
                        writeln!(
                            out,
                            "\n  look whose it is; if nobody needs it here, set it aside"
                        )?;
                        writeln!(out, "    semel manifest rebuild{again}")?;
                    }
                    ManifestError::Damaged(_) => {
                        writeln!(out, "\n  a run sets it aside, and makes a new one of its last")?;
                        writeln!(out, "  backup, of once.log, and of the stamps on outputs")?;
                        writeln!(out, "    semel run{again}")?;
                    }
                    ManifestError::DamagedInUse(_) => {
                        writeln!(out, "\n  when that is over, a run sets it aside, and makes")?;
                        writeln!(out, "  another")?;
                        writeln!(out, "    semel run{again}")?;
                    }
                    ManifestError::Store { .. } if is_full(path) => {
                        writeln!(out, "  no space is left on its disk")?;
                    }
                    _ => {}
                }
            }
            Self::Broken(why) => writeln!(out, "{}  {why}", styles.state("broken"))?,
            Self::Unheard => return Ok(exit),
        }
        let has_faults = matches!(
            self,
            Self::CannotPlan(..) | Self::Trouble(_, Trouble::File(_) | Trouble::Input(_))
        );
        if !has_faults {
            writeln!(out)?;
        }
        // What cannot begin is told to `[on-failure]`.
        let has_told = matches!(self, Self::Trouble(file, Trouble::Input(_) | Trouble::Broken(_))
            if file.pipeline.on_failure.is_some());
        let what = if has_told { "no step" } else { "nothing" };
        writeln!(out, "{what} was started; exit {}", exit.0)?;
        Ok(exit)
    }

    fn write_no_pipeline(
        &self,
        out: &mut impl Write,
        styles: Styles,
        missing: &NoPipeline,
    ) -> std::io::Result<Exit> {
        let exit = self.exit();
        match missing {
            NoPipeline::Absent(path) => {
                writeln!(
                    out,
                    "{}  there is no pipeline file: {}",
                    styles.state("failed"),
                    path.display()
                )?;
                writeln!(out, "\n  next")?;
                writeln!(out, "    semel init                make a starter file here")?;
                writeln!(out, "    semel run -f FILE         name the file")?;
                writeln!(out)?;
            }
            NoPipeline::Unreadable(path, why) => {
                writeln!(
                    out,
                    "{}  {} cannot be read: {why}\n",
                    styles.state("failed"),
                    path.display()
                )?;
            }
            NoPipeline::Faulty { path, text, faults } => {
                self.write_faults(out, styles, path, text, faults)?;
            }
        }
        writeln!(out, "nothing was started; exit {}", exit.0)?;
        Ok(exit)
    }

    fn write_faults(
        &self,
        out: &mut impl Write,
        styles: Styles,
        path: &Path,
        text: &str,
        faults: &[Fault],
    ) -> std::io::Result<()> {
        file::show(out, path, text, faults, styles.are_on())
    }
}

/// Whether there is no room on the disk of a file: SQLite calls that an I/O error.
fn is_full(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(path);
    rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail == 0)
}
