//! Calls in the manifest's file. See [`Calls`] for what holds.

mod said;

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::SqliteManifest;
use super::file::Doing;
use super::sums::Sum;
use super::values::{
    digest_at, from_hex, maybe_time_at, signed, time_at, time_text, unreadable, unsigned,
};
use crate::ground::manifest::calls::{Calls, Permit, Permitted, SumOf, Token, Which};
use crate::ground::manifest::{ManifestError, ManifestResult};
use crate::words::call::{
    Answered, Asked, BodyOf, CallRecord, CallResolution, CallSend, CallState, Ended, Head, Money,
    PermitFor, Reserve, Scope,
};
use crate::words::digest::Digest;
use crate::words::task::TaskName;

const COLUMNS: &str = "id, pipeline, step, instance, item, params, identity, n, rest, method, url,
    account, read, retired, state, sends, allowed, sender, attempt, awaited, key, key_until, began,
    sent, ended, reason, request_head, request, request_bytes, request_kept, status, answer_head,
    trailers, answer, answer_bytes, answer_kept, unit, price, sum";

impl Calls for SqliteManifest {
    fn together(&mut self, work: &mut dyn FnMut(&mut dyn Calls)) -> ManifestResult<()> {
        self.run("begin immediate")?;
        work(self);
        let committed = self.run("commit");
        if committed.is_err() {
            // What could not be committed must not be part of the next one.
            let _ = self.run("rollback");
        }
        committed
    }

    fn is_there(&self) -> ManifestResult<bool> {
        let sql = "select 1 from sqlite_schema where name = 'call'";
        Ok(self.row("read the manifest", sql, [], |_| Ok(()))?.is_some())
    }

    fn sums(&self, pipeline: &str, task: Option<&TaskName>) -> ManifestResult<Vec<SumOf>> {
        let sql = "select step, instance, state, iif(state = 'in flight', sender, '') as who,
                count(*), unit, sum(price)
            from call where pipeline = ?1
            and (?2 is null or step = ?2 and instance = ?3 and item = ?4)
            group by step, instance, state, who, unit order by step, instance, state, who, unit";
        let item = task.map(|task| task.item.as_deref().unwrap_or_default());
        let step = task.map(|task| &task.step);
        let instance = task.map(|task| task.instance.as_str());
        self.rows("read the calls", sql, params![pipeline, step, instance, item], |row| {
            let (unit, nanos): (Option<String>, Option<i64>) = (row.get(5)?, row.get(6)?);
            Ok(SumOf {
                step: row.get(0)?,
                instance: row.get(1)?,
                state: state_at(row, 2)?,
                sender: row.get(3)?,
                calls: row.get(4).map(unsigned)?,
                cost: unit.zip(nanos).map(|(unit, nanos)| Money { nanos, unit }),
            })
        })
    }

    fn calls(&self, which: &Which) -> ManifestResult<Vec<CallRecord>> {
        let states: Vec<_> =
            which.states.iter().map(|state| format!("'{}'", state.name())).collect();
        let ids: Vec<_> = which.ids.iter().map(i64::to_string).collect();
        let one_of = |column: &str, values: &[String]| match values {
            [] => String::new(),
            values => format!(" and {column} in ({})", values.join(", ")),
        };
        let sql = format!(
            "select {COLUMNS} from call where (?1 is null or pipeline = ?1) and (?2 is null or step = ?2)
             and (?3 is null or instance = ?3) and (?4 is null or item = ?4){}{} order by id",
            one_of("state", &states),
            one_of("id", &ids),
        );
        let key = params![which.pipeline, which.step, which.instance, which.item];
        self.rows("read the calls", &sql, key, call_at)
    }

    fn equal(&self, scope: &Scope, identity: &Digest) -> ManifestResult<Vec<CallRecord>> {
        let (step, instance, item) = scope.columns();
        let sql = format!(
            "select {COLUMNS} from call where pipeline = ? and step = ? and instance = ? and item = ?
             and params = ? and identity = ? order by n"
        );
        let key = params![scope.pipeline, step, instance, item, scope.params, identity.as_bytes()];
        self.rows("read the calls", &sql, key, call_at)
    }

    fn body(&self, digest: &Digest) -> ManifestResult<Option<Vec<u8>>> {
        let sql = "select content from body where sha256 = ?";
        let found = self.row("read a body", sql, [digest.as_bytes()], |row| row.get(0))?;
        Ok(found.flatten())
    }

