//! The keys of `[[call]]`: what is said of the calls that match a pattern.

use super::http::{header, statuses};
use super::{Key, Read, Shape, fill, one_of};
use crate::words::call::{
    Budget, Equal, Every, Field, Money, Pattern, Price, Rule, SendKey, Source, WhenUnknown,
};
use crate::words::pipeline::draft::CallDraft;
use crate::words::pipeline::value::{Value, all};

/// The keys of `[[call]]`.
pub(super) const CALL: &[Key<CallDraft>] = &[
    Key {
        name: "match",
        about: "which calls: a method, or several as in `GET|HEAD`, or `*`, and a URL whose scheme, port, path and query may be left out; `*` stands for anything but `/`, `**` for anything",
        shape: Shape::Text,
        read: |call, value| {
            call.rule.pattern = Pattern::parse(value.text()?)
                .map_err(|error| vec![value.fault("not a pattern of calls", error.to_string())])?;
            Ok(())
        },
    },
    Key {
        name: "key",
        about: "the fields that make two requests the same call: a part of the body as `/order/id`, a parameter as `?order`, a header as `header:x-order`; the rest must be equal then. By default all of it does",
        shape: FIELDS,
        read: |call, value| {
            call.rule.key = fields(value)?;
            Ok(())
        },
    },
    Key {
        name: "ignore",
        about: "fields that make no difference: a time, a number of the try",
        shape: FIELDS,
        read: |call, value| {
            call.rule.ignore = fields(value)?;
            Ok(())
        },
    },
    Key {
        name: "equal",
        about: "what equal requests are: `separate`, calls of their own, by default; `shared`, one call whose answer all tasks of the pipeline get, for look-ups",
        shape: Shape::Word(&["separate", "shared"]),
        read: |call, value| {
            call.rule.equal = Some(match value.text()? {
                "separate" => Equal::Separate,
                "shared" => Equal::Shared,
                _ => return one_of(value, &["separate", "shared"]),
            });
            Ok(())
        },
    },
    Key {
        name: "read",
        about: "`true`: it changes nothing and costs nothing, so its answer is replayed only until its task is complete; by default GET, HEAD and OPTIONS are",
        shape: Shape::Flag,
        read: |call, value| {
            call.rule.read = Some(value.flag()?);
            Ok(())
        },
    },
    Key {
        name: "pass",
        about: "`true`: it passes through, and nothing of it is kept",
        shape: Shape::Flag,
        read: |call, value| {
            call.rule.pass = Some(value.flag()?);
            Ok(())
        },
    },
    Key {
        name: "account",
        about: "`any`: an equal request under another account is the same call; by default it is refused",
        shape: Shape::Word(&["any"]),
        read: |call, value| {
            if value.text()? != "any" {
                return one_of(value, &["any"]);
            }
            call.rule.any_account = Some(true);
            Ok(())
        },
    },
    Key {
        name: "send-key",
        about: "the header that says semel's key to the provider, by default `Idempotency-Key`; `false`: none is sent",
        shape: Shape::Either(&[Shape::Text, Shape::Flag]),
        read: |call, value| {
            call.rule.send_key = Some(match value.as_text() {
                Some(name) => SendKey::Header(header(name, &value.span())?),
                None if !value.flag()? => SendKey::No,
                None => {
                    let label = "which header?";
                    return Err(vec![
                        value.fault("`send-key` wants a header's name, or `false`", label),
                    ]);
                }
            });
            Ok(())
        },
    },
    Key {
        name: "key-window",
        about: "how long the provider honours a key; sent again later, a call is a second purchase, and it is not",
        shape: Shape::Time,
        read: |call, value| {
            call.rule.key_window = Some(value.limit()?);
            Ok(())
        },
    },
    Key {
        name: "unknown",
        about: "what becomes of a call of which nobody knows whether it was processed: `stop`, a human settles it, by default; `resend`, it is sent again with the same key, for providers that honour it; or a table",
        shape: Shape::Either(&[Shape::Word(&["stop", "resend"]), Shape::Table(&UNKNOWN)]),
        read: |call, value| {
            call.rule.unknown = Some(unknown(value)?);
            Ok(())
        },
    },
    Key {
        name: "rejected",
        about: "statuses by which the provider says that it did nothing, beside 429: the call may be sent again",
        shape: Shape::OneOrMore(&Shape::Whole(400, 599)),
        read: |call, value| {
            call.rule.rejected = Some(statuses(value, 400, "statuses from 400 to 599")?);
            Ok(())
        },
    },
    Key {
        name: "fresh-for",
        about: "how old an answer may be that is replayed; by default any age",
        shape: Shape::Time,
        read: |call, value| {
            call.rule.fresh_for = Some(value.limit()?);
            Ok(())
        },
    },
    Key {
        name: "keep",
        about: "how long the bodies of complete calls are kept; that they were made is kept for ever",
        shape: Shape::Time,
        read: |call, value| {
            call.rule.keep = Some(value.limit()?);
            Ok(())
        },
    },
    Key {
        name: "price",
        about: "what a call costs: `\"0.0015 USD\"`, or a table for a price that the answer says",
        shape: Shape::Either(&[Shape::Text, Shape::Table(&PRICE)]),
        read: |call, value| {
            call.rule.price = Some(price(value)?);
            Ok(())
        },
    },
    Key {
        name: "budget",
        about: "how much may be spent on these calls in a run: `\"20 USD\"`, or a table; what may not be spent is not sent",
        shape: Shape::Either(&[Shape::Text, Shape::Table(&BUDGET)]),
        read: |call, value| {
            call.rule.budget = Some(budget(value)?);
            Ok(())
        },
    },
    Key {
        name: "timeout",
        about: "how long an answer may take, whatever the client says; by default half an hour",
        shape: Shape::Time,
        read: |call, value| {
            call.rule.timeout = Some(value.limit()?);
            Ok(())
        },
    },
    Key {
        name: "redact",
        about: "fields of requests and answers that are not kept",
        shape: FIELDS,
        read: |call, value| {
            call.rule.redact = fields(value)?;
            Ok(())
        },
    },
];

