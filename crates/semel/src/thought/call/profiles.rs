//! Profiles: what providers say of their calls, built in.
//!
//! Invariant: a profile says what the documentation of the provider says, and names the page.
//! That a call is sent again by itself it says only where the page promises that a key which
//! comes again is not a second purchase; where pages differ it believes the more careful one.

use std::fmt::Write as _;
use std::time::Duration;

use crate::words::call::{Field, Pattern, Rule, SendKey, Source, WhenUnknown};

/// What a provider says.
struct Profile {
    provider: &'static str,
    /// Which calls.
    patterns: &'static [&'static str],
    /// The header of the key.
    send_key: Option<Key>,
    /// How long it honours a key.
    hours: Option<u64>,
    /// Whether it promises that a key which comes again is no second purchase.
    resend: bool,
    /// Fields in which clients say a key of their own.
    ignore: &'static [&'static str],
    /// Whether it is free, and changes nothing.
    read: bool,
    /// What there is to know, for people.
    about: &'static str,
    page: &'static str,
}

enum Key {
    Header(&'static str),
    No,
}

/// A profile that says nothing yet.
const SILENT: Profile = Profile {
    provider: "",
    patterns: &[],
    send_key: None,
    hours: None,
    resend: false,
    ignore: &[],
    read: false,
    about: "",
    page: "",
};

const DAY: u64 = 24;

const PROFILES: &[Profile] = &[
    Profile {
        provider: "Adyen",
        patterns: &["POST *.adyen.com/**", "POST *.adyenpayments.com/**"],
        send_key: Some(Key::Header("idempotency-key")),
        // It was 31 days once.
        hours: Some(7 * DAY),
        about: "an error is to be sent again only where its answer says that it is transient, which semel does not look at: nothing is sent again by itself. Keys are not looked at across regions",
        page: "https://docs.adyen.com/development-resources/api-idempotency",
        ..SILENT
    },
    Profile {
        provider: "Anthropic",
        patterns: &["POST api.anthropic.com/v1/messages/count_tokens"],
        read: true,
        about: "counting tokens is free",
        page: "https://docs.anthropic.com/en/docs/build-with-claude/token-counting",
        ..SILENT
    },
    Profile {
        provider: "Anthropic",
        patterns: &["POST api.anthropic.com/v1/**"],
        about: "no key is documented, nor that after a 529 (overloaded) nothing was done or paid: such a call is unknown. Whoever takes it for proof says  rejected = [529]",
        page: "https://docs.anthropic.com/en/api/errors",
        ..SILENT
    },
    Profile {
        provider: "Checkout.com",
        patterns: &[
            "POST *api.checkout.com/payments",
            "POST *api.checkout.com/payments/*/**",
            "POST *api.checkout.com/payment-contexts",
            "POST *api.checkout.com/transfers",
            "POST *api.sandbox.checkout.com/payments",
            "POST *api.sandbox.checkout.com/payments/*/**",
            "POST *api.sandbox.checkout.com/payment-contexts",
            "POST *api.sandbox.checkout.com/transfers",
        ],
        send_key: Some(Key::Header("cko-idempotency-key")),
        hours: Some(DAY),
        about: "only answers of 2xx are kept with a key: after a 5xx it pays again, so nothing is sent again by itself. The window may be another one by contract",
        page: "https://www.checkout.com/docs/developer-resources/api/idempotency",
        ..SILENT
    },
    Profile {
        provider: "Fintoc",
        patterns: &["POST api.fintoc.com/**"],
        send_key: Some(Key::Header("idempotency-key")),
        hours: Some(DAY),
        resend: true,
        about: "the first answer is kept, a 5xx too",
        page: "https://docs.fintoc.com/api/fintoc-api/idempotent-requests",
        ..SILENT
    },
    Profile {
        provider: "GoCardless",
        patterns: &["POST api.gocardless.com/**", "POST api-sandbox.gocardless.com/**"],
        send_key: Some(Key::Header("idempotency-key")),
        about: "a key that was used is answered with 409 and what it made; for how long that page does not say, so nothing is sent again by itself",
        page: "https://gocardless.com/blog/idempotency-keys",
        ..SILENT
    },
    Profile {
        provider: "Mangopay",
        patterns: &["POST api.mangopay.com/**", "POST api.sandbox.mangopay.com/**"],
        send_key: Some(Key::Header("idempotency-key")),
        hours: Some(DAY),
        resend: true,
        about: "a key that was used is answered with 409, which leaves the call unknown",
        page: "https://docs.mangopay.com/api-reference/overview/idempotency",
        ..SILENT
    },
    Profile {
        provider: "Mollie",
        patterns: &["POST api.mollie.com/**"],
        send_key: Some(Key::Header("idempotency-key")),
        // A day in its older documentation; less is safe with both.
        hours: Some(1),
        resend: true,
        about: "the first answer is kept",
        page: "https://docs.mollie.com/reference/api-idempotency",
        ..SILENT
    },
    Profile {
        provider: "OpenAI",
        patterns: &["POST api.openai.com/v1/**"],
        about: "no key is documented, nor that after a 503 (overloaded) nothing was done or paid: such a call is unknown. Whoever takes it for proof says  rejected = [503]",
        page: "https://platform.openai.com/docs/guides/error-codes",
        ..SILENT
    },
    Profile {
        provider: "PayPal",
        patterns: &[
            "POST api-m.paypal.com/v2/checkout/orders",
            "POST api-m.paypal.com/v2/checkout/orders/*/authorize",
            "POST api-m.paypal.com/v2/checkout/orders/*/capture",
            "POST api-m.sandbox.paypal.com/v2/checkout/orders",
            "POST api-m.sandbox.paypal.com/v2/checkout/orders/*/authorize",
            "POST api-m.sandbox.paypal.com/v2/checkout/orders/*/capture",
        ],
        send_key: Some(Key::Header("paypal-request-id")),
        hours: Some(6),
        resend: true,
        about: "orders: keys are kept 6 hours. Not all calls look at them: these do",
        page: "https://developer.paypal.com/api/rest/reference/idempotency/",
        ..SILENT
    },
    Profile {
        provider: "PayPal",
        patterns: &[
            "POST api-m.paypal.com/v2/payments/authorizations/*/capture",
            "POST api-m.paypal.com/v2/payments/authorizations/*/reauthorize",
            "POST api-m.paypal.com/v2/payments/captures/*/refund",
            "POST api-m.sandbox.paypal.com/v2/payments/authorizations/*/capture",
            "POST api-m.sandbox.paypal.com/v2/payments/authorizations/*/reauthorize",
            "POST api-m.sandbox.paypal.com/v2/payments/captures/*/refund",
        ],
        send_key: Some(Key::Header("paypal-request-id")),
        hours: Some(45 * DAY),
        resend: true,
        about: "captures and refunds: keys are kept 45 days. Not all calls look at them: these do",
        page: "https://developer.paypal.com/api/rest/reference/idempotency/",
        ..SILENT
    },
    Profile {
        provider: "Razorpay",
        patterns: &["POST api.razorpay.com/v1/payouts"],
        send_key: Some(Key::Header("x-payout-idempotency")),
        hours: Some(7 * DAY),
        resend: true,
        about: "payouts; a key has 36 characters at most",
        page: "https://razorpay.com/docs/api/x/payout-idempotency/",
        ..SILENT
    },
    Profile {
        provider: "Resend",
        patterns: &["POST api.resend.com/emails", "POST api.resend.com/emails/batch"],
        send_key: Some(Key::Header("idempotency-key")),
        hours: Some(DAY),
        resend: true,
        about: "mails are not sent twice",
        page: "https://resend.com/docs/dashboard/emails/idempotency-keys",
        ..SILENT
    },
    Profile {
        provider: "Square",
        patterns: &["POST connect.squareup.com/v2/**", "POST connect.squareupsandbox.com/v2/**"],
        send_key: Some(Key::No),
        ignore: &["/idempotency_key"],
        about: "the key is the client's, in the body; how long it is honoured is not said, so nothing is sent again by itself",
        page: "https://developer.squareup.com/docs/working-with-apis/idempotency",
        ..SILENT
    },
    Profile {
        provider: "Stripe",
        patterns: &["POST api.stripe.com/v1/**"],
        send_key: Some(Key::Header("idempotency-key")),
        hours: Some(DAY),
        resend: true,
        about: "the first answer is kept, a 500 too: the call is unknown still. 409 says that the key may be in use",
        page: "https://docs.stripe.com/api/idempotent_requests",
        ..SILENT
    },
    Profile {
        provider: "Stripe",
        patterns: &["POST api.stripe.com/v2/**"],
        send_key: Some(Key::Header("idempotency-key")),
        hours: Some(30 * DAY),
        resend: true,
        about: "what was done is not done again; what failed half-way is carried on",
        page: "https://docs.stripe.com/api-v2-overview",
        ..SILENT
    },
    Profile {
        provider: "TrueLayer",
        patterns: &["POST api.truelayer.com/v3/**", "POST api.truelayer-sandbox.com/v3/**"],
        send_key: Some(Key::No),
        about: "the key is the client's, and signed with the request: semel adds none, and sends nothing again by itself",
        page: "https://docs.truelayer.com/docs/add-idempotency-to-your-payments-requests",
        ..SILENT
    },
    Profile {
        provider: "Wise",
        patterns: &["POST api.wise.com/v1/transfers", "POST api.transferwise.com/v1/transfers"],
        ignore: &["/customerTransactionId"],
        about: "the key is the client's, in the body; how long it is honoured is not said, so nothing is sent again by itself",
        page: "https://docs.wise.com/guides/product/send-money/standard-api-transfers",
        ..SILENT
    },
    Profile {
        provider: "Zuora",
        patterns: &["POST|PATCH rest.zuora.com/**", "POST|PATCH rest.*.zuora.com/**"],
        send_key: Some(Key::Header("idempotency-key")),
        hours: Some(DAY),
        resend: true,
        about: "the first answer is kept, whether it succeeded or failed",
        page: "https://developer.zuora.com/docs/guides/idempotent-requests",
        ..SILENT
    },
];

/// The built-in rules.
#[must_use]
pub fn rules() -> Vec<Rule> {
    PROFILES
        .iter()
        .flat_map(|profile| profile.patterns.iter().map(|pattern| profile.rule(pattern)))
        .collect()
}

impl Profile {
    fn rule(&self, pattern: &str) -> Rule {
        let pattern = Pattern::parse(pattern).expect("a test reads every pattern of the table");
        let source = Source::Profile { provider: self.provider, page: self.page };
        let fields = self.ignore.iter();
        Rule {
            send_key: self.send_key.as_ref().map(|key| match key {
                Key::Header(name) => SendKey::Header((*name).to_owned()),
                Key::No => SendKey::No,
            }),
            key_window: self.hours.map(|hours| Duration::from_secs(hours * 3600)),
            unknown: self.resend.then_some(WhenUnknown::Resend),
            ignore: fields
                .map(|field| Field::parse(field).expect("a test reads every field of the table"))
                .collect(),
            read: self.read.then_some(true),
            ..Rule::new(pattern, source)
        }
    }

