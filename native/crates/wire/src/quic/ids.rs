//! The ids by which one connection is known.

use super::cid::Cid;
use std::collections::VecDeque;

/// Ids given up that are still known. A packet that was overtaken is dropped then; taken for one of
/// a lost connection it would get a stateless reset, which some clients heed (RFC 9000 §10.3.1).
const GIVEN_UP_KEPT: usize = 8;

#[derive(Default)]
pub(super) struct Ids {
    in_use: Vec<Cid>,
    given_up: VecDeque<Cid>,
}

impl Ids {
    pub fn push(&mut self, id: Cid) {
        self.in_use.push(id);
    }

    /// The client will not use that one again; which id is to be forgotten for it.
    pub fn give_up(&mut self, id: Cid) -> Option<Cid> {
        self.in_use.retain(|known| *known != id);
        self.given_up.push_back(id);
        let is_over = self.given_up.len() > GIVEN_UP_KEPT;
        is_over.then(|| self.given_up.pop_front()).flatten()
    }

    /// All of them, as the connection is forgotten.
    pub fn take(&mut self) -> impl Iterator<Item = Cid> + use<> {
        let Ids { in_use, given_up } = std::mem::take(self);
        in_use.into_iter().chain(given_up)
    }
}