    fn has_body(&self, digest: &Digest) -> ManifestResult<bool> {
        let sql = "select 1 from body where sha256 = ?";
        Ok(self.row("look for a body", sql, [digest.as_bytes()], |_| Ok(()))?.is_some())
    }

    fn open(
        &mut self,
        wanted: &PermitFor,
        n: u32,
        under: Option<&Token>,
    ) -> ManifestResult<Permit> {
        self.savepoint(|store| {
            store.verify_token(under)?;
            if let Some(over) = store.reserve(&wanted.budgets, wanted.price.as_ref())? {
                return Ok(over);
            }
            store.insert(wanted, n)
        })
    }

    fn send_again(
        &mut self,
        seen: &CallRecord,
        wanted: &PermitFor,
        uses_allowance: bool,
        under: Option<&Token>,
    ) -> ManifestResult<Permit> {
        // With a key that the provider honours it is one purchase, however often it is sent.
        let honoured = seen.honoured_until(wanted.key_window);
        let is_same_purchase = seen.state == CallState::Unknown
            && honoured.is_some_and(|until| Timestamp::now() < until);
        let price = wanted.price.as_ref().filter(|_| !is_same_purchase);
        self.savepoint(|store| {
            store.verify_token(under)?;
            if !is_same_purchase && let Some(over) = store.reserve(&wanted.budgets, price)? {
                return Ok(over);
            }
            store.again(seen, wanted, price, uses_allowance)
        })
    }

    fn end(&mut self, ended: &Ended) -> ManifestResult<CallState> {
        self.savepoint(|store| store.note_end(ended))
    }

    fn desert(&mut self, id: i64, send: u32) -> ManifestResult<()> {
        let sql = "update call set awaited = 0 where id = ? and sends = ? and state = 'in flight'";
        self.execute("note that a client has gone", sql, params![id, send]).map(drop)
    }

    fn rekey(&mut self, id: i64, identity: &Digest, rest: Option<&Digest>) -> ManifestResult<()> {
        self.savepoint(|store| {
            let Some(call) = store.call(id)? else {
                return Ok(());
            };
            let last = store.equal(&call.scope, identity)?.iter().map(|call| call.n).max();
            let n = last.unwrap_or(0) + 1;
            let sql = "update call set identity = ?, n = ?, rest = ?, sum = ? where id = ?";
            let sum = sum_of(&call.scope, identity, n, call.state, call.sends);
            let values = params![identity.as_bytes(), n, rest.map(Digest::as_bytes), sum, id];
            store.execute("apply a rule to what is recorded", sql, values).map(drop)
        })
    }

    fn senders(&self) -> ManifestResult<Vec<String>> {
        let sql = "select distinct sender from call where state = 'in flight'";
        self.rows("read the calls", sql, [], |row| row.get(0))
    }

    fn lose(&mut self, sender: &str, why: &str) -> ManifestResult<u64> {
        let which = "select id from call where sender = ? and state = 'in flight' order by id";
        let lost: Vec<i64> = self.rows("read the calls", which, [sender], |row| row.get(0))?;
        self.savepoint(|store| {
            for id in &lost {
                if let Some(call) = store.call(*id)? {
                    let state = CallState::Unknown;
                    store.set_state(&call, state, why, Timestamp::now())?;
                    store.end_send(call.id, call.sends, state, Some(why))?;
                }
            }
            Ok(())
        })?;
        Ok(lost.len() as u64)
    }

    fn retire_reads(&mut self, scope: &Scope) -> ManifestResult<()> {
        let (step, instance, item) = scope.columns();
        let sql = "update call set retired = 1 where pipeline = ? and step = ? and instance = ?
            and item = ? and params = ? and read = 1 and retired = 0 and state in ('complete', 'rejected')";
        let key = params![scope.pipeline, step, instance, item, scope.params];
        self.execute("note that reads are asked anew", sql, key).map(drop)
    }

    fn sends(&self, id: i64) -> ManifestResult<Vec<CallSend>> {
        self.sends_of(id)
    }

    fn said(&self, id: i64) -> ManifestResult<Vec<CallResolution>> {
        self.said_of(id)
    }

