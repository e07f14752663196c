//! `waf.mode: service`: the proxy asks another program for verdicts, over a few connections that
//! carry many questions at once. `client` asks, `server` answers; `frame` is what goes between.

mod auth;
mod client;
mod frame;
mod link;
mod pipe;
mod server;
mod stream;

pub(crate) use client::Asker;
pub(crate) use server::connection;
pub(crate) use stream::{Moment, Question, Stream, Subject, Told, ask};

use serde::Deserialize;
use std::net::SocketAddr;

/// The JSON of proxy/wire-config.ts: what a proxy is told about the service, and a service about
/// itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceConfig {
    /// Where the service is; in the service itself: nowhere.
    pub addresses: Vec<SocketAddr>,
    /// Longest time for the answer to one question.
    pub timeout_ms: u64,
    /// Questions under way on one connection.
    pub in_flight_max: usize,
    /// Longest frame in either direction.
    pub frame_bytes_max: usize,
    /// How long the service keeps an exchange that nothing is heard of.
    pub state_timeout_ms: u64,
    /// What both sides must know; '' when anyone may ask.
    pub secret: String,
}
