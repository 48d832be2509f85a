//! Where a verb works: the pipeline, its parameters, its folder, and who we are.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt;

use semel::deed::databases;
use semel::deed::run::{Setting, step_named};
use semel::deed::{mask_all, memory, params};
use semel::ground::home::Home;
use semel::ground::manifest::Manifest;
use semel::ground::world::disk::{Disk, RealDisk};
use semel::ground::world::file_system::{self, Said};
use semel::ground::world::machine::threads;
use semel::thought::bind::Params;
use semel::thought::mask::Mask;
use semel::words::event::Event;
use semel::words::pipeline::{ParamValue, Pipeline, Step, StepId};
use semel::words::run::By;
use semel::words::shell::quote_words;
use semel::words::task::{Instance, TaskPattern, decode};

use crate::args::Common;
use crate::file::{self, PipelineFile};
use crate::scripts::Known;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{self, named};

/// Where a verb works.
pub(crate) struct Place {
    pub(crate) file: PipelineFile,
    pub(crate) params: Params,
    /// The values that were typed, and after them those that the name of an instance
    /// stands for. The last of a name counts.
    given: Vec<(String, String)>,
    /// How many of them were typed.
    typed: usize,
    /// Whether `params` are complete; if not, some are empty.
    is_complete: bool,
    pub(crate) disk: RealDisk,
    pub(crate) home: Home,
    pub(crate) by: By,
    pub(crate) env: BTreeMap<String, Vec<u8>>,
    /// What must be typed again to work in the same place and instance, whether it was
    /// typed or the name of an instance said it: ` -f x.toml -p a=b`.
    pub(crate) again: String,
    /// The same, beside the name of a task that says its instance itself.
    again_beside_instance: String,
    /// The part of it that names the file.
    pub(crate) file_again: String,
    /// What runs it again, where that is a script.
    script: Option<String>,
}

impl Place {
    /// Finds the place that the command line speaks of. Parameters that must be
    /// given or asked for are still empty; see [`Self::complete`].
    pub(crate) fn find(common: &Common) -> Result<Self, Failed> {
        let file = file::read(common.file.as_deref()).map_err(Failed::NoPipeline)?;
        let (params, unknown) =
            Params::as_far_as_known(&file.pipeline, &common.params).map_err(Failed::Params)?;
        databases::are_named_well(&file.pipeline, &params, &unknown).map_err(Failed::Usage)?;
        let disk = RealDisk::at(&file.folder).map_err(|error| Failed::Broken(error.to_string()))?;
        let home = Home::in_folder(disk.root());
        let env = environment();
        let mask = mask_all(&file.pipeline, &env);
        let file_again = file_again(common);
        let again = file_again.clone() + &params_again(&common.params, &mask);
        Ok(Self {
            params,
            given: common.params.clone(),
            typed: common.params.len(),
            is_complete: unknown.is_empty(),
            disk,
            home,
            by: whoever_we_are(),
            env,
            file_again,
            script: None,
            again_beside_instance: again.clone(),
            again,
            file,
        })
    }

    /// The same place, with the parameters' values that an instance stands for.
    pub(crate) fn in_instance_of(mut self, pattern: &TaskPattern) -> Result<Self, Failed> {
        let Some(instance) = &pattern.instance else {
            return Ok(self);
        };
        let step = self.file.pipeline.step_named(&pattern.step);
        let per = step.map(|id| self.file.pipeline.step(id).per.clone()).unwrap_or_default();
        let Some(values) = values_of(&per, instance) else {
            return Err(Failed::Usage(format!(
                "`{pattern}` names no instance of step `{}`",
                pattern.step
            )));
        };
        self.take_values(values)?;
        Ok(self)
    }

    /// The same place, in an instance of the pipeline that the manifest knows. Where the
    /// file now makes instances of other parameters, the name stands for no values, and
    /// the place stays as it is.
    pub(crate) fn in_known_instance(mut self, instance: &Instance) -> Result<Self, Failed> {
        if *instance != self.instance()
            && let Some(values) = values_of(&self.file.pipeline.per, instance)
        {
            self.take_values(values)?;
        }
        Ok(self)
    }

