//! The wire as a whole: binds, starts and ends the threads.

use crate::ask::ServiceConfig;
use crate::bind::{bind_all, bind_failure};
use crate::config::{CertificateSet, EndpointConfig, TicketKeySet, WireConfig, WireLimits};
use crate::hub::{Hub, WORKERS_MAX};
use crate::port::Port;
use crate::quic::Acquaintance;
use crate::shared::Shared;
use crate::thread;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// Why something asked of the wire was not done; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError(pub String);

impl std::fmt::Display for WireError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for WireError {}

fn bad_json(what: &str) -> impl Fn(serde_json::Error) -> WireError {
    move |error| WireError(format!("{what}: {error}"))
}

/// The wire threads and what they share.
pub struct Wire {
    /// State shared with the threads.
    pub shared: Arc<Shared>,
    stopped: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Wire {
    /// A wire for the JSON of a `WireConfig`. Binds nothing yet.
    pub fn new(config: &str) -> Result<Wire, WireError> {
        let config: WireConfig = serde_json::from_str(config).map_err(bad_json("wire config"))?;
        if config.threads == 0 || config.workers == 0 || config.workers > WORKERS_MAX {
            let text = format!("wire config: threads ≥ 1 and workers 1–{WORKERS_MAX} are needed");
            return Err(WireError(text));
        }
        let (stopped, threads) = (watch::Sender::new(false), Mutex::default());
        let mut shared = Shared::new(config);
        shared.read_templates().map_err(WireError)?;
        Ok(Wire {
            shared: Arc::new(shared),
            stopped,
            threads,
        })
    }

    /// Binds all listeners for all threads, then starts the threads. The bound addresses.
    pub fn listen(&self) -> Result<Vec<String>, WireError> {
        let mut bound = bind_all(&self.shared.config)?;
        let neighbours = self.shared.quic.bind_neighbours();
        neighbours.map_err(|(address, error)| WireError(bind_failure(address, &error)))?;
        // One thread is enough to answer successors.
        if let Some(first) = bound.threads.first_mut() {
            first.offers = bound.offers;
        }
        for (index, sockets) in bound.threads.into_iter().enumerate() {
            let (shared, stopped) = (self.shared.clone(), self.stopped.subscribe());
            let started = std::thread::Builder::new()
                .name(format!("wire-{index}"))
                .spawn(move || thread::run(index, shared, sockets, stopped))
                .map_err(|error| WireError(format!("wire thread {index}: {error}")))?;
            self.threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(started);
        }
        Ok(bound.addresses.iter().map(ToString::to_string).collect())
    }

    /// Takes no more TCP connections: those that wait are accepted, then the listeners close.
    pub fn stop_accepting(&self) {
        self.shared.stop_accepting();
    }

    /// Replaces all certificates; keeps the old ones when the new do not load.
    pub fn set_certificates(&self, json: &str) -> Result<(), WireError> {
        let set: CertificateSet = serde_json::from_str(json).map_err(bad_json("certificates"))?;
        self.shared.tls.set(&set).map_err(WireError)
    }

    /// Replaces the keys of session tickets and stateless resets; keeps the old ones when one of
    /// the new is malformed.
    pub fn set_ticket_keys(&self, json: &str) -> Result<(), WireError> {
        let set: TicketKeySet = serde_json::from_str(json).map_err(bad_json("ticket keys"))?;
        let decoded = set.tickets.iter().map(|key| from_base64(key));
        let tickets: Vec<Vec<u8>> = decoded.collect::<Result<_, _>>()?;
        let reset = match set.stateless_reset.as_str() {
            "" => None,
            text => {
                let key = from_base64(text)?.try_into();
                Some(key.map_err(|_| WireError("the reset key is not 32 bytes".to_owned()))?)
            }
        };
        self.shared
            .tls
            .set_ticket_keys(&tickets)
            .map_err(WireError)?;
        if let Some(key) = reset {
            self.shared.quic.set_reset_key(key);
        }
        Ok(())
    }

    /// Replaces the limits, for new connections and requests.
    pub fn set_limits(&self, json: &str) -> Result<(), WireError> {
        let limits: WireLimits = serde_json::from_str(json).map_err(bad_json("limits"))?;
        self.shared.set_limits(limits);
        Ok(())
    }

    /// Replaces what is known of the WAF service: its addresses, and how it is asked.
    pub fn set_service(&self, json: &str) -> Result<(), WireError> {
        let service: ServiceConfig = serde_json::from_str(json).map_err(bad_json("service"))?;
        self.shared.set_service(service);
        Ok(())
    }

    /// Replaces by what other programs of this node are known, and where they are met.
    pub fn set_neighbours(&self, json: &str) -> Result<(), WireError> {
        let Acquaintance { key, meet } =
            serde_json::from_str(json).map_err(bad_json("neighbours"))?;
        let key = from_base64(&key)?.try_into();
        let key = key.map_err(|_| WireError("the key of neighbours is not 32 bytes".to_owned()))?;
        self.shared.quic.acquaint(key, meet);
        Ok(())
    }

    /// Replaces the endpoint table.
    pub fn set_endpoints(&self, json: &str) -> Result<(), WireError> {
        let table: Vec<EndpointConfig> =
            serde_json::from_str(json).map_err(bad_json("endpoints"))?;
        self.shared.set_endpoints(table);
        Ok(())
    }

    /// Attaches a worker. `wake` may be called from any thread, also after the worker died.
    pub fn attach(&self, slot: usize, wake: Box<dyn Fn() + Send + Sync>) -> Option<Port> {
        self.hub().attach(slot, Arc::from(wake))
    }

    /// The queues.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.shared.hub
    }

    /// Ends the threads with everything they hold.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop();
    }
}

fn from_base64(text: &str) -> Result<Vec<u8>, WireError> {
    boring::base64::decode_block(text).map_err(|_| WireError("a key is not base64".to_owned()))
}
