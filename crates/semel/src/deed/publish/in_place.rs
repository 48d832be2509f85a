//! Publishing what a command wrote in place: it is there already. It is stamped and
//! synced, and the check is asked; if that does not hold, what was there before is
//! put back.

use super::{Publication, Published, broken, look_at_published, records};
use crate::deed::act::{Job, Workshop};
use crate::deed::aside;
use crate::deed::look::is_own;
use crate::deed::stage::Place;
use crate::deed::trees::sync_all;
use crate::deed::undo::Undo;
use crate::deed::view::Seen;
use crate::ground::digests;
use crate::ground::world::disk::Kind;
use crate::ground::world::process::Stop;
use crate::words::receipt::Failure;
use crate::words::stamp::Stamp;

pub(super) fn publish(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    mut publication: Publication<'_>,
    place: Place,
    contents: &[Seen],
    stop: &Stop,
) -> Result<Published, Failure> {
    let done = publication
        .stamp_in_place(contents)
        .and_then(|()| publication.ask_check(stop))
        .and_then(|()| publication.displace_kept(&place));
    if let Err(failure) = done {
        let failure = Undo { workshop, job }.after_publishing(&place, failure);
        return Err(match workshop.staging.clear_failed(&place) {
            Ok(()) => failure,
            Err(error) => Failure::Broken(format!("{failure}; and then: {error}")),
        });
    }
    let outs = job.task.outs.iter().zip(contents);
    let outs = outs.map(|(path, seen)| look_at_published(workshop.site, path, seen));
    let outs = outs.collect::<Result<Vec<_>, _>>()?;
    Ok(Published {
        files: records(job, contents),
        outs,
        left_something: true,
        place,
        ..publication.published()
    })
}

impl Publication<'_> {
    /// Stamps and syncs outputs in their places.
    fn stamp_in_place(&mut self, contents: &[Seen]) -> Result<(), Failure> {
        let (view, disk) = (self.job.view, self.site.disk);
        for (at, (path, seen)) in self.job.task.outs.iter().zip(contents).enumerate() {
            let stamp =
                Stamp::new(&self.job.sight.fingerprint, &view.roles[at], seen.content.digest);
            disk.put_stamp(path, &stamp.to_bytes()).map_err(|error| broken(&error))?;
            if self.syncs() {
                sync_all(disk, path, view.step.outs[at].folder).map_err(|error| broken(&error))?;
            }
            self.placing
                .unsynced
                .push(path.parent().unwrap_or(std::path::Path::new("")).to_owned());
        }
        Ok(())
    }

    /// Copies of what semel did not make are kept when their places have a receipt.
    fn displace_kept(&mut self, place: &Place) -> Result<(), Failure> {
        let disk = self.site.disk;
        for (at, kept) in place.kept.iter().enumerate() {
            let Some(kept) = kept else { continue };
            let path = &self.job.task.outs[at];
            let seen = self.job.sight.outs.get(at).and_then(Option::as_ref);
            let digest = match seen {
                Some(seen) if seen.meta.kind == Kind::File && seen.meta.stat == kept.stat => {
                    if self.job.sight.outs_are_own {
                        continue;
                    }
                    seen.content.digest
                }
                _ if self.job.view.step.outs[at].folder => {
                    digests::read_folder(disk, &kept.copy).map_err(|error| broken(&error))?.digest
                }
                _ => digests::read(disk, &kept.copy, None).map_err(|error| broken(&error))?.digest,
            };
            if is_own(self.site, path, digest)? {
                continue;
            }
            let aside = self.placing.aside_of(path)?;
            // *I9* Until there is a receipt, the kept one may have to be put back.
            let is_folder = self.job.view.step.outs[at].folder;
            let copied = aside::copy_to(disk, &kept.copy, &aside, is_folder);
            copied.map_err(|error| broken(&error))?;
            self.placing.unsynced.extend(aside.parent().map(std::path::Path::to_owned));
            self.moved_aside.push((path.clone(), aside));
        }
        Ok(())
    }
}