    /// Takes values that the name of an instance stands for.
    fn take_values(&mut self, values: Vec<(String, String)>) -> Result<(), Failed> {
        self.given.extend(values);
        let pipeline = &self.file.pipeline;
        let (params, unknown) =
            Params::as_far_as_known(pipeline, &self.given).map_err(Failed::Params)?;
        databases::are_named_well(pipeline, &params, &unknown).map_err(Failed::Usage)?;
        let mask = mask_all(pipeline, &self.env);
        self.again = self.file_again.clone() + &params_again(&self.to_type(), &mask);
        (self.params, self.is_complete) = (params, unknown.is_empty());
        Ok(())
    }

    /// The values that must be typed again. One that the name of an instance says need
    /// not, where the parameter has it by itself.
    fn to_type(&self) -> Vec<(String, String)> {
        let given = self.given.iter().enumerate();
        let last = given
            .filter(|(at, (name, _))| !self.given[at + 1..].iter().any(|(later, _)| later == name));
        let needed = last.filter(|(at, (name, value))| {
            *at < self.typed || !is_its_own(&self.file.pipeline, name, value)
        });
        needed.map(|(_, given)| given.clone()).collect()
    }

    /// The place of a script, as the manifest knows it.
    pub(crate) fn of_script(known: Known, common: &Common) -> Result<Self, Failed> {
        let Known { root, file, pipeline, run } = known;
        let disk = RealDisk::at(&root).map_err(|error| Failed::Broken(error.to_string()))?;
        let (params, _) =
            Params::as_far_as_known(&pipeline, &common.params).map_err(Failed::Params)?;
        let home = Home::in_folder(disk.root());
        let named = common
            .file
            .as_ref()
            .map_or_else(|| pipeline.name.clone(), |named| named.display().to_string());
        let file_again = format!(" {}", quote_words(["-f", &named]));
        Ok(Self {
            params,
            given: common.params.clone(),
            typed: common.params.len(),
            is_complete: true,
            disk,
            home,
            by: whoever_we_are(),
            env: environment(),
            again: file_again.clone(),
            again_beside_instance: file_again.clone(),
            file_again,
            script: Some(run),
            file: PipelineFile {
                path: root.join(&file),
                folder: root,
                name: file,
                text: String::new(),
                pipeline,
            },
        })
    }

    /// What is typed to run it again; `tasks` names what of it.
    pub(crate) fn run_again(&self, tasks: &str) -> String {
        match &self.script {
            Some(script) => script.clone(),
            None if tasks.is_empty() => format!("semel run{}", self.again),
            None => format!("semel run {tasks}{}", self.again),
        }
    }

    /// Whether it is one of a script.
    pub(crate) fn is_script(&self) -> bool {
        self.script.is_some()
    }

    /// What must be typed again beside the name of a task of this instance.
    pub(crate) fn again_beside(&self, instance: &Instance) -> &str {
        if instance.is_only() { &self.again } else { &self.again_beside_instance }
    }

    /// Whether values of parameters were typed.
    pub(crate) fn has_given_params(&self) -> bool {
        !self.given.is_empty()
    }

    /// The same place with a value for every parameter: those that commands give
    /// are asked, and those that must be given and are not are an error.
    pub(crate) fn complete(mut self) -> Result<Self, Failed> {
        if self.is_complete {
            return Ok(self);
        }
        match params::ask(&self.file.pipeline, self.disk.root(), &self.given, &self.env) {
            Ok(asked) => {
                self.params =
                    Params::of(&self.file.pipeline, &self.given, &asked).map_err(Failed::Params)?;
                databases::are_named_well(&self.file.pipeline, &self.params, &[])
                    .map_err(Failed::Usage)?;
                self.is_complete = true;
                Ok(self)
            }
            Err(trouble) => Err(Failed::Trouble(Box::new(self.file), trouble)),
        }
    }

    /// The step that a pattern names.
    pub(crate) fn step_of(&self, pattern: &TaskPattern) -> Result<&Step, Failed> {
        let named = self.steps_named(std::slice::from_ref(&pattern.step))?;
        Ok(self.file.pipeline.step(named[0]))
    }

    /// What the library needs to know of it.
    pub(crate) fn setting<'a>(&'a self, command: &'a str) -> Setting<'a> {
        Setting {
            pipeline: &self.file.pipeline,
            file: &self.file.name,
            params: &self.params,
            disk: &self.disk,
            env: &self.env,
            command,
            by: &self.by,
        }
    }

