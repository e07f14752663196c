//! Counters since start.

use crate::error_code::ErrorCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter for each error code.
#[derive(Debug)]
struct ByCode([Counter; ErrorCode::ALL.len()]);

impl Default for ByCode {
    fn default() -> ByCode {
        ByCode(std::array::from_fn(|_| Counter::default()))
    }
}

/// All counters; `WireStats` in TypeScript.
#[derive(Debug, Default)]
#[allow(missing_docs)] // the names say it
pub struct Stats {
    pub connections_h1: Counter,
    pub connections_h1_tls: Counter,
    pub connections_h2: Counter,
    pub connections_h3: Counter,
    pub connections_refused: Counter,
    pub handshakes: Counter,
    pub handshakes_failed: Counter,
    pub exchanges: Counter,
    /// Requests whose stream was reset before they ran.
    pub withdrawn: Counter,
    pub health_answers: Counter,
    pub upstream_connects: Counter,
    pub upstream_reuses: Counter,
    pub upstream_retries: Counter,
    pub wakeups: Counter,
    pub batches: Counter,
    pub records: Counter,
    pub records_lost: Counter,
    pub redelivered: Counter,
    pub panics: Counter,
    /// Listeners that a successor took copies of.
    pub handed_over: Counter,
    /// Connections to the WAF service, or in it.
    pub service_connections: Counter,
    pub service_connects_failed: Counter,
    /// In the service: connections that did not prove that they know the secret.
    pub service_proofs_failed: Counter,
    refusals: ByCode,
    errors: ByCode,
    quic: Mutex<BTreeMap<&'static str, u64>>,
}

impl Stats {
    /// Counts a refusal in the wire.
    pub fn refused(&self, code: ErrorCode) {
        if let Some(counter) = self.refusals.0.get(code as usize) {
            counter.add(1);
        }
    }

    /// Counts an exchange that ended with an error.
    pub fn failed(&self, code: ErrorCode) {
        if let Some(counter) = self.errors.0.get(code as usize) {
            counter.add(1);
        }
    }

    /// Adds to a QUIC number; callers collect and add once per loop turn, not per packet.
    pub fn quic_add(&self, name: &'static str, count: u64) {
        let mut quic = self.quic.lock().unwrap_or_else(PoisonError::into_inner);
        *quic.entry(name).or_insert(0) += count;
    }

    /// JSON of `WireStats`.
    pub fn json(&self, open: usize, active: usize, held_bytes: u64) -> String {
        let quic = self
            .quic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        json!({
            "connectionsOpen": open,
            "exchangesActive": active,
            "heldBytes": held_bytes,
            "connections": {
                "h1": self.connections_h1.get(),
                "h1Tls": self.connections_h1_tls.get(),
                "h2": self.connections_h2.get(),
                "h3": self.connections_h3.get(),
                "refused": self.connections_refused.get(),
            },
            "handshakes": self.handshakes.get(),
            "handshakesFailed": self.handshakes_failed.get(),
            "exchanges": self.exchanges.get(),
            "withdrawn": self.withdrawn.get(),
            "healthAnswers": self.health_answers.get(),
            "upstreamConnects": self.upstream_connects.get(),
            "upstreamReuses": self.upstream_reuses.get(),
            "upstreamRetries": self.upstream_retries.get(),
            "wakeups": self.wakeups.get(),
            "batches": self.batches.get(),
            "records": self.records.get(),
            "recordsLost": self.records_lost.get(),
            "redelivered": self.redelivered.get(),
            "panics": self.panics.get(),
            "handedOver": self.handed_over.get(),
            "serviceConnections": self.service_connections.get(),
            "serviceConnectsFailed": self.service_connects_failed.get(),
            "serviceProofsFailed": self.service_proofs_failed.get(),
            "refusals": by_code(&self.refusals),
            "errors": by_code(&self.errors),
            "quic": quic,
        })
        .to_string()
    }
}

fn by_code(ByCode(counters): &ByCode) -> Value {
    let counted = ErrorCode::ALL
        .iter()
        .zip(counters)
        .filter(|(_, counter)| counter.get() > 0);
    counted
        .map(|(code, counter)| (code.name().to_owned(), json!(counter.get())))
        .collect()
}
