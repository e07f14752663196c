//! `Wire` and `WorkerPort` of index.d.ts.

use crate::error::to_js;
use crate::waf::Inspections;
use crate::wake;
use edge_wire::{ErrorCode, Exchange, KNOWN_HEADERS, Port, Taken};
use napi::Result;
use napi::bindgen_prelude::{Function, Uint8ArraySlice};
use napi_derive::napi;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The wire of this program; workers find it here, because a class instance cannot cross threads.
static WIRE: Mutex<Weak<edge_wire::Wire>> = Mutex::new(Weak::new());

fn current_wire() -> Option<Arc<edge_wire::Wire>> {
    WIRE.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .upgrade()
}

/// The wire threads.
#[napi]
pub struct Wire {
    inner: Arc<edge_wire::Wire>,
}

#[napi]
impl Wire {
    #[napi(constructor)]
    pub fn new(config: String) -> Result<Wire> {
        let inner = Arc::new(edge_wire::Wire::new(&config).map_err(to_js)?);
        *WIRE.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&inner);
        Ok(Wire { inner })
    }

    #[napi]
    pub fn listen(&self) -> Result<Vec<String>> {
        self.inner.listen().map_err(to_js)
    }

    #[napi]
    pub fn set_certificates(&self, certificates: String) -> Result<()> {
        self.inner.set_certificates(&certificates).map_err(to_js)
    }

    #[napi]
    pub fn set_ticket_keys(&self, keys: String) -> Result<()> {
        self.inner.set_ticket_keys(&keys).map_err(to_js)
    }

    #[napi]
    pub fn set_limits(&self, limits: String) -> Result<()> {
        self.inner.set_limits(&limits).map_err(to_js)
    }

    #[napi]
    pub fn set_endpoints(&self, endpoints: String) -> Result<()> {
        self.inner.set_endpoints(&endpoints).map_err(to_js)
    }

    #[napi]
    pub fn set_service(&self, service: String) -> Result<()> {
        self.inner.set_service(&service).map_err(to_js)
    }

    #[napi]
    pub fn set_neighbours(&self, neighbours: String) -> Result<()> {
        self.inner.set_neighbours(&neighbours).map_err(to_js)
    }

    #[napi]
    pub fn set_health(&self, state: u32) {
        self.inner.shared.set_health(state);
    }

    #[napi]
    pub fn drain(&self) {
        self.inner.shared.begin_drain();
    }

    #[napi]
    pub fn stop_accepting(&self) {
        self.inner.stop_accepting();
    }

    #[napi]
    pub fn stop(&self) {
        self.inner.stop();
    }

    #[napi]
    pub fn active_exchanges(&self) -> u32 {
        u32::try_from(self.inner.shared.active_exchanges()).unwrap_or(u32::MAX)
    }

    #[napi]
    pub fn worker_silence(&self) -> Vec<i64> {
        self.inner.hub().silence()
    }

    #[napi]
    pub fn detach_worker(&self, slot: u32, generation: u32) {
        self.inner.hub().detach(slot as usize, generation);
    }

    #[napi]
    pub fn stats(&self) -> String {
        self.inner.shared.stats_json()
    }
}

/// One WAF worker's end of the queue.
#[napi]
pub struct WorkerPort {
    port: Port,
    pub(crate) inspections: Inspections,
}

#[napi]
impl WorkerPort {
    #[napi(constructor)]
    pub fn new(slot: u32, wake: Function<(), ()>) -> Result<WorkerPort> {
        let wire = current_wire().ok_or_else(|| to_js("there is no Wire in this program"))?;
        // Of a worker that died nobody is woken: its exchanges are given away by `detach`.
        let port = wire.attach(slot as usize, wake::weak(wake)?);
        let port = port.ok_or_else(|| to_js(format!("there is no worker slot {slot}")))?;
        Ok(WorkerPort {
            port,
            inspections: Inspections::default(),
        })
    }

    #[napi(getter)]
    pub fn generation(&self) -> u32 {
        self.port.generation()
    }

    #[napi]
    pub fn take(&mut self, mut out: Uint8ArraySlice) -> i64 {
        // SAFETY: JavaScript does not run until the call returns, and no other native code keeps a
        // reference to an array.
        let out = unsafe { out.as_mut() };
        let signed = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        match self.port.take(out) {
            Taken::Written(size) => signed(size),
            Taken::Needs(size) => -signed(size),
        }
    }

    #[napi]
    pub fn answer(&mut self, plans: &[u8], length: u32) -> Result<()> {
        let plans = plans
            .get(..length as usize)
            .ok_or_else(|| to_js("plans: length > bytes"))?;
        let answered = self.port.answer(plans);
        let freed = answered.map_err(|at| to_js(format!("plans: malformed at byte {}", at.0)))?;
        freed
            .into_iter()
            .for_each(|handle| self.inspections.free(handle));
        Ok(())
    }

    /// The exchange that this worker knows as `handle`.
    pub(crate) fn exchange(&self, handle: u32) -> Option<Arc<Exchange>> {
        self.port.exchange(handle)
    }
}

/// Names by index, as used in outcome and refusal records.
#[napi]
pub fn error_names() -> Vec<String> {
    ErrorCode::ALL
        .iter()
        .map(|code| code.name().to_owned())
        .collect()
}

/// Known header names by index, as used in head records.
#[napi]
pub fn known_headers() -> Vec<String> {
    KNOWN_HEADERS
        .iter()
        .map(|name| (*name).to_owned())
        .collect()
}

/// Tells the service manager (sd_notify(3)).
#[napi]
pub fn notify(socket: String, message: String) -> Result<()> {
    edge_wire::notify(&socket, &message).map_err(|error| to_js(format!("{socket}: {error}")))
}

/// A GET over HTTP/3: `address` with an IP address, `server_name` for SNI ('' for none).
#[napi(object)]
pub struct H3Question {
    pub address: String,
    pub server_name: String,
    pub authority: String,
    pub path: String,
    pub timeout_ms: u32,
}

/// The status of the answer, whoever the certificate is for. Waits: for a command that does
/// nothing else.
#[napi]
pub fn ask_h3(question: H3Question) -> Result<u16> {
    let question = edge_wire::quic::Question {
        address: question.address.parse().map_err(to_js)?,
        server_name: question.server_name,
        authority: question.authority,
        path: question.path,
        timeout: std::time::Duration::from_millis(question.timeout_ms.into()),
    };
    edge_wire::quic::ask(&question).map_err(to_js)
}

/// Test hook: panics inside native code; the caller gets an exception instead of an abort.
#[napi]
#[allow(clippy::panic)]
pub fn panic_for_test() -> Result<()> {
    let caught = std::panic::catch_unwind(|| panic!("panicForTest"));
    caught.map_err(|_| to_js("a panic in native code was caught"))
}
