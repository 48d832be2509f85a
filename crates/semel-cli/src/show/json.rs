//! Events as JSON, one object a line. The objects may grow; what is there stays.

use jiff::Timestamp;
use semel::words::call::Sums;
use semel::words::event::{Event, Made, Outcome};
use semel::words::evidence::Evidence;
use semel::words::path::show;
use semel::words::receipt::Failure;
use semel::words::verdict::{Likeness, Memory, Truth, Verdict};
use serde_json::{Map, Value, json};

/// An event as one object.
pub(crate) fn event(event: &Event<'_>) -> Value {
    let object = match event {
        Event::Began { run, number } => json!({
            "event": "run-began", "run": number, "id": run.id, "pipeline": run.pipeline,
            "instance": run.instance.as_str(), "host": run.by.host, "user": run.by.user, "pid": run.by.pid,
        }),
        Event::LeaseLost { why } => json!({ "event": "lease-lost", "why": why }),
        Event::Waits { who, since } => {
            json!({ "event": "waits", "who": who, "since": since.to_string() })
        }
        Event::NewMemory { once, is_whole, backup, lines, network } => {
            let mut told = json!({
                "event": "new-memory", "once": once, "whole": is_whole, "lines": lines,
                "backup": backup.map(|made| format!("{made:.3}")),
            });
            if let Some(network) = network {
                told["network"] = json!(network);
            }
            told
        }
        Event::Mended { why, aside, backup, lines, once } => json!({
            "event": "mended", "why": why, "aside": aside.map(path), "once": once, "whole": false,
            "lines": lines, "backup": backup.map(|made| format!("{made:.3}")),
        }),
        Event::OldMemory { once, lines } => {
            json!({ "event": "old-memory", "once": once, "whole": false, "lines": lines })
        }
        Event::MayBeRenamed { task, pipeline, step } => json!({
            "event": "may-be-renamed", "task": task.to_string(), "from-pipeline": pipeline,
            "from-step": step,
        }),
        Event::Finished { number, task } => {
            json!({ "event": "finished", "run": number, "task": task.to_string() })
        }
        Event::CleanedUp { number, attempts } => {
            json!({ "event": "cleaned-up", "run": number, "attempts": attempts })
        }
        Event::Listed { step, total, .. } => {
            json!({ "event": "step-listed", "step": step.name, "total": total })
        }
        Event::Unlisted { step, after, .. } => {
            json!({ "event": "step-unlisted", "step": step.name, "after": after })
        }
        Event::Attempt { task, tries } => {
            json!({ "event": "attempt-began", "task": task.to_string(), "try": tries })
        }
        Event::Printed { task, bytes } => {
            json!({ "event": "printed", "task": task.to_string(), "text": String::from_utf8_lossy(bytes) })
        }
        Event::AttemptFailed { task, tries, failure, tail, again_in, command } => json!({
            "event": "attempt-failed", "task": task.to_string(), "try": tries, "why": failure.to_string(),
            "exit": exit_of(failure), "tail": String::from_utf8_lossy(tail), "command": command,
            "again-in-seconds": again_in.map(|pause| pause.as_secs_f64()),
        }),
        Event::Void { task, input } => {
            json!({ "event": "attempt-void", "task": task.to_string(), "input": path(input) })
        }
        Event::Displaced { task, from, to } => {
            json!({ "event": "displaced", "task": task.to_string(), "from": path(from), "to": path(to) })
        }
        Event::Evidence { task, evidence } => evidence_of(&task.to_string(), evidence),
        Event::Settled { task, outcome } => {
            let mut object = json!({ "event": "task-settled", "task": task.to_string(), "step": task.step.name });
            if let Value::Object(object) = &mut object {
                add_outcome(object, outcome);
            }
            object
        }
        Event::StepFailed { step, failure, .. } => {
            json!({ "event": "step-failed", "step": step.name, "why": failure.to_string() })
        }
        Event::Warning { text } => json!({ "event": "warning", "text": text }),
        Event::CommandChanged { step, tasks, usual, .. } => json!({
            "event": "command-changed", "step": step.name, "tasks": tasks,
            "usual-seconds": usual.map(|usual| usual.as_secs_f64()),
        }),
        Event::PaidDebt { number } => json!({ "event": "finally-owed", "run": number }),
        Event::HookFailed { hook, why } => {
            json!({ "event": "hook-failed", "hook": hook, "why": why })
        }
        Event::TimedOut { limit } => {
            json!({ "event": "timed-out", "limit-seconds": limit.as_secs_f64() })
        }
        Event::Stopping { signal, at_once } => {
            json!({ "event": "stopping", "signal": signal, "at-once": at_once })
        }
    };
    stamped(object)
}

