//! Rows, as a look sees them: held against receipt and stamps.

use super::Held;
use crate::deed::Site;
use crate::deed::rows::{Rows, SeenRows};
use crate::deed::view::StepView;
use crate::ground::manifest::Remembered;
use crate::words::digest::Digest;
use crate::words::fingerprint::{self, Fingerprint};
use crate::words::pipeline::Same;
use crate::words::receipt::Receipt;
use crate::words::row_stamp::RowStamp;
use crate::words::verdict::Outputs;

/// The item of a task's name; none where the step has no items.
pub(super) const fn item_of(name: &str) -> Option<&str> {
    if name.is_empty() { None } else { Some(name) }
}

/// Rows held against receipt and stamps. Where there is neither, there is nothing to
/// look at.
pub(super) fn hold(
    view: &StepView<'_>,
    rows: &Rows,
    name: &str,
    present: &Fingerprint,
    receipt: Option<&Remembered>,
    keeps: bool,
) -> Held {
    let any_how = view.step.once || keeps;
    let is_this = receipt.is_some_and(|receipt| {
        let known = &receipt.fingerprint;
        known.what == present.what && (any_how || known.how == present.how)
    });
    let own = rows.of_item(item_of(name)).filter(|known| !known.is_void).map(|known| known.stamp);
    // Those of an item of equal content serve it too, where nothing is remembered.
    let proves = |stamp: &RowStamp| stamp.proves(present, any_how);
    let proof = own.iter().find(|stamp| proves(stamp)).cloned();
    let proof = proof.or_else(|| {
        let is_remembered =
            is_this || receipt.is_none() && view.twins(&present.what).next().is_none();
        let is_shared = is_remembered && view.step.same == Some(Same::Content);
        let others = is_shared.then(|| rows.of_what(&present.what));
        others.into_iter().flatten().find(proves)
    });
    let stamp = proof.as_ref().or(own.as_ref());
    let effect = stamp.and_then(effect_of);
    let are_own =
        receipt.is_some_and(|receipt| receipt.effect.is_some() && receipt.effect == effect);
    let outputs = match (stamp, is_this) {
        _ if proof.is_some() => Outputs::Proven,
        (Some(_), true) if are_own => Outputs::Proven,
        (Some(stamp), _) if !stamp.is_whole => Outputs::None,
        (Some(_), true) => Outputs::Missing,
        (Some(_), false) => Outputs::Older,
        (None, _) if receipt.is_some() => Outputs::Missing,
        (None, _) => Outputs::None,
    };
    Held { outputs, effect, are_own, is_as_before: is_this && are_own }
}

/// What rows are to receipts, and to those that come after them.
fn effect_of(stamp: &RowStamp) -> Option<Digest> {
    fingerprint::effect([(stamp.table.as_str(), stamp.digest())])
}

/// What was seen of the rows of a task that is to be acted on.
pub(super) fn seen(
    site: &Site<'_>,
    view: &StepView<'_>,
    name: &str,
    receipt: Option<&Remembered>,
) -> SeenRows {
    let Some(rows) = &view.rows else { return SeenRows::default() };
    let stamped = rows.of_item(item_of(name));
    let before = stamped.as_ref().filter(|known| !known.is_void).and_then(|known| {
        let is_former =
            known.stamp.task.step != view.step.name || known.stamp.pipeline != site.pipeline.name;
        is_former.then(|| known.stamp.clone())
    });
    SeenRows { stamped, before, has_receipt: receipt.is_some() }
}

/// Whether the rows that a receipt tells of are there, where its step makes some.
pub(super) fn are_there(view: &StepView<'_>, receipt: &Receipt) -> bool {
    view.rows.as_ref().is_none_or(|rows| {
        let stamps = rows.of_what(&receipt.fingerprint.what);
        stamps.iter().any(|stamp| stamp.proves(&receipt.fingerprint, true))
    })
}