    fn settle_calls(&mut self, said: &[CallResolution]) -> ManifestResult<()> {
        let doing = "keep what was settled";
        self.run("begin immediate")?;
        let settled = said.iter().try_for_each(|said| self.settle_call(said));
        if let Err(error) = settled {
            let _ = self.run("rollback");
            return Err(error);
        }
        self.connection.execute_batch("commit").doing(doing)
    }

    fn spent(&self, name: &str, period: &str) -> ManifestResult<(u64, Vec<Money>)> {
        let sql = "select calls, unit, spent from budget where name = ? and period = ?";
        let rows = self.rows("read a budget", sql, [name, period], |row| {
            let money = Money { nanos: row.get(2)?, unit: row.get(1)? };
            Ok((row.get(0).map(unsigned)?, money))
        })?;
        let calls = rows.iter().map(|(calls, _)| *calls).sum();
        Ok((calls, rows.into_iter().map(|(_, money)| money).collect()))
    }

    fn end_bodies(&mut self, ids: &[i64]) -> ManifestResult<Vec<Digest>> {
        self.savepoint(|store| store.drop_bodies(ids))
    }
}

impl SqliteManifest {
    fn run(&self, sql: &'static str) -> ManifestResult<()> {
        self.execute("write to the call journal", sql, []).map(drop)
    }

    /// The call of this number.
    pub(super) fn call(&self, id: i64) -> ManifestResult<Option<CallRecord>> {
        let sql = format!("select {COLUMNS} from call where id = ?");
        self.row("read the calls", &sql, [id], call_at)
    }

    fn execute(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> ManifestResult<usize> {
        let mut statement = self.connection.prepare_cached(sql).doing(doing)?;
        statement.execute(params).doing(doing)
    }

    /// Does several things or none.
    fn savepoint<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> ManifestResult<T>,
    ) -> ManifestResult<T> {
        self.execute("write to the call journal", "savepoint call", [])?;
        let done = work(self);
        if done.is_err() {
            self.run("rollback to call")?;
        }
        self.execute("write to the call journal", "release call", [])?;
        done
    }

    fn verify_token(&self, under: Option<&Token>) -> ManifestResult<()> {
        let Some(Token { scope, token }) = under else {
            return Ok(());
        };
        let (pipeline, instance) = scope.split_once('\n').unwrap_or((scope, ""));
        let sql = "select token, run from lease where pipeline = ? and instance = ?";
        let present: Option<(i64, i64)> =
            self.row("look at the lease", sql, [pipeline, instance], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        match present {
            Some((present, _)) if present == *token => Ok(()),
            present => Err(ManifestError::Fenced { by: present.map(|(_, run)| run) }),
        }
    }

    /// Takes what a call may cost from its budgets, or says which one does not allow it.
    fn reserve(
        &self,
        budgets: &[Reserve],
        price: Option<&Money>,
    ) -> ManifestResult<Option<Permit>> {
        for budget in budgets {
            let (calls, spent) = self.spent(&budget.name, &budget.period)?;
            let over = |would_be: String, limit: String| {
                Some(Permit::OverBudget { name: budget.name.clone(), would_be, limit })
            };
            if let Some(most) = budget.calls.filter(|most| calls + 1 > *most) {
                return Ok(over(format!("{} calls", calls + 1), format!("{most}")));
            }
            if let (Some(most), Some(price)) = (&budget.money, price) {
                let spent = spent.iter().find(|money| money.unit == most.unit);
                let nanos = spent.map_or(0, |money| money.nanos).saturating_add(price.nanos);
                if nanos > most.nanos {
                    let would_be = Money { nanos, unit: most.unit.clone() };
                    return Ok(over(would_be.to_string(), most.to_string()));
                }
            }
        }
        for budget in budgets {
            self.take(budget, 1, price.map_or(0, |price| price.nanos), price)?;
        }
        Ok(None)
    }

    fn take(
        &self,
        budget: &Reserve,
        calls: i64,
        nanos: i64,
        price: Option<&Money>,
    ) -> ManifestResult<()> {
        let unit = price.or(budget.money.as_ref()).map_or("", |money| money.unit.as_str());
        let sql =
            "insert into budget (name, period, calls, unit, spent) values (?1, ?2, ?3, ?4, ?5)
            on conflict do update set calls = calls + ?3, spent = spent + ?5";
        let values = params![budget.name, budget.period, calls, unit, nanos];
        self.execute("reserve what a call costs", sql, values).map(drop)
    }

    fn insert(&self, wanted: &PermitFor, n: u32) -> ManifestResult<Permit> {
        let (step, instance, item) = wanted.scope.columns();
        let now = Timestamp::now();
        let key_until = wanted.key_window.and_then(|window| now.checked_add(window).ok());
        self.keep_body(&wanted.asked.body, wanted.body.as_deref())?;
        let asked = &wanted.asked;
        let state = CallState::InFlight;
        let sql = "insert into call (pipeline, step, instance, item, params, identity, n, rest,
                method, url, account, read, state, sends, sender, attempt, awaited, key, key_until,
                began, sent, request_head, request, request_bytes, request_kept, unit, price, sum)
            values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            on conflict do nothing";
        let values = params![
            wanted.scope.pipeline,
            step,
            instance,
            item,
            wanted.scope.params,
            wanted.identity.as_bytes(),
            n,
            wanted.rest.as_ref().map(Digest::as_bytes),
            asked.method,
            asked.url,
            asked.account,
            asked.is_read,
            state.name(),
            wanted.sender,
            wanted.attempt,
            wanted.key,
            key_until.map(time_text),
            time_text(now),
            time_text(now),
            head_text(&asked.head),
            asked.body.digest.as_bytes(),
            signed(asked.body.bytes),
            asked.body.is_kept,
            wanted.price.as_ref().map(|price| &price.unit),
            wanted.price.as_ref().map(|price| price.nanos),
            sum_of(&wanted.scope, &wanted.identity, n, state, 1),
        ];
        if self.execute("permit a call", sql, values)? == 0 {
            return Ok(Permit::Late);
        }
        let id = self.connection.last_insert_rowid();
        self.begin_send(id, 1, now)?;
        Ok(Permit::Given(Permitted { id, send: 1, key: wanted.key.clone() }))
    }

