//! One collection under one key: its members, and what it knows of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an entry costs beside its texts: the map's place, the two orders, the struct.
const ENTRY_BYTES: usize = 320;
/// What a member costs beside its texts.
const MEMBER_BYTES: usize = 96;
/// Numbers are read to so many digits, as everywhere in this engine: they stay exact in JavaScript.
const DIGITS_MAX: usize = 15;
const NUMBER_MAX: i64 = 999_999_999_999_999;

/// What may be done to a member.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// `setvar:ip.name=text`.
    Set(&'a str),
    /// `setvar:ip.name=+1`, `=-1`: what is no number counts as 0.
    Add(i64),
    /// `setvar:!ip.name`.
    Remove,
    /// `expirevar:ip.name=60`: the moment at which it ends.
    Expire(u64),
    /// `deprecatevar:ip.name=amount/interval`; `seen_ms` is when the collection had been updated
    /// last as the transaction found it, so that its own updates do not hide the time that passed.
    Decay {
        amount: i64,
        interval_ms: u64,
        seen_ms: u64,
    },
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It holds.
    Done,
    /// There was nothing to change.
    Nothing,
    /// The text is longer than a value may be.
    ValueTooLong,
    /// The collection has as many members as it may.
    TooManyMembers,
}

/// What a collection knows of itself, as its built-in members show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub created_ms: u64,
    pub updated_ms: u64,
    pub timeout_ms: u64,
    pub updates: u64,
}

#[derive(Serialize, Deserialize)]
struct Member {
    /// None: it has only an expiry yet, which ModSecurity 3 allows to come before the value.
    value: Option<Box<str>>,
    expires_ms: Option<u64>,
    /// Up to when `deprecatevar` has been carried out.
    decayed_ms: u64,
}

impl Member {
    fn is_over(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|end| end <= now_ms)
    }

    fn bytes(name: &str, value: Option<&str>) -> usize {
        MEMBER_BYTES + name.len() + value.map_or(0, str::len)
    }
}

/// The limits that one entry keeps.
#[derive(Clone, Copy)]
pub struct EntryLimits {
    pub value_bytes: usize,
    pub members: usize,
}

/// One collection under one key.
#[derive(Serialize, Deserialize)]
pub struct Entry {
    created_ms: u64,
    updated_ms: u64,
    timeout_ms: u64,
    updates: u64,
    members: BTreeMap<Box<str>, Member>,
}

impl Entry {
    pub fn new(timeout_ms: u64, now_ms: u64) -> Self {
        Self {
            created_ms: now_ms,
            updated_ms: now_ms,
            timeout_ms,
            updates: 0,
            members: BTreeMap::new(),
        }
    }

    pub fn facts(&self) -> Facts {
        Facts {
            created_ms: self.created_ms,
            updated_ms: self.updated_ms,
            timeout_ms: self.timeout_ms,
            updates: self.updates,
        }
    }

    /// When the whole collection ends unless it is updated.
    pub fn expires_ms(&self) -> u64 {
        self.updated_ms.saturating_add(self.timeout_ms)
    }

    pub fn bytes(&self, key: &str) -> usize {
        let members = self.members.iter();
        let members = members.map(|(name, member)| Member::bytes(name, member.value.as_deref()));
        ENTRY_BYTES + 2 * key.len() + members.sum::<usize>()
    }

    /// A member's value; one that is over is removed on the way.
    pub fn read(&mut self, name: &str, now_ms: u64) -> Option<String> {
        self.forget_if_over(name, now_ms);
        self.members.get(name)?.value.as_deref().map(str::to_owned)
    }

    /// Every member that has a value, by name.
    pub fn read_all(&mut self, now_ms: u64) -> Vec<(String, String)> {
        self.forget_over(now_ms);
        let members = self.members.iter();
        members
            .filter_map(|(name, member)| Some((name.to_string(), member.value.as_deref()?.into())))
            .collect()
    }

