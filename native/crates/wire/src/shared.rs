//! What all wire threads share: config, tables, counters, the hub.

use crate::admission::Places;
use crate::ask::ServiceConfig;
use crate::budget::Budget;
use crate::config::{EndpointConfig, EndpointProtocol, EndpointTls, WireConfig, WireLimits};
use crate::error_code::ErrorCode;
use crate::exchange::Exchange;
use crate::hub::Hub;
use crate::plan::Forward;
use crate::stats::Stats;
use crate::template::Template;
use crate::tls::Tls;
use boring::ssl::SslAcceptor;
use bytes::Bytes;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::watch;

/// A complete answer, ready to send.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Fields.
    pub headers: Vec<(Bytes, Bytes)>,
    /// Body.
    pub body: Bytes,
}

/// One endpoint, as connections to it need it.
#[derive(Debug)]
pub struct Endpoint {
    /// Tried in order.
    pub addresses: Vec<SocketAddr>,
    /// What it speaks.
    pub protocol: EndpointProtocol,
    /// `None`: in clear.
    pub tls: Option<EndpointTls>,
    /// The socket of an agent that dials for us.
    pub via: Option<Arc<Path>>,
}

/// Endpoints by id.
pub type Endpoints = HashMap<u32, Arc<Endpoint>>;

/// State shared by the wire threads and the addon.
pub struct Shared {
    /// The configuration.
    pub config: WireConfig,
    /// The queues to the workers.
    pub hub: Arc<Hub>,
    /// Certificates.
    pub tls: Arc<Tls>,
    /// What the QUIC endpoints share.
    pub quic: crate::quic::Host,
    /// Counters.
    pub stats: Arc<Stats>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) active: AtomicUsize,
    answers: Vec<Answer>,
    templates: Vec<Template>,
    health: AtomicU32,
    draining: AtomicBool,
    drain: watch::Sender<bool>,
    accepting_ended: watch::Sender<bool>,
    endpoints: Mutex<Arc<Endpoints>>,
    endpoints_version: AtomicU64,
    limits: Mutex<Arc<WireLimits>>,
    limits_version: AtomicU64,
    service: Mutex<Arc<ServiceConfig>>,
    service_version: AtomicU64,
    places: Places,
    acceptor: OnceLock<Option<SslAcceptor>>,
}

impl Shared {
    /// Shared state for `config`.
    pub fn new(config: WireConfig) -> Shared {
        let stats = Arc::new(Stats::default());
        let limits = &config.limits;
        let budget = Arc::new(Budget::new(limits.inspected_bodies_bytes_max));
        let hub = Hub::new(
            config.workers,
            config.threads,
            limits.worker_queue_max,
            stats.clone(),
        );
        Shared {
            hub: Arc::new(hub),
            tls: Arc::new(Tls::default()),
            quic: crate::quic::Host::new(config.neighbours.clone()),
            stats,
            budget,
            active: AtomicUsize::new(0),
            answers: ErrorCode::ALL
                .iter()
                .map(|code| answer_for(&config, *code))
                .collect(),
            templates: Vec::new(),
            health: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            drain: watch::Sender::new(false),
            accepting_ended: watch::Sender::new(false),
            endpoints: Mutex::default(),
            endpoints_version: AtomicU64::new(0),
            limits: Mutex::new(Arc::new(config.limits.clone())),
            limits_version: AtomicU64::new(0),
            service: Mutex::new(Arc::new(config.service.clone())),
            service_version: AtomicU64::new(0),
            places: Places::new(config.limits.places()),
            acceptor: OnceLock::new(),
            config,
        }
    }

    /// Reads the header templates of the configuration.
    pub fn read_templates(&mut self) -> Result<(), String> {
        let read = self.config.templates.iter().map(Template::read);
        self.templates = read.collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Fills in the template that a plan names.
    pub(crate) fn fill_template(&self, exchange: &Exchange, plan: &mut Forward) {
        let index = usize::from(plan.template).checked_sub(1);
        if let Some(template) = index.and_then(|index| self.templates.get(index)) {
            template.apply(exchange, plan);
        }
    }

    /// The answer that the error table has for `code`.
    pub fn answer(&self, code: ErrorCode) -> Option<&Answer> {
        self.answers.get(code as usize)
    }

    /// Counts a connection of `peer` in, or says why not. Dropping the admission counts it out.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Admission, ErrorCode> {
        self.places.take(peer)?;
        Ok(Admission {
            shared: self.clone(),
            peer,
        })
    }

    /// Whether `pressurePercent` of `connectionsMax` are open: idle connections go early then, and
    /// new ones get less.
    pub fn pressure(&self) -> bool {
        self.places.pressure()
    }