    fn again(
        &self,
        seen: &CallRecord,
        wanted: &PermitFor,
        price: Option<&Money>,
        uses_allowance: bool,
    ) -> ManifestResult<Permit> {
        let now = Timestamp::now();
        let state = CallState::InFlight;
        let send = seen.sends + 1;
        self.keep_body(&wanted.asked.body, wanted.body.as_deref())?;
        let sql = "update call set state = ?, sends = ?, allowed = 0, sender = ?, attempt = ?,
                awaited = 1, sent = ?, ended = null, reason = null, account = ?, sum = ?,
                price = case when state = 'unknown' then coalesce(price, 0) + coalesce(?, 0) else ? end
            where id = ? and state = ? and sends = ? and allowed >= ?";
        let price = price.map(|price| price.nanos);
        let values = params![
            state.name(),
            send,
            wanted.sender,
            wanted.attempt,
            time_text(now),
            wanted.asked.account,
            sum_of(&seen.scope, &seen.identity, seen.n, state, send),
            price,
            price,
            seen.id,
            seen.state.name(),
            seen.sends,
            uses_allowance,
        ];
        if self.execute("permit a call", sql, values)? == 0 {
            return Ok(Permit::Late);
        }
        self.begin_send(seen.id, send, now)?;
        Ok(Permit::Given(Permitted { id: seen.id, send, key: seen.key.clone() }))
    }

    fn begin_send(&self, id: i64, send: u32, now: Timestamp) -> ManifestResult<()> {
        let sql = "insert into call_send (call, number, began) values (?, ?, ?)";
        self.execute("permit a call", sql, params![id, send, time_text(now)]).map(drop)
    }

    fn end_send(
        &self,
        id: i64,
        send: u32,
        state: CallState,
        reason: Option<&str>,
    ) -> ManifestResult<()> {
        let sql =
            "update call_send set ended = ?, state = ?, reason = ? where call = ? and number = ?";
        let values = params![time_text(Timestamp::now()), state.name(), reason, id, send];
        self.execute("note how a call ended", sql, values).map(drop)
    }

