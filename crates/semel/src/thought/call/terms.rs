//! Terms: what all rules that are for a call say of it together.
//!
//! The user's rules win over the built-in ones, key by key; what nobody says is filled in.
//!
//! Invariant: nothing here makes a second purchase likelier than the user or the provider
//! said: a call is sent again only with the very key, and in the time, that one of them
//! spoke of.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::thought::call::{counting, profiles};
use crate::words::call::{Budget, Equal, Field, Price, Rule, SendKey, Source, Target, WhenUnknown};

/// The header that says the key, unless a rule names another.
pub const KEY_HEADER: &str = "idempotency-key";

/// How long a call may take unless a rule says otherwise: longer than any provider that
/// answers at all.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// What is said of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The fields that make two requests the same call; empty: all of it does.
    pub key: Vec<Field>,
    /// Fields that make no difference.
    pub ignore: Vec<Field>,
    /// What equal requests are to each other.
    pub equal: Equal,
    /// Whether equal requests are one call, however often they come.
    pub is_one: bool,
    /// Whether it is a read.
    pub read: bool,
    /// Whether it passes through, and nothing of it is kept.
    pub pass: bool,
    /// Whether an equal request under another account is the same call.
    pub any_account: bool,
    /// Which header says the key.
    pub send_key: SendKey,
    /// How long the provider honours a key; `None`: nobody said so.
    pub key_window: Option<Duration>,
    /// What becomes of it when it is unknown.
    pub unknown: WhenUnknown,
    /// Statuses, beside 429, by which the provider says that it did nothing.
    pub rejected: Vec<u16>,
    /// How old an answer may be that is replayed.
    pub fresh_for: Option<Duration>,
    /// How long its bodies are kept when it is complete.
    pub keep: Option<Duration>,
    /// What it costs.
    pub price: Option<Price>,
    /// How much may be spent: each budget, and the place of its rule in the file. All hold.
    pub budgets: Vec<(usize, Budget)>,
    /// How long it may take.
    pub timeout: Duration,
    /// Fields of request and answer that are not kept.
    pub redact: Vec<Field>,
    /// The places of the file's rules that are for it.
    pub rules: Vec<usize>,
    /// The providers whose built-in rules are for it.
    pub providers: Vec<&'static str>,
}

impl Terms {
    /// How long after it was first sent a call may be sent again with its key: a little less
    /// than the provider says, since its clock and its network are not ours.
    #[must_use]
    pub fn honoured_for(&self) -> Option<Duration> {
        let window = self.key_window?;
        let margin = (window / 10).max(Duration::from_secs(5 * 60));
        window.checked_sub(margin).filter(|left| !left.is_zero())
    }

    fn of(file: &[(usize, &Rule)], built_in: &[&Rule], reads_by_method: bool) -> Self {
        let user = Layer(file.iter().map(|(_, rule)| *rule).collect());
        let profile = Layer(built_in.to_vec());
        // What a provider promises of a key holds for the key that it names.
        let own_key = user.first(|rule| rule.send_key.as_ref());
        let keeps_promise =
            own_key.is_none() || own_key == profile.first(|rule| rule.send_key.as_ref());
        let of_key = if keeps_promise { &profile } else { &Layer(Vec::new()) };
        let both = [&user, &profile];
        let read = say(both, |rule| rule.read.as_ref()).unwrap_or(reads_by_method);
        // Nobody pays for a read, so it needs no key.
        let default_key = match read {
            true => SendKey::No,
            false => SendKey::Header(KEY_HEADER.to_owned()),
        };
        let listed = |list: fn(&Rule) -> &Vec<Field>| {
            let mut fields: Vec<_> = both
                .iter()
                .flat_map(|layer| &layer.0)
                .flat_map(|rule| list(rule))
                .cloned()
                .collect();
            fields.sort();
            fields.dedup();
            fields
        };
        let key = |layer: &Layer<'_>| {
            layer.0.iter().map(|rule| &rule.key).find(|key| !key.is_empty()).cloned()
        };
        let key = key(&user).or_else(|| key(&profile)).unwrap_or_default();
        let equal = say(both, |rule| rule.equal.as_ref());
        let is_one = counting::is_one(equal, !key.is_empty());
        let is_profile = |rule: &&Rule| match &rule.source {
            Source::Profile { provider, .. } => Some(*provider),
            Source::File(_) => None,
        };
        let mut providers: Vec<_> = built_in.iter().filter_map(is_profile).collect();
        providers.dedup();
        Self {
            key,
            ignore: listed(|rule| &rule.ignore),
            equal: equal.unwrap_or_default(),
            is_one,
            read,
            pass: say(both, |rule| rule.pass.as_ref()).unwrap_or_default(),
            any_account: say(both, |rule| rule.any_account.as_ref()).unwrap_or_default(),
            send_key: say(both, |rule| rule.send_key.as_ref()).unwrap_or(default_key),
            key_window: say([&user, of_key], |rule| rule.key_window.as_ref()),
            unknown: say([&user, of_key], |rule| rule.unknown.as_ref())
                .unwrap_or(WhenUnknown::Stop),
            rejected: user.statuses().or_else(|| profile.statuses()).unwrap_or_default(),
            fresh_for: say(both, |rule| rule.fresh_for.as_ref()),
            keep: say(both, |rule| rule.keep.as_ref()),
            price: say(both, |rule| rule.price.as_ref()),
            budgets: file
                .iter()
                .filter_map(|(at, rule)| Some((*at, rule.budget.clone()?)))
                .collect(),
            timeout: say(both, |rule| rule.timeout.as_ref()).unwrap_or(CALL_TIMEOUT),
            redact: listed(|rule| &rule.redact),
            rules: file.iter().map(|(at, _)| *at).collect(),
            providers,
        }
    }
}