    /// The steps of these names.
    pub(crate) fn steps_named(&self, names: &[String]) -> Result<Vec<StepId>, Failed> {
        let find = |name: &String| step_named(&self.file.pipeline, name);
        names.iter().map(find).collect::<Result<_, _>>().map_err(Failed::NoSuchTarget)
    }

    /// How many commands run at a time.
    pub(crate) fn jobs(&self) -> usize {
        self.file.pipeline.jobs.map_or_else(threads, std::num::NonZeroUsize::get)
    }

    /// The instance of the whole pipeline.
    pub(crate) fn instance(&self) -> Instance {
        self.params.instance(&self.file.pipeline.per)
    }

    /// The pipeline's name and instance, as headings have them.
    pub(crate) fn heading(&self, styles: Styles) -> String {
        let pipeline = &self.file.pipeline;
        named(&styles.bold(&pipeline.name), &pipeline.per, &self.instance())
    }

    /// The manifest, for reading, as a run would find it; `None` if there is none yet.
    pub(crate) fn manifest(&self) -> Result<Option<Box<dyn Manifest>>, Failed> {
        let looked = memory::read(&self.disk, &self.home)
            .map_err(|error| Failed::Manifest(self.home.manifest(), error))?;
        Ok(looked.map(|looked| {
            self.tell_of_damage(&looked);
            Box::new(looked.manifest) as Box<dyn Manifest>
        }))
    }

    /// Says that what is shown is not what lies here.
    fn tell_of_damage(&self, looked: &memory::Looked) {
        let (Some(why), Some(found)) = (&looked.damage, looked.found) else {
            return;
        };
        let (backup, lines) = (found.backup, found.lines);
        let event = Event::Mended { why, aside: None, backup, lines, once: &[] };
        let mut out = anstream::stderr().lock();
        for line in text::memory(&event) {
            // Whoever reads only the standard output goes without it.
            let _ = writeln!(out, "{line}");
        }
        let _ = writeln!(out);
    }
}

/// What must be typed to name the file again: ` -f x.toml`.
pub(crate) fn file_again(common: &Common) -> String {
    common.file.as_ref().map_or_else(String::new, |named| {
        format!(" {}", quote_words(["-f", &named.display().to_string()]))
    })
}

/// What must be typed to give these values again: ` -p a=b`. Secrets stay masked.
fn params_again(given: &[(String, String)], mask: &Mask) -> String {
    let words = given.iter().map(|(name, value)| format!("{name}={}", mask.text(value)));
    words.map(|word| format!(" {}", quote_words(["-p", &word]))).collect()
}

/// The values that the name of an instance stands for, if it names one.
fn values_of(per: &[String], instance: &Instance) -> Option<Vec<(String, String)>> {
    let values = instance.as_str().split(',').map(|value| String::from_utf8(decode(value)?).ok());
    let values: Vec<_> = values.collect::<Option<_>>()?;
    (per.len() == values.len()).then(|| per.iter().cloned().zip(values).collect())
}

/// Whether a parameter has this value unless another is given.
fn is_its_own(pipeline: &Pipeline, name: &str, value: &str) -> bool {
    let param = pipeline.params.iter().find(|param| param.name == name);
    param.is_some_and(|param| matches!(&param.value, ParamValue::Given(own) if own == value))
}

/// Takes the user's word on file systems, where the recognition errs.
pub(crate) fn hear_of_file_systems() -> Result<(), Failed> {
    const NAME: &str = "SEMEL_FILE_SYSTEM";
    let said = match std::env::var_os(NAME) {
        None => return Ok(()),
        Some(said) if said == "network" => Said::Network,
        Some(said) if said == "local" => Said::Local,
        Some(said) => {
            let said = said.display();
            return Err(Failed::Usage(format!("{NAME} is `{said}`: say `network` or `local`")));
        }
    };
    file_system::say(said);
    Ok(())
}

/// Our environment.
pub(crate) fn environment() -> BTreeMap<String, Vec<u8>> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_vec())))
        .collect()
}

pub(crate) fn whoever_we_are() -> By {
    let uname = rustix::system::uname();
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    By {
        host: uname.nodename().to_string_lossy().into_owned(),
        user: user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())),
        pid: std::process::id(),
    }
}
