//! The addon's part of `@geoLookup`: conversions only.

use napi_derive::napi;

/// The members of GEO: name, value, name, value…
#[napi]
pub fn geo_members(database: String, address: String) -> Vec<String> {
    let path = edge_waf::latin1(&database);
    let path = String::from_utf8_lossy(&path);
    let Ok(address) = address.parse() else {
        return Vec::new();
    };
    let members = edge_waf::geo::members(&path, address).into_iter();
    members
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
}
