//! The databases of a pipeline: sessions with them, and who may act there.
//!
//! Invariants: a session that acts does so behind the fence, under the token of its
//! run's lease; nothing that is made of a connection, an error least of all, has its
//! password in it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::deed::Site;
use crate::ground::database::settings::Settings;
use crate::ground::database::stamps::{self, Fence};
use crate::ground::database::{self, DbError, DbResult, ErrorKind, Session, Watch};
use crate::ground::world::process::Stop;
use crate::thought::bind::{Bindings, Params};
use crate::words::database::{Address, Engine};
use crate::words::digest::Digest;
use crate::words::pipeline::Pipeline;
use crate::words::receipt::Failure;
use crate::words::template::Name;

/// What a session is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To look: nothing is written.
    Look,
    /// To act.
    Act,
}

/// Sessions that nobody uses, by the name of their database and what they are for.
type Idle = Mutex<HashMap<(String, Purpose), Vec<Box<dyn Session + Send>>>>;

/// The databases of a pipeline.
pub struct Databases<'a> {
    pipeline: &'a Pipeline,
    params: &'a Params,
    env: &'a BTreeMap<String, Vec<u8>>,
    /// The pipeline's folder.
    root: PathBuf,
    settings: Mutex<HashMap<String, Settings>>,
    idle: Idle,
    /// Those where the run has its tables and its fence.
    ready: Mutex<HashSet<String>>,
    fence: Mutex<Option<Fence>>,
}

/// A session that is given back when it is dropped, unless it is lost.
pub struct Lent<'d> {
    session: Option<Box<dyn Session + Send>>,
    key: (String, Purpose),
    idle: &'d Idle,
}

impl Deref for Lent<'_> {
    type Target = dyn Session + Send;

    fn deref(&self) -> &Self::Target {
        &**self.session.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut **self.session.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        // A file that was not there may be, by now.
        let is_kept = !session.is_lost()
            && (session.address().engine != Engine::Sqlite || self.key.1 == Purpose::Act);
        if is_kept {
            let mut idle = self.idle.lock().expect("nobody panics while holding it");
            idle.entry(self.key.clone()).or_default().push(session);
        }
    }
}

impl<'a> Databases<'a> {
    /// The databases of a pipeline in a folder. No connection is made before one is
    /// asked for.
    #[must_use]
    pub fn new(
        pipeline: &'a Pipeline,
        params: &'a Params,
        env: &'a BTreeMap<String, Vec<u8>>,
        root: PathBuf,
    ) -> Self {
        Self {
            pipeline,
            params,
            env,
            root,
            settings: Mutex::default(),
            idle: Mutex::default(),
            ready: Mutex::default(),
            fence: Mutex::default(),
        }
    }

    /// What it takes to connect; the files that say it are read once.
    fn settings(&self, name: &str) -> DbResult<Settings> {
        let mut known = self.settings.lock().expect("nobody panics while holding it");
        if let Some(settings) = known.get(name) {
            return Ok(settings.clone());
        }
        let named = self.pipeline.databases.iter().find(|database| database.name == name);
        let url = named.map(|named| named.url.render(&Bindings::of(self.params, None)));
        let url = url.map(|url| String::from_utf8_lossy(&url).into_owned()).unwrap_or_default();
        let settings = Settings::find(&url, self.env).map_err(|why| {
            DbError::new(ErrorKind::Unreachable, format!("database `{name}`: {why}"))
        })?;
        Ok(known.entry(name.to_owned()).or_insert(settings).clone())
    }

    /// Which database has a name.
    ///
    /// # Errors
    /// If its URL, or what belongs to it, cannot be understood.
    pub fn address(&self, name: &str) -> DbResult<Address> {
        Ok(self.settings(name)?.address())
    }