    /// Fence starts, never evidence: a late answer of a send that was given up counts, unless
    /// the call is complete. What is no evidence counts only for the last send.
    fn note_end(&mut self, ended: &Ended) -> ManifestResult<CallState> {
        let Some(call) = self.call(ended.id)? else {
            return Err(ManifestError::Damaged(format!("call {} is gone", ended.id)));
        };
        let mut ended = ended.clone();
        let is_word = call.state == CallState::Unknown && ended.send == call.sends;
        if !is_word && self.was_unknown(&ended)? {
            ended = ended.after_unknown();
        }
        self.end_send(ended.id, ended.send, ended.state, ended.reason.as_deref())?;
        if ended.state == CallState::Rejected && is_word {
            self.clear_sends(ended.id)?;
        }
        let is_last = ended.send == call.sends && call.state == CallState::InFlight;
        let is_late_proof = ended.state == CallState::Complete && call.state != CallState::Complete;
        let is_known = ended.send == call.sends && call.state == CallState::Unknown;
        if !(is_last || is_late_proof || is_known && ended.state == CallState::Rejected) {
            return Ok(call.state);
        }
        if let Some(answered) = &ended.answered {
            self.keep_body(&answered.body, ended.body.as_deref())?;
        }
        let answered = ended.answered.as_ref();
        let reserved = call.price.as_ref().map_or(0, |price| price.nanos);
        let price = match (ended.state, &ended.price) {
            (CallState::Rejected, _) => None,
            (_, Some(price)) => Some(price.clone()),
            (_, None) => call.price.clone(),
        };
        for budget in &ended.budgets {
            let calls = if ended.state == CallState::Rejected { -1 } else { 0 };
            let nanos = price.as_ref().map_or(0, |price| price.nanos) - reserved;
            self.take(budget, calls, nanos, price.as_ref().or(call.price.as_ref()))?;
        }
        let sql = "update call set state = ?, reason = ?, ended = ?, awaited = 0, sum = ?,
                status = ?, answer_head = ?, trailers = ?, answer = ?, answer_bytes = ?,
                answer_kept = ?, unit = ?, price = ? where id = ?";
        let values = params![
            ended.state.name(),
            ended.reason,
            time_text(Timestamp::now()),
            sum_of(&call.scope, &call.identity, call.n, ended.state, call.sends),
            answered.map(|answered| answered.status),
            answered.map(|answered| head_text(&answered.head)),
            answered.map(|answered| head_text(&answered.trailers)),
            answered.map(|answered| answered.body.digest.as_bytes()),
            answered.map(|answered| signed(answered.body.bytes)),
            answered.map(|answered| answered.body.is_kept),
            price.as_ref().or(call.price.as_ref()).map(|price| &price.unit),
            price.as_ref().map(|price| price.nanos),
            call.id,
        ];
        self.execute("note how a call ended", sql, values)?;
        Ok(ended.state)
    }

    /// Whether nobody knows what became of an earlier send.
    fn was_unknown(&self, ended: &Ended) -> ManifestResult<bool> {
        if ended.send == 1 {
            return Ok(false);
        }
        let sql =
            "select 1 from call_send where call = ? and number < ? and state = 'unknown' limit 1";
        let found = self.row("read the calls", sql, params![ended.id, ended.send], |_| Ok(()))?;
        Ok(found.is_some())
    }

    /// Somebody knows what became of the sends that were unknown.
    fn clear_sends(&self, id: i64) -> ManifestResult<()> {
        let sql = "update call_send set state = 'settled' where call = ? and state = 'unknown'";
        self.execute("keep what was settled", sql, [id]).map(drop)
    }

    fn set_state(
        &self,
        call: &CallRecord,
        state: CallState,
        reason: &str,
        at: Timestamp,
    ) -> ManifestResult<()> {
        let sql =
            "update call set state = ?, reason = ?, ended = ?, awaited = 0, sum = ? where id = ?";
        let sum = sum_of(&call.scope, &call.identity, call.n, state, call.sends);
        let values = params![state.name(), reason, time_text(at), sum, call.id];
        self.execute("note how a call ended", sql, values).map(drop)
    }

    fn keep_body(&self, body: &BodyOf, content: Option<&[u8]>) -> ManifestResult<()> {
        if !body.is_kept {
            return Ok(());
        }
        let sql =
            "insert into body (sha256, bytes, content) values (?, ?, ?) on conflict do nothing";
        let values = params![body.digest.as_bytes(), signed(body.bytes), content];
        self.execute("keep a body", sql, values).map(drop)
    }