    fn window(&self) -> String {
        match self.hours {
            None => String::new(),
            Some(1) => "an hour".to_owned(),
            Some(hours) if hours < 2 * DAY => format!("{hours} hours"),
            Some(hours) => format!("{} days", hours / DAY),
        }
    }
}

/// The profiles as Markdown, as the reference shows them.
#[must_use]
pub fn table() -> String {
    let mut text = String::from(
        "| provider | calls | key | honoured for | unknown | |\n|---|---|---|---|---|---|\n",
    );
    for profile in PROFILES {
        let patterns: Vec<_> = profile
            .patterns
            .iter()
            // A `|` ends a cell.
            .map(|pattern| format!("`{}`", pattern.replace('|', "\\|")))
            .collect();
        let key = match &profile.send_key {
            Some(Key::Header(name)) => format!("`{name}`"),
            Some(Key::No) => "none".to_owned(),
            None => String::new(),
        };
        let unknown = match (profile.read, profile.resend) {
            (true, _) => "a read",
            (false, true) => "resend",
            (false, false) => "stop",
        };
        let ignore: Vec<_> =
            profile.ignore.iter().map(|field| format!("; `{field}` makes no difference")).collect();
        writeln!(
            text,
            "| [{}]({}) | {} | {key} | {} | {unknown} | {}{} |",
            profile.provider,
            profile.page,
            patterns.join("<br>"),
            profile.window(),
            profile.about,
            ignore.concat(),
        )
        .expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_can_be_read_and_names_its_page() {
        let rules = rules();
        assert!(rules.len() > 20);
        for profile in PROFILES {
            assert!(!profile.patterns.is_empty() && !profile.about.is_empty());
            assert!(profile.page.starts_with("https://"), "{}", profile.provider);
        }
        let order: Vec<_> = PROFILES.iter().map(|profile| profile.provider).collect();
        assert!(order.is_sorted(), "{order:?}");
    }

    /// A wrong profile pays twice: without a header and a time nothing is sent again.
    #[test]
    fn what_is_sent_again_by_itself_has_a_key_and_a_time() {
        for profile in PROFILES.iter().filter(|profile| profile.resend) {
            assert!(matches!(profile.send_key, Some(Key::Header(_))), "{}", profile.provider);
            assert!(profile.hours.is_some_and(|hours| hours > 0), "{}", profile.provider);
        }
    }

    #[test]
    fn no_two_profiles_contradict_each_other() {
        let rules = rules();
        for (at, one) in rules.iter().enumerate() {
            for other in &rules[..at] {
                let differ =
                    one.pattern.overlaps(&other.pattern) && !one.contradictions(other).is_empty();
                assert!(!differ, "{} and {}", one.pattern, other.pattern);
            }
        }
    }
}
