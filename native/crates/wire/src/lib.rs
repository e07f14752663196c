//! The wire: listeners, TLS, HTTP/1.1, HTTP/2 and HTTP/3 towards clients, HTTP/1.1 and HTTP/2
//! towards endpoints, and the queue to the WAF workers. Policy lives in TypeScript; this crate
//! carries out.
#![forbid(unsafe_code)]
#![cfg_attr(test, recursion_limit = "256")] // for the configuration in tests

mod admission;
mod ask;
mod bind;
mod budget;
mod client;
mod config;
mod encode;
mod error_code;
mod exchange;
mod forward;
mod h1;
mod h1_body;
mod h1_head;
mod h1_io;
mod h1_response;
mod h2;
mod h2_body;
mod h2_link;
mod h2_request;
mod h2_sink;
#[cfg(test)]
mod h2_tests;
mod handover;
mod hub;
#[cfg(test)]
mod hub_tests;
mod inspect;
mod known_headers;
mod mailbox;
mod notify;
mod outbound;
mod outbox;
mod plan;
mod port;
pub mod quic;
mod rate;
mod read_ahead;
mod record;
mod relay;
mod seam;
mod serve;
mod shared;
mod signal;
mod slot;
mod small_read;
mod stats;
mod template;
mod thread;
mod timers;
pub mod tls;
mod turns;
mod upstream;
mod wheel;
mod wire;

pub use ask::ServiceConfig;
pub use config::{
    CertificateSet, EndpointConfig, EndpointProtocol, EndpointTls, ErrorAnswer, TicketKeySet,
    WireConfig, WireLimits, WireListener,
};
pub use error_code::ErrorCode;
pub use exchange::{ConnectionFacts, Exchange, HeldResponse, NO_CERTIFICATE, ResponseFacts};
pub use hub::Hub;
pub use known_headers::KNOWN_HEADERS;
pub use notify::notify;
pub use port::{Port, Taken};
pub use seam::{BodyError, BodyLength, BodySource, Field, Gone, ResponseHead, ResponseSink};
pub use serve::serve;
pub use shared::{Admission, Shared};
pub use stats::Stats;
pub use thread::WireThread;
pub use tls::{Certificates, Tls};
pub use wire::{Wire, WireError};