    fn drop_bodies(&self, ids: &[i64]) -> ManifestResult<Vec<Digest>> {
        let doing = "end what is old";
        for id in ids {
            let sql = "update call set answer_kept = 0, request_kept = 0
                where id = ? and state = 'complete'";
            self.execute(doing, sql, [id])?;
        }
        let unused = "from body where not exists (select 1 from call where request = sha256 and request_kept = 1)
            and not exists (select 1 from call where answer = sha256 and answer_kept = 1)";
        let sql = format!("select lower(hex(sha256)) {unused} and content is null");
        let files: Vec<String> = self.rows(doing, &sql, [], |row| row.get(0))?;
        self.execute(doing, &format!("delete {unused}"), [])?;
        Ok(files.iter().map(|hex| from_hex(hex)).collect())
    }
}

/// The sum of what decisions rest on.
fn sum_of(scope: &Scope, identity: &Digest, n: u32, state: CallState, sends: u32) -> i64 {
    let (step, instance, item) = scope.columns();
    Sum::of("call", &[&scope.pipeline, step, instance, item, &scope.params])
        .bytes(identity.as_bytes())
        .number(n.into())
        .text(state.name())
        .number(sends.into())
        .kept()
}

fn call_at(row: &Row<'_>) -> rusqlite::Result<CallRecord> {
    let scope = Scope::of_columns(row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
    let state = state_at(row, 14)?;
    let identity = digest_at(row, 6)?;
    let (n, sends) = (row.get(7)?, row.get(15)?);
    let sum: Option<i64> = row.get(38)?;
    if sum.is_some_and(|sum| sum != sum_of(&scope, &identity, n, state, sends)) {
        return Err(unreadable(38, std::fmt::Error));
    }
    let rest: Option<[u8; 32]> = row.get(8)?;
    let (unit, price): (Option<String>, Option<i64>) = (row.get(36)?, row.get(37)?);
    Ok(CallRecord {
        id: row.get(0)?,
        scope,
        identity,
        n,
        rest: rest.map(Digest::from_bytes),
        asked: Asked {
            method: row.get(9)?,
            url: row.get(10)?,
            account: row.get(11)?,
            head: head_at(row, 26)?,
            body: BodyOf {
                digest: digest_at(row, 27)?,
                bytes: row.get(28).map(unsigned)?,
                is_kept: row.get(29)?,
            },
            is_read: row.get(12)?,
        },
        state,
        sends,
        allowed: row.get(16)?,
        is_retired: row.get(13)?,
        sender: row.get(17)?,
        attempt: row.get(18)?,
        is_awaited: row.get(19)?,
        key: row.get(20)?,
        key_until: maybe_time_at(row, 21)?,
        began: time_at(row, 22)?,
        sent: time_at(row, 23)?,
        ended: maybe_time_at(row, 24)?,
        reason: row.get(25)?,
        answered: answered_at(row)?,
        price: unit.zip(price).map(|(unit, nanos)| Money { nanos, unit }),
    })
}

fn state_at(row: &Row<'_>, column: usize) -> rusqlite::Result<CallState> {
    let name: String = row.get(column)?;
    CallState::named(&name).ok_or_else(|| unreadable(column, std::fmt::Error))
}

fn answered_at(row: &Row<'_>) -> rusqlite::Result<Option<Answered>> {
    let Some(status) = row.get(30)? else {
        return Ok(None);
    };
    Ok(Some(Answered {
        status,
        head: head_at(row, 31)?,
        trailers: head_at(row, 32)?,
        body: BodyOf {
            digest: digest_at(row, 33)?,
            bytes: row.get(34).map(unsigned)?,
            is_kept: row.get(35)?,
        },
    }))
}

/// A head as JSON. Bytes that are no ASCII are written as the characters of their numbers,
/// as the HTTP of old takes them (ISO 8859-1), so that each byte comes back.
fn head_text(head: &Head) -> String {
    let fields: Vec<(&str, String)> = head
        .iter()
        .map(|(name, value)| (name.as_str(), value.iter().map(|byte| char::from(*byte)).collect()))
        .collect();
    serde_json::to_string(&fields).expect("texts are JSON")
}

fn head_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Head> {
    let text: String = row.get(column)?;
    let fields: Vec<(String, String)> =
        serde_json::from_str(&text).map_err(|error| unreadable(column, error))?;
    let bytes = |value: &str| -> Vec<u8> {
        value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
    };
    Ok(fields.into_iter().map(|(name, value)| (name, bytes(&value))).collect())
}

#[cfg(test)]
mod tests;