    /// Carries a change out. `first`: the first one of its transaction, which is one update.
    pub fn apply(
        &mut self,
        name: &str,
        change: Change<'_>,
        (now_ms, first): (u64, bool),
        limits: EntryLimits,
    ) -> Applied {
        // A value that comes after the end of another one has nothing of it.
        self.forget_if_over(name, now_ms);
        let applied = match change {
            Change::Set(text) => self.set(name, text, now_ms, limits),
            Change::Add(amount) => {
                let next = clamp(self.number(name).saturating_add(clamp(amount)));
                self.set(name, &next.to_string(), now_ms, limits)
            }
            Change::Remove => match self.members.remove(name) {
                Some(_) => Applied::Done,
                None => Applied::Nothing,
            },
            Change::Expire(end_ms) => self.expire(name, end_ms, now_ms, limits),
            Change::Decay {
                amount,
                interval_ms,
                seen_ms,
            } => self.decay(name, (amount, interval_ms), seen_ms, now_ms),
        };
        if applied == Applied::Done {
            self.updated_ms = now_ms;
            self.updates = self.updates.saturating_add(u64::from(first));
        }
        applied
    }

    fn set(&mut self, name: &str, text: &str, now_ms: u64, limits: EntryLimits) -> Applied {
        if text.len() > limits.value_bytes || name.len() > limits.value_bytes {
            return Applied::ValueTooLong;
        }
        if let Some(member) = self.members.get_mut(name) {
            member.value = Some(text.into());
        } else if let Err(refused) = self.add_member(name, Some(text), now_ms, limits) {
            return refused;
        }
        // The one built-in member that rules may write: how long the collection lives.
        if name == "timeout" {
            self.timeout_ms = u64::try_from(number(text)).unwrap_or(0) * 1000;
        }
        Applied::Done
    }

    fn expire(&mut self, name: &str, end_ms: u64, now_ms: u64, limits: EntryLimits) -> Applied {
        if name.len() > limits.value_bytes {
            return Applied::ValueTooLong;
        }
        if !self.members.contains_key(name)
            && let Err(refused) = self.add_member(name, None, now_ms, limits)
        {
            return refused;
        }
        if let Some(member) = self.members.get_mut(name) {
            member.expires_ms = Some(end_ms);
        }
        Applied::Done
    }

    /// Takes `amount` away for every whole interval since the last update, never below 0.
    fn decay(
        &mut self,
        name: &str,
        (amount, interval_ms): (i64, u64),
        seen_ms: u64,
        now_ms: u64,
    ) -> Applied {
        let Some(member) = self.members.get_mut(name) else {
            return Applied::Nothing;
        };
        // Two transactions that saw the same last update must not both take it away.
        let since = seen_ms.max(member.decayed_ms);
        let steps = now_ms.saturating_sub(since) / interval_ms.max(1);
        let Some(before) = member.value.as_deref().map(number) else {
            return Applied::Nothing;
        };
        if steps == 0 {
            return Applied::Nothing;
        }
        member.decayed_ms = since.saturating_add(steps.saturating_mul(interval_ms.max(1)));
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        let after = before.saturating_sub(amount.saturating_mul(steps)).max(0);
        if after == before {
            return Applied::Nothing;
        }
        member.value = Some(after.to_string().into());
        Applied::Done
    }

    fn add_member(
        &mut self,
        name: &str,
        value: Option<&str>,
        now_ms: u64,
        limits: EntryLimits,
    ) -> Result<(), Applied> {
        if self.members.len() >= limits.members {
            self.forget_over(now_ms);
        }
        if self.members.len() >= limits.members {
            return Err(Applied::TooManyMembers);
        }
        let member = Member {
            value: value.map(Into::into),
            expires_ms: None,
            decayed_ms: 0,
        };
        self.members.insert(name.into(), member);
        Ok(())
    }

    fn number(&self, name: &str) -> i64 {
        let member = self.members.get(name);
        member
            .and_then(|member| member.value.as_deref())
            .map_or(0, number)
    }

    fn forget_if_over(&mut self, name: &str, now_ms: u64) {
        if self
            .members
            .get(name)
            .is_some_and(|member| member.is_over(now_ms))
        {
            self.members.remove(name);
        }
    }

    fn forget_over(&mut self, now_ms: u64) {
        self.members.retain(|_, member| !member.is_over(now_ms));
    }
}

fn clamp(number: i64) -> i64 {
    number.clamp(-NUMBER_MAX, NUMBER_MAX)
}

/// The number that a text begins with, as C's `atoi`; 0 when there is none.
fn number(text: &str) -> i64 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = digits
        .bytes()
        .take(DIGITS_MAX)
        .take_while(u8::is_ascii_digit)
        .fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    if negative { -value } else { value }
}