    /// A session with a database.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub fn session(&self, name: &str, purpose: Purpose, watch: Watch) -> DbResult<Lent<'_>> {
        let key = (name.to_owned(), purpose);
        // One that was idle may have been ended by its server meanwhile: nothing was asked
        // of it yet, and another does as well.
        while let Some(mut session) = self.take_idle(&key) {
            match session.set_watch(watch.share()?) {
                Ok(()) if !session.is_lost() => {
                    return Ok(Lent { session: Some(session), key, idle: &self.idle });
                }
                Err(error) if !session.is_lost() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        let settings = self.settings(name)?;
        let acts = purpose == Purpose::Act;
        let mut session = database::connect(&settings, &self.root, acts, watch)?;
        if !acts {
            session.execute(read_only(session.address().engine), &[])?;
        }
        Ok(Lent { session: Some(session), key, idle: &self.idle })
    }

    fn take_idle(&self, key: &(String, Purpose)) -> Option<Box<dyn Session + Send>> {
        self.idle.lock().expect("nobody panics while holding it").get_mut(key)?.pop()
    }

    /// Makes sure that a database has semel's tables, and that the fence in it is raised
    /// to our token; gives the fence.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn make_ready(&self, site: &Site<'_>, run: i64, session: &mut Lent<'_>) -> DbResult<Fence> {
        let fence = self.fence(site, run)?;
        let name = session.key.0.clone();
        let mut ready = self.ready.lock().expect("nobody panics while holding it");
        if !ready.contains(&name) {
            stamps::make(&mut **session)?;
            stamps::raise(&mut **session, &fence)?;
            ready.insert(name);
        }
        Ok(fence)
    }

    /// The fence of the run. It is read under its lease: whoever was taken over meanwhile
    /// has no token any more.
    fn fence(&self, site: &Site<'_>, run: i64) -> DbResult<Fence> {
        let mut fence = self.fence.lock().expect("nobody panics while holding it");
        if let Some(fence) = &*fence {
            return Ok(fence.clone());
        }
        let asked = match site.manifest {
            Some(manifest) => {
                let manifest = manifest.lock().expect("nobody panics while asking");
                manifest.token_of(run).and_then(|token| Ok((token, manifest.identity()?.id)))
            }
            None => return Err(DbError::new(ErrorKind::Other, "there is no manifest")),
        };
        let ((scope, token), id) = asked.map_err(|error| {
            DbError::new(ErrorKind::Unreachable, format!("the manifest: {error}"))
        })?;
        let asked = Fence {
            manifest: Digest::of(id.as_bytes()),
            scope: Digest::of(scope.as_bytes()),
            token,
        };
        Ok(fence.insert(asked).clone())
    }
}

/// From now on a session only looks: a check is asked by those, too, who change nothing.
const fn read_only(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "set session characteristics as transaction read only",
        Engine::Sqlite => "pragma query_only = on",
        Engine::MySql => "set session transaction read only",
    }
}

/// Whether the URLs of a pipeline's databases are good ones, those aside that name a
/// parameter that is not known yet. Whoever has a password in one is told before anything
/// is begun, and in particular before the parameter that it came by is written down.
///
/// # Errors
/// What is wrong with one, without what stands in it.
pub fn are_named_well(
    pipeline: &Pipeline,
    params: &Params,
    unknown: &[String],
) -> Result<(), String> {
    for database in &pipeline.databases {
        let is_unknown = |name: &Name| matches!(name, Name::Param(name) if unknown.contains(name));
        if database.url.placeholders().any(|hole| is_unknown(&hole.name)) {
            continue;
        }
        let url = database.url.render(&Bindings::of(params, None));
        Settings::check(&String::from_utf8_lossy(&url))
            .map_err(|why| format!("database `{}`: {why}", database.name))?;
    }
    Ok(())
}

/// What ends the waiting for a database.
///
/// # Errors
/// If the system has no descriptor left.
pub fn watch(stop: &Stop, limit: Option<Duration>) -> DbResult<Watch> {
    let stop = stop.share();
    let stop = stop.map_err(|error| DbError::new(ErrorKind::Other, error.to_string()))?;
    Ok(Watch { stop, deadline: limit.map(|limit| Instant::now() + limit) })
}

/// What an error of a database is to a task.
#[must_use]
pub fn failure(error: DbError) -> Failure {
    match error.kind {
        ErrorKind::Unreachable | ErrorKind::Denied | ErrorKind::Full => Failure::Broken(error.text),
        _ => Failure::Sql(error.text),
    }
}