const FIELDS: Shape = Shape::OneOrMore(&Shape::Text);

/// The rules of a file.
pub(super) fn calls(value: &Value<'_>) -> Read<Vec<CallDraft>> {
    let tables = value.array().map_err(|faults| {
        faults
            .into_iter()
            .map(|fault| fault.help("each rule is a table  [[call]]"))
            .collect::<Vec<_>>()
    })?;
    let mut faults = Vec::new();
    let mut calls = Vec::new();
    for value in tables {
        let Some(table) = value.as_table() else {
            let label = "each rule is a table";
            faults.push(value.fault("`call` wants tables", label).help("write  [[call]]"));
            continue;
        };
        let span = value.span();
        let said = table.entries();
        let said = said.into_iter().map(|entry| (entry.name.to_owned(), entry.value.span()));
        let mut call = CallDraft {
            rule: Rule::new(Pattern::any(), Source::File(span.clone())),
            said: said.collect(),
            is_whole: true,
            span,
        };
        if let Err(more) = fill(&table, CALL, &mut call, "a rule for calls") {
            faults.extend(more);
            call.is_whole = false;
        }
        calls.push(call);
    }
    if faults.is_empty() { Ok(calls) } else { Err(faults) }
}

/// Fields in their order, each once: by which order they are said makes no difference.
fn fields(value: &Value<'_>) -> Read<Vec<Field>> {
    let mut fields = all(value.one_or_more().iter().map(field))?;
    fields.sort();
    fields.dedup();
    Ok(fields)
}

fn field(value: &Value<'_>) -> Read<Field> {
    Field::parse(value.text()?)
        .map_err(|error| vec![value.fault("not a field of a request", error.to_string())])
}

fn money(value: &Value<'_>) -> Read<Money> {
    Money::parse(value.text()?)
        .map_err(|error| vec![value.fault("not an amount of money", error.to_string())])
}

