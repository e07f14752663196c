//! `@rbl`.

use super::ip_match::address;
use super::{Captures, Compiled, Matcher};
use crate::rbl::{RBL, list_name, now_ms};

/// `@rbl zen.spamhaus.org`: the text is an address that the list is known to hold. Group 0 is the
/// address. As in ModSecurity 3 a text that is no address never matches.
pub(super) fn rbl(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    let zone = str::from_utf8(argument)
        .unwrap_or_default()
        .trim_matches('.');
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(allowed)
    };
    if zone.len() > 180 || !zone.split('.').all(is_label) {
        return Err("no name of a list: write one such as zen.spamhaus.org".to_owned());
    }
    Ok(Box::new(List {
        zone: zone.to_ascii_lowercase(),
    }))
}

struct List {
    zone: String,
}

impl Matcher for List {
    fn matches(&self, text: &[u8], captures: Option<&mut Captures>) -> bool {
        let listed = address(text)
            .is_some_and(|address| RBL.listed(&list_name(address, &self.zone), now_ms()));
        if listed && let Some(captures) = captures {
            captures.push(Some(text.to_vec()));
        }
        listed
    }
}
