//! Every bound of the stack, with its unit.

use std::time::Duration;

/// Connections at once, of either direction, those that are only remembered (TIME-WAIT) among them.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Connections that others began and that nobody has accepted or confirmed yet.
pub const HALF_OPEN_MAX: usize = 256;
/// Of one connection, received and not read yet: its window.
pub const RECEIVE_BYTES_MAX: usize = 1024 * 1024;
/// Of one connection, written and not acknowledged yet.
pub const SEND_BYTES_MAX: usize = 1024 * 1024;
/// Of all connections, received and not read yet; from half of it on, windows are small.
pub const RECEIVED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The window of a connection while all of them together hold much.
pub const RECEIVE_BYTES_UNDER_PRESSURE: usize = 32 * 1024;
/// Separate pieces that came too early, of one connection; further ones are dropped.
pub const EARLY_PIECES_MAX: usize = 64;
/// Refusals and echo replies that wait to be taken.
pub const PACKETS_MAX: usize = 1_024;
/// Incoming connections that wait for somebody to take them.
pub const INCOMING_MAX: usize = HALF_OPEN_MAX;

/// Until an unanswered dial fails; who dials may be less patient.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Until a connection that others began must stand.
pub const HALF_OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// Until a peer that acknowledges nothing is given up (RFC 9293 §3.8.3 asks for 100 s at least).
pub const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Of a connection without traffic, until it is asked whether it is there (RFC 9293 §3.8.4).
pub const KEEP_ALIVE: Duration = Duration::from_secs(600);
/// For what nobody holds any more to end in order.
pub const LINGER: Duration = Duration::from_secs(60);
/// A connection that ended here is remembered (RFC 9293 §3.4.2 has 2 MSL; packets of a mesh do not
/// live for minutes).
pub const TIME_WAIT: Duration = Duration::from_secs(10);