/// What `unknown` says as a table.
#[derive(Default)]
pub(super) struct UnknownDraft {
    resend: Option<u32>,
    probe: Option<String>,
}

/// The keys of `unknown` as a table.
pub(super) const UNKNOWN: &[Key<UnknownDraft>] = &[
    Key {
        name: "resend",
        about: "how often it is sent again, though it may be paid again each time",
        shape: Shape::Whole(1, 100),
        read: |unknown, value| {
            let times = value.whole_within(1, 100, "a whole number from 1 to 100")?;
            unknown.resend = u32::try_from(times).ok();
            Ok(())
        },
    },
    Key {
        name: "probe",
        about: "a command that asks whether it was processed instead, and prints `happened`, `absent` or `unsure`",
        shape: Shape::Text,
        read: |unknown, value| {
            unknown.probe = Some(value.filled_text()?.what);
            Ok(())
        },
    },
];

fn unknown(value: &Value<'_>) -> Read<WhenUnknown> {
    let Some(table) = value.as_table() else {
        return match value.text()? {
            "stop" => Ok(WhenUnknown::Stop),
            "resend" => Ok(WhenUnknown::Resend),
            _ => one_of(value, &["stop", "resend"]),
        };
    };
    let mut draft = UnknownDraft::default();
    fill(&table, UNKNOWN, &mut draft, "`unknown`")?;
    match (draft.resend, draft.probe) {
        (Some(times), None) => Ok(WhenUnknown::ResendAtMost(times)),
        (None, Some(command)) => Ok(WhenUnknown::Probe(command)),
        _ => Err(vec![value.fault("`unknown` wants one of `resend` and `probe`", "says not one")]),
    }
}

/// A price that the answer says.
#[derive(Default)]
pub(super) struct PriceDraft {
    answer: Option<Field>,
    each: Option<Money>,
    at_most: Option<Money>,
}

/// The keys of `price` as a table.
pub(super) const PRICE: &[Key<PriceDraft>] = &[
    Key {
        name: "answer",
        about: "where the answer says a number: a part of its body as `/usage/tokens`, or a header as `header:x-cost`",
        shape: Shape::Text,
        read: |price, value| {
            price.answer = match field(value)? {
                Field::Query(_) => {
                    let label = "an answer has a body and headers";
                    return Err(vec![value.fault("not a field of an answer", label)]);
                }
                field => Some(field),
            };
            Ok(())
        },
    },
    Key {
        name: "each",
        about: "what one of it costs",
        shape: Shape::Text,
        read: |price, value| {
            price.each = Some(money(value)?);
            Ok(())
        },
    },
    Key {
        name: "at-most",
        about: "what is reserved of a budget until the answer is there",
        shape: Shape::Text,
        read: |price, value| {
            price.at_most = Some(money(value)?);
            Ok(())
        },
    },
];

fn price(value: &Value<'_>) -> Read<Price> {
    let Some(table) = value.as_table() else {
        return Ok(Price::Fixed(money(value)?));
    };
    let mut draft = PriceDraft::default();
    fill(&table, PRICE, &mut draft, "`price`")?;
    match (draft.answer, draft.each, draft.at_most) {
        (Some(field), Some(each), Some(at_most)) if each.unit == at_most.unit => {
            Ok(Price::InAnswer { field, each, at_most })
        }
        (Some(_), Some(each), Some(at_most)) => {
            let label = format!("{} and {}", each.unit, at_most.unit);
            Err(vec![value.fault("`price` in two units", label)])
        }
        _ => {
            let title = "`price` wants all of `answer`, `each` and `at-most`";
            Err(vec![value.fault(title, "one is missing")])
        }
    }
}

