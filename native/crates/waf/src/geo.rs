//! Where addresses are (`@geoLookup`): MaxMind databases, read once however many plans use them.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use maxminddb::{Reader, geoip2};

/// A database in memory.
pub type Database = Reader<Vec<u8>>;

/// A file as it was read: another time or length means that it was replaced.
struct Opened {
    changed: Option<SystemTime>,
    length: u64,
    database: Weak<Database>,
}

/// By path. Weak: a database lives as long as a plan that names it.
static OPENED: LazyLock<Mutex<HashMap<String, Opened>>> = LazyLock::new(Mutex::default);

/// The database of the file as it is now.
pub fn open(path: &str) -> Result<Arc<Database>, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("{path}: {error}"))?;
    let (changed, length) = (metadata.modified().ok(), metadata.len());
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = opened.get(path)
        && (known.changed, known.length) == (changed, length)
        && let Some(database) = known.database.upgrade()
    {
        return Ok(database);
    }
    let database = Reader::open_readfile(path).map_err(|error| format!("{path}: {error}"))?;
    let database = Arc::new(database);
    opened.retain(|_, known| known.database.strong_count() > 0);
    let known = Opened {
        changed,
        length,
        database: Arc::downgrade(&database),
    };
    opened.insert(path.to_owned(), known);
    Ok(database)
}

/// Whether the database knows the address.
pub fn knows(database: &Database, address: IpAddr) -> bool {
    let found = database.lookup(address.to_canonical());
    found.is_ok_and(|found| found.has_data())
}

/// The members of GEO for an address, in the database that a plan has open under this path. As
/// ModSecurity 3 names them; a member that the database does not have is left out.
pub fn members(path: &str, address: IpAddr) -> Vec<(&'static str, String)> {
    let database = {
        let opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get(path).and_then(|known| known.database.upgrade())
    };
    let Some(database) = database else {
        return Vec::new();
    };
    let found = database.lookup(address.to_canonical());
    let Ok(Some(place)) = found.and_then(|found| found.decode::<geoip2::City>()) else {
        return Vec::new();
    };
    let region = place.subdivisions.first();
    let text = |text: Option<&str>| text.map(str::to_owned);
    let degrees = |angle: Option<f64>| angle.map(|angle| format!("{angle:.6}"));
    let members = [
        ("COUNTRY_CODE", text(place.country.iso_code)),
        ("COUNTRY_NAME", text(place.country.names.english)),
        ("COUNTRY_CONTINENT", text(place.continent.code)),
        ("REGION", text(region.and_then(|region| region.iso_code))),
        ("CITY", text(place.city.names.english)),
        ("POSTAL_CODE", text(place.postal.code)),
        ("LATITUDE", degrees(place.location.latitude)),
        ("LONGITUDE", degrees(place.location.longitude)),
    ];
    let known = members.into_iter();
    known
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}