/// Rules of one origin that are for a call; they contradict each other nowhere.
struct Layer<'a>(Vec<&'a Rule>);

impl<'a> Layer<'a> {
    fn first<T>(&self, key: impl Fn(&'a Rule) -> Option<&'a T>) -> Option<&'a T> {
        self.0.iter().find_map(|rule| key(rule))
    }

    /// The statuses that prove that nothing was done: they add up.
    fn statuses(&self) -> Option<Vec<u16>> {
        let lists: Vec<_> = self.0.iter().filter_map(|rule| rule.rejected.as_ref()).collect();
        if lists.is_empty() {
            return None;
        }
        let mut statuses: Vec<_> = lists.into_iter().flatten().copied().collect();
        statuses.sort_unstable();
        statuses.dedup();
        Some(statuses)
    }
}

/// What the first of two layers says that says something.
fn say<'a, T: Clone + 'a>(
    [user, profile]: [&Layer<'a>; 2],
    key: impl Fn(&'a Rule) -> Option<&'a T>,
) -> Option<T> {
    user.first(&key).or_else(|| profile.first(&key)).cloned()
}

/// All rules: those of a file, and the built-in ones.
///
/// It is asked once a call, so rules are looked up by their host, and the terms are kept by
/// which rules they are made of: there are few.
#[derive(Debug)]
pub struct Rules {
    /// First those of the file, then the built-in ones.
    all: Vec<Rule>,
    of_file: usize,
    /// The places of the rules that are for one host only.
    by_host: HashMap<String, Vec<usize>>,
    /// Those of all others.
    anywhere: Vec<usize>,
    kept: RwLock<HashMap<MadeOf, Arc<Terms>>>,
}

/// What terms are made of: whether the method is one that reads, and the places of rules.
type MadeOf = (bool, Vec<usize>);

impl Rules {
    /// These rules of a file, over the built-in ones.
    #[must_use]
    pub fn new(file: Vec<Rule>) -> Self {
        Self::over(file, profiles::rules())
    }

    fn over(file: Vec<Rule>, built_in: Vec<Rule>) -> Self {
        let of_file = file.len();
        let all: Vec<_> = file.into_iter().chain(built_in).collect();
        let mut by_host: HashMap<_, Vec<_>> = HashMap::new();
        let mut anywhere = Vec::new();
        for (at, rule) in all.iter().enumerate() {
            match rule.pattern.only_host() {
                Some(host) => by_host.entry(host.to_owned()).or_default().push(at),
                None => anywhere.push(at),
            }
        }
        Self { all, of_file, by_host, anywhere, kept: RwLock::default() }
    }

    /// The rules of the file, in its order.
    #[must_use]
    pub fn of_file(&self) -> &[Rule] {
        &self.all[..self.of_file]
    }

    /// What is said of a call.
    #[must_use]
    pub fn terms_for(&self, target: &Target<'_>) -> Arc<Terms> {
        let here = self.by_host.get(target.host).map_or(&[][..], Vec::as_slice);
        let candidates = here.iter().chain(&self.anywhere).copied();
        let mut places: Vec<_> =
            candidates.filter(|at| self.all[*at].pattern.matches(target)).collect();
        places.sort_unstable();
        let key = (matches!(target.method, "GET" | "HEAD" | "OPTIONS"), places);
        // Terms are put in whole, so that they are good though somebody else died.
        if let Some(terms) = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(terms);
        }
        let (reads_by_method, places) = &key;
        let (file, built_in) = places.split_at(places.partition_point(|at| *at < self.of_file));
        let file: Vec<_> = file.iter().map(|at| (*at, &self.all[*at])).collect();
        let built_in: Vec<_> = built_in.iter().map(|at| &self.all[*at]).collect();
        let terms = Arc::new(Terms::of(&file, &built_in, *reads_by_method));
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(key).or_insert(terms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::call::Every;
    use crate::words::pipeline::Pipeline;

    fn file(text: &str) -> Vec<Rule> {
        Pipeline::read_calls(text).unwrap()
    }

    /// What a provider says of its keys.
    const PROVIDER: &str = "[[call]]\nmatch = 'POST pay.example.com/**'\nsend-key = 'X-Key'\nkey-window = '24h'\nunknown = 'resend'\nrejected = [503]\nignore = '/nonce'\n";

    fn rules(text: &str) -> Rules {
        let built_in = file(PROVIDER).into_iter().map(|rule| Rule {
            source: Source::Profile { provider: "Example", page: "https://example.com/" },
            ..rule
        });
        Rules::over(file(text), built_in.collect())
    }

    fn ask(rules: &Rules, method: &str, host: &str) -> Arc<Terms> {
        let target = Target { method, scheme: "https", host, port: 443, path: "/v1/x", query: "" };
        rules.terms_for(&target)
    }

    fn header(name: &str) -> SendKey {
        SendKey::Header(name.to_owned())
    }

    #[test]
    fn what_nobody_says_is_filled_in() {
        let rules = rules("");
        let post = ask(&rules, "POST", "other.example.com");
        assert_eq!(post.send_key, header(KEY_HEADER));
        assert_eq!((post.read, post.pass, &post.unknown), (false, false, &WhenUnknown::Stop));
        assert_eq!((post.timeout, post.honoured_for()), (CALL_TIMEOUT, None));
        let get = ask(&rules, "GET", "other.example.com");
        assert_eq!((get.read, &get.send_key), (true, &SendKey::No));
    }

    #[test]
    fn a_provider_is_known_and_the_user_wins_key_by_key() {
        let plain = rules("");
        let terms = ask(&plain, "POST", "pay.example.com");
        assert_eq!((&terms.unknown, &terms.rejected[..]), (&WhenUnknown::Resend, &[503][..]));
        assert_eq!(terms.honoured_for(), Some(Duration::from_secs(24 * 3600 * 9 / 10)));
        assert_eq!((&terms.providers[..], &terms.rules[..]), (&["Example"][..], &[][..]));

        let user = rules(
            "[[call]]\nmatch = 'POST pay.example.com/v1/*'\nunknown = 'stop'\nrejected = []\nignore = '/time'\n",
        );
        let terms = ask(&user, "POST", "pay.example.com");
        assert_eq!((&terms.unknown, &terms.rejected[..]), (&WhenUnknown::Stop, &[][..]));
        assert_eq!(terms.send_key, header("x-key"));
        let fields: Vec<_> = terms.ignore.iter().map(ToString::to_string).collect();
        assert_eq!((fields, &terms.rules[..]), (vec!["/nonce".into(), "/time".into()], &[0][..]));
    }

    /// The provider honours its own header, and no other.
    #[test]
    fn another_key_header_takes_the_promise_of_the_provider_away() {
        for key in ["'X-Mine'", "false"] {
            let user =
                rules(&format!("[[call]]\nmatch = 'POST pay.example.com/**'\nsend-key = {key}\n"));
            let terms = ask(&user, "POST", "pay.example.com");
            assert_eq!((&terms.unknown, terms.key_window), (&WhenUnknown::Stop, None), "{key}");
        }
        let same = rules("[[call]]\nmatch = 'POST pay.example.com/**'\nsend-key = 'x-key'\n");
        assert_eq!(ask(&same, "POST", "pay.example.com").unknown, WhenUnknown::Resend);
    }

    #[test]
    fn every_budget_holds_and_says_whose_it_is() {
        let rules = rules(
            "[[call]]\nmatch = '* **'\nbudget = { calls = 100, per = 'day' }\n[[call]]\nmatch = 'GET a.com'\nfresh-for = '1h'\n[[call]]\nmatch = 'POST *.com'\nprice = '0.01 USD'\nbudget = '5 USD'\n",
        );
        let terms = ask(&rules, "POST", "a.com");
        let places: Vec<_> = terms.budgets.iter().map(|(at, budget)| (*at, budget.every)).collect();
        assert_eq!(places, [(0, Every::Day), (2, Every::Run)]);
        assert_eq!(terms.rules, [0, 2]);
        // They are kept by the rules that they are made of.
        assert!(!Arc::ptr_eq(&terms, &ask(&rules, "PUT", "b.com")));
        assert!(Arc::ptr_eq(&terms, &ask(&rules, "POST", "b.com")));
    }

    #[test]
    fn a_window_that_is_too_short_leaves_no_time() {
        let rules =
            rules("[[call]]\nmatch = 'POST a.com'\nunknown = 'resend'\nkey-window = '4m'\n");
        assert_eq!(ask(&rules, "POST", "a.com").honoured_for(), None);
    }
}