/// The keys of `budget` as a table.
pub(super) const BUDGET: &[Key<Budget>] = &[
    Key {
        name: "calls",
        about: "how many calls may be sent",
        shape: Shape::Whole(1, 1_000_000_000_000),
        read: |budget, value| {
            let calls = value.whole_within(1, 1_000_000_000_000, "a whole number from 1 on")?;
            budget.calls = u64::try_from(calls).ok();
            Ok(())
        },
    },
    Key {
        name: "money",
        about: "how much money they may cost",
        shape: Shape::Text,
        read: |budget, value| {
            budget.money = Some(money(value)?);
            Ok(())
        },
    },
    Key {
        name: "per",
        about: "in which time: `run`, by default; `day` or `month`, of UTC",
        shape: Shape::Word(&["run", "day", "month"]),
        read: |budget, value| {
            budget.every = match value.text()? {
                "run" => Every::Run,
                "day" => Every::Day,
                "month" => Every::Month,
                _ => return one_of(value, &["run", "day", "month"]),
            };
            Ok(())
        },
    },
];

fn budget(value: &Value<'_>) -> Read<Budget> {
    let mut budget = Budget { calls: None, money: None, every: Every::Run };
    match value.as_table() {
        Some(table) => fill(&table, BUDGET, &mut budget, "`budget`")?,
        None => budget.money = Some(money(value)?),
    }
    if budget.calls.is_none() && budget.money.is_none() {
        return Err(vec![value.fault("`budget` limits nothing", "say `calls` or `money`")]);
    }
    Ok(budget)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::words::pipeline::Pipeline;

    #[test]
    fn every_key_is_read() {
        let text = "[[call]]\nmatch = 'GET|POST api.example.com/v1/*'\nkey = ['header:X-Order', '/order/id', '/order/id']\nignore = '?try'\nequal = 'shared'\nread = false\naccount = 'any'\nsend-key = 'X-Key'\nkey-window = '12h'\nunknown = { resend = 2 }\nrejected = [503, 502]\nfresh-for = '1d'\nkeep = '30d'\nprice = { answer = '/usage/cost', each = '0.00001 USD', at-most = '0.05 USD' }\nbudget = { calls = 1_000, money = '20 USD', per = 'month' }\ntimeout = '5m'\nredact = '/card'\n";
        let rules = Pipeline::read_calls(text).unwrap();
        let rule = &rules[0];
        let Source::File(span) = &rule.source else { panic!("it stands in the file") };
        assert!(text[span.clone()].starts_with("[[call]]"), "{}", &text[span.clone()]);
        let fields: Vec<_> = rule.key.iter().map(ToString::to_string).collect();
        assert_eq!(fields, ["/order/id", "header:x-order"]);
        assert_eq!(rule.pattern.to_string(), "GET|POST api.example.com/v1/*");
        assert_eq!((rule.equal, rule.any_account), (Some(Equal::Shared), Some(true)));
        assert_eq!(rule.send_key, Some(SendKey::Header("x-key".to_owned())));
        assert_eq!(rule.key_window, Some(Duration::from_secs(12 * 3600)));
        assert_eq!(rule.unknown, Some(WhenUnknown::ResendAtMost(2)));
        assert_eq!(rule.rejected.as_deref(), Some(&[502, 503][..]));
        let money = |text| Money::parse(text).unwrap();
        assert_eq!(rule.price.as_ref().unwrap().reserved(), &money("0.05 USD"));
        let budget =
            Budget { calls: Some(1000), money: Some(money("20 USD")), every: Every::Month };
        assert_eq!(rule.budget, Some(budget));
    }

    /// `semel proxy` needs no pipeline, and is not kept from its work by a wrong one.
    #[test]
    fn rules_are_read_though_nothing_else_is_right() {
        let text = "jobs = 'many'\n[step.x]\nrum = 1\n[[call]]\nmatch = '* a.com'\nread = true\n";
        assert_eq!(Pipeline::read_calls(text).unwrap().len(), 1);
        let faults = Pipeline::read_calls("[[call]]\nmatch = 'a.com'\n").unwrap_err();
        assert_eq!(faults[0].title, "not a pattern of calls");
        assert_eq!(Pipeline::read_calls("[[call]").unwrap_err()[0].title, "this is not TOML");
    }
}
