//! `@geoLookup`.

use std::sync::Arc;

use super::ip_match::address;
use super::{Captures, Compiled, Matcher};
use crate::geo::{self, Database};

/// `@geoLookup`: the text is an address that the database knows. The argument is the database's
/// path, which the rules name once for all (`SecGeoLookupDb`).
pub(super) fn geo_lookup(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    if argument.is_empty() {
        return Err("no database: write SecGeoLookupDb before the rules".to_owned());
    }
    let database = geo::open(&String::from_utf8_lossy(argument))?;
    Ok(Box::new(Places(database)))
}

struct Places(Arc<Database>);

impl Matcher for Places {
    fn matches(&self, text: &[u8], _captures: Option<&mut Captures>) -> bool {
        address(text).is_some_and(|address| geo::knows(&self.0, address))
    }
}
