//! Leases: who may write of a pipeline's instance.
//!
//! The kernel's lock keeps others out; the token is for where that fails: a lock file
//! that was removed, a file system whose locks lie, a process that was taken for
//! dead. It is raised when a run begins, and asked for in each transaction in which
//! the run writes.
//!
//! Invariant: *I4* whoever was given a lower token than the present one writes
//! nothing more.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::file::Doing;
use super::values::time_text;
use crate::ground::manifest::{ManifestError, ManifestResult};
use crate::words::run::NewRun;

/// A lease that this connection writes under.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pipeline: String,
    instance: String,
    token: i64,
}

impl Lease {
    /// Raises the token for a run that begins.
    pub(super) fn take(connection: &Connection, run: &NewRun, number: i64) -> ManifestResult<Self> {
        let sql = "insert into lease (pipeline, instance, token, run, since) values (?, ?, 1, ?, ?)
                   on conflict (pipeline, instance) do update set token = token + 1,
                       run = excluded.run, since = excluded.since, ended = null
                   returning token";
        let instance = run.scope();
        let values = params![run.pipeline, instance, number, time_text(run.began)];
        let token = connection.query_row(sql, values, |row| row.get(0)).doing("take the lease")?;
        Ok(Self { pipeline: run.pipeline.clone(), instance, token })
    }

    /// The lease of a run that has not ended, and that nobody took over.
    pub(super) fn of_run(connection: &Connection, number: i64) -> ManifestResult<Self> {
        let doing = "look at the lease";
        let sql = "select l.pipeline, l.instance, l.token from lease l
             join run r on r.number = l.run and r.pipeline = l.pipeline and r.instance = l.instance
             where l.run = ? and r.ended is null";
        let found = connection
            .query_row(sql, [number], |row| {
                Ok(Self { pipeline: row.get(0)?, instance: row.get(1)?, token: row.get(2)? })
            })
            .optional()
            .doing(doing)?;
        found.ok_or(ManifestError::Fenced { by: None })
    }

    /// What it is a lease of, in one text.
    pub(super) fn scope(&self) -> String {
        format!("{}\n{}", self.pipeline, self.instance)
    }

    /// The token.
    pub(super) const fn token(&self) -> i64 {
        self.token
    }

    /// Fails unless the token is the present one.
    pub(super) fn verify(&self, connection: &Connection) -> ManifestResult<()> {
        let sql = "select token, run from lease where pipeline = ? and instance = ?";
        let doing = "look at the lease";
        let mut statement = connection.prepare_cached(sql).doing(doing)?;
        let present: Option<(i64, i64)> = statement
            .query_row(params![self.pipeline, self.instance], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .doing(doing)?;
        match present {
            Some((token, _)) if token == self.token => Ok(()),
            present => Err(ManifestError::Fenced { by: present.map(|(_, run)| run) }),
        }
    }

    /// Gives the lease back. That somebody else has it is no fault.
    pub(super) fn end(&self, connection: &Connection, ended: Timestamp) -> ManifestResult<()> {
        let sql = "update lease set ended = ? where pipeline = ? and instance = ? and token = ?";
        let values = params![time_text(ended), self.pipeline, self.instance, self.token];
        connection.execute(sql, values).doing("give the lease back")?;
        Ok(())
    }
}