/// The evidence behind a verdict as one object.
pub(crate) fn evidence_of(task: &str, evidence: &Evidence) -> Value {
    let cues: Vec<_> = evidence
        .cues
        .iter()
        .map(|cue| {
            json!({
                "part": cue.part.name(), "name": cue.name, "recorded": cue.recorded, "now": cue.now,
                "same": cue.is_same(),
            })
        })
        .collect();
    let receipt = evidence.receipt.map(|(run, at)| json!({ "run": run, "at": at.to_string() }));
    let attempt = evidence.attempt.as_ref().map(
        |(run, began, ending)| json!({ "run": run, "began": began.to_string(), "ending": ending }),
    );
    json!({
        "event": "evidence", "task": task, "verdict": evidence.verdict.ruling.to_string(),
        "reason": evidence.verdict.reason.name(), "why": evidence.verdict.reason.to_string(),
        "memory": memory(evidence.memory), "truth": truth(evidence.truth), "receipt": receipt,
        "attempt": attempt, "cues": cues, "not-seen": evidence.not_seen, "twin": evidence.twin,
        "calls": sums(&evidence.calls), "shared-calls": sums(&evidence.shared_calls),
    })
}

/// What calls came to, by where they stand.
pub(crate) fn sums(sums: &Sums) -> Value {
    sums.iter()
        .map(|(state, sum)| {
            (state.name().to_owned(), json!({ "calls": sum.calls, "cost": sum.costs() }))
        })
        .collect::<Map<_, _>>()
        .into()
}

/// The words of the decision table for memory.
pub(crate) fn memory(memory: Memory) -> &'static str {
    match memory {
        Memory::None => "none",
        Memory::Complete(Likeness::Same) => "complete, same",
        Memory::Complete(Likeness::OtherHow) => "complete, other how",
        Memory::Complete(Likeness::OtherWhat) => "complete, other what",
        Memory::Failed => "failed",
        Memory::Interrupted => "interrupted",
        Memory::Running => "running",
    }
}

/// The words of the decision table for truth.
pub(crate) fn truth(truth: Truth) -> &'static str {
    match truth {
        Truth::Missing => "missing",
        Truth::Altered => "altered",
        Truth::Proven => "proven",
        Truth::Claimed => "claimed",
        Truth::Unknown => "unknown",
    }
}

/// The end of a run as one object.
pub(crate) fn ended(
    number: Option<i64>,
    status: i32,
    report: &semel::thought::report::Report,
) -> Value {
    let steps: Vec<_> = report.steps.iter().map(step).collect();
    stamped(json!({ "event": "run-ended", "run": number, "exit": status, "steps": steps }))
}

fn step(report: &semel::thought::report::StepReport) -> Value {
    let counts = &report.counts;
    let would: Map<_, _> =
        report.would.iter().map(|(ruling, many)| (ruling.to_string(), json!(many))).collect();
    json!({
        "step": report.name, "instance": report.instance.as_str(), "total": counts.total, "ran": counts.ran,
        "skipped": counts.skipped, "adopted": counts.adopted, "reused": counts.reused, "failed": counts.failed,
        "refused": counts.refused, "busy": counts.busy, "blocked": counts.blocked, "untried": report.unsettled(),
        "would": would, "may": report.may, "rows": report.rows, "bytes": report.bytes,
        "seconds": report.took().as_secs_f64(), "note": report.note,
    })
}

fn add_outcome(object: &mut Map<String, Value>, outcome: &Outcome) {
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("outcome", json!(outcome.name()));
    match outcome {
        Outcome::Skipped(reason) | Outcome::Adopted(reason) | Outcome::Refused(reason) => {
            put("reason", json!(reason.name()));
            put("why", json!(reason.to_string()));
        }
        Outcome::Ran(made) | Outcome::Reused(made) => {
            let Made { took, bytes, rows, from, why } = made;
            put("seconds", json!(took.as_secs_f64()));
            put("bytes", json!(bytes));
            put("rows", json!(rows));
            put("from", json!(from));
            put("reason", json!(why.map(semel::words::verdict::Reason::name)));
        }
        Outcome::Failed(failure) => {
            put("why", json!(failure.to_string()));
            put("exit", json!(exit_of(failure)));
        }
        Outcome::Blocked(by) => {
            put("by", json!(by));
        }
        Outcome::Would(Verdict { ruling, reason }) => {
            put("verdict", json!(ruling.to_string()));
            put("reason", json!(reason.name()));
            put("why", json!(reason.to_string()));
        }
        Outcome::Busy | Outcome::May => {}
    }
}

fn exit_of(failure: &Failure) -> Option<i32> {
    match failure {
        Failure::Exit(status) => Some(*status),
        Failure::Signal(signal) => Some(128 + signal),
        _ => None,
    }
}

/// A path as text; bytes that are not UTF-8 are escaped as in messages.
fn path(path: &std::path::Path) -> String {
    path.to_str().map_or_else(|| show(path), str::to_owned)
}

fn stamped(mut object: Value) -> Value {
    object["at"] = json!(format!("{:.3}", Timestamp::now()));
    object
}