    /// Resolves when there is pressure (at once when there is). Costs a lock: for connections
    /// that have been idle for a while, not for each request.
    pub fn pressure_begun(&self) -> impl Future<Output = ()> + 'static {
        turned_true(self.places.watch_pressure())
    }

    /// 0 starting, 1 ok, 2 draining.
    pub fn health(&self) -> u32 {
        self.health.load(Ordering::Relaxed)
    }

    /// Sets what the health path answers.
    pub fn set_health(&self, state: u32) {
        self.health.store(state, Ordering::Relaxed);
    }

    /// Whether every connection should be told to close.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Begins the drain.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.drain.send_replace(true);
    }

    /// Resolves when the drain begins (at once when it has).
    pub fn drain_begun(&self) -> impl Future<Output = ()> + 'static {
        turned_true(self.drain.subscribe())
    }

    /// Ends the taking of TCP connections.
    pub fn stop_accepting(&self) {
        self.accepting_ended.send_replace(true);
    }

    /// Whether new connections are taken.
    pub(crate) fn accepting(&self) -> bool {
        !*self.accepting_ended.borrow()
    }

    /// Resolves when TCP connections are taken no more.
    pub(crate) fn accepting_ended(&self) -> impl Future<Output = ()> + 'static {
        turned_true(self.accepting_ended.subscribe())
    }

    /// Replaces the endpoint table.
    pub fn set_endpoints(&self, table: Vec<EndpointConfig>) {
        let entries = table.into_iter().map(|entry| {
            let EndpointConfig {
                id,
                addresses,
                protocol,
                tls,
                via,
            } = entry;
            let endpoint = Endpoint {
                addresses,
                protocol,
                tls,
                via: via.map(Arc::from),
            };
            (id, Arc::new(endpoint))
        });
        *self
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(entries.collect());
        self.endpoints_version.fetch_add(1, Ordering::Release);
    }

    /// The endpoint table, and a number that changes with it.
    pub(crate) fn endpoints(&self) -> (u64, Arc<Endpoints>) {
        let version = self.endpoints_version();
        (
            version,
            self.endpoints
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }

    pub(crate) fn endpoints_version(&self) -> u64 {
        self.endpoints_version.load(Ordering::Acquire)
    }

    /// Replaces the limits: for new connections and requests.
    pub fn set_limits(&self, limits: WireLimits) {
        self.places.set_limits(limits.places());
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(limits);
        self.limits_version.fetch_add(1, Ordering::Release);
    }

    /// The limits, and a number that changes with them. Wire threads ask `WireThread::limits`.
    pub(crate) fn limits(&self) -> (u64, Arc<WireLimits>) {
        let version = self.limits_version();
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        (version, limits.clone())
    }

    pub(crate) fn limits_version(&self) -> u64 {
        self.limits_version.load(Ordering::Acquire)
    }

    /// Replaces what is known of the WAF service.
    pub fn set_service(&self, service: ServiceConfig) {
        *self.service.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(service);
        self.service_version.fetch_add(1, Ordering::Release);
    }

    /// What is known of the WAF service.
    pub(crate) fn service(&self) -> Arc<ServiceConfig> {
        let service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        service.clone()
    }

    pub(crate) fn service_version(&self) -> u64 {
        self.service_version.load(Ordering::Acquire)
    }

    /// The acceptor of TLS connections: one for all threads, so that they share ticket keys.
    pub(crate) fn acceptor(&self) -> Option<&SslAcceptor> {
        self.acceptor
            .get_or_init(|| self.tls.acceptor().ok())
            .as_ref()
    }

    /// Exchanges begun and not finished.
    pub fn active_exchanges(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// JSON of `WireStats`.
    pub fn stats_json(&self) -> String {
        self.stats.json(
            self.connections(),
            self.active_exchanges(),
            self.budget.used(),
        )
    }

    /// Open connections (TCP and QUIC).
    pub fn connections(&self) -> usize {
        self.places.open()
    }
}

/// The place of one connection.
pub struct Admission {
    shared: Arc<Shared>,
    peer: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.shared.places.give_back(self.peer);
    }
}

async fn turned_true(mut watched: watch::Receiver<bool>) {
    if watched.wait_for(|value| *value).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn answer_for(config: &WireConfig, code: ErrorCode) -> Answer {
    let found = config
        .errors
        .iter()
        .find(|answer| answer.code == code.name());
    found.map_or(
        Answer {
            status: 500,
            headers: Vec::new(),
            body: Bytes::new(),
        },
        |answer| Answer {
            status: answer.status,
            headers: (answer.headers.iter())
                .map(|(name, value)| (Bytes::from(name.clone()), Bytes::from(value.clone())))
                .collect(),
            body: Bytes::from(answer.body.clone()),
        },
    )
}
