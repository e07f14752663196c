//! QUIC and HTTP/3 settings, from the wire's limits.

use crate::config::WireLimits;
use crate::tls::Tls;
use std::sync::Arc;

/// Largest datagram we send: the Ethernet MTU less IPv6 and UDP headers. quiche begins with 1,200
/// bytes on each path and finds by probes what it carries (RFC 8899).
pub(super) const DATAGRAM_BYTES_MAX: usize = 1452;
/// What one stream, and one connection, may hold unread; at most `connectionBytesMax`.
const STREAM_WINDOW_BYTES: u64 = 256 * 1024;
const STREAM_WINDOW_BYTES_MAX: u64 = 1024 * 1024;
/// Control, two QPACK streams, and room for greasing.
const UNI_STREAMS_MAX: u64 = 8;

/// Addresses that a client may come from in the life of a connection: quiche keeps each path to its
/// end, and takes no more of them than this.
const PATHS_MAX: u64 = 64;

/// The QUIC configuration of one endpoint. Certificates come from `tls`, at each handshake anew.
pub(super) fn quic(
    tls: &Arc<Tls>,
    limits: &WireLimits,
    early_data: bool,
) -> Result<quiche::Config, quiche::Error> {
    let context = tls
        .context_builder(b"\x02h3")
        .map_err(|_| quiche::Error::TlsFail)?;
    let version = quiche::PROTOCOL_VERSION;
    let mut config = quiche::Config::with_boring_ssl_ctx_builder(version, context)?;
    config.set_application_protos(quiche::h3::APPLICATION_PROTOCOL)?;
    if early_data {
        config.enable_early_data();
    }
    let window = limits.connection_bytes_max as u64;
    config.set_max_idle_timeout(limits.quic_idle_timeout_ms);
    config.set_max_recv_udp_payload_size(1500);
    config.set_max_send_udp_payload_size(DATAGRAM_BYTES_MAX);
    config.discover_pmtu(true);
    config.set_initial_max_data(window);
    config.set_initial_max_stream_data_bidi_remote(STREAM_WINDOW_BYTES.min(window));
    config.set_initial_max_stream_data_bidi_local(STREAM_WINDOW_BYTES.min(window));
    config.set_initial_max_stream_data_uni(64 * 1024);
    config.set_max_stream_window(STREAM_WINDOW_BYTES_MAX.min(window));
    config.set_max_connection_window(window);
    config.set_initial_max_streams_bidi(limits.quic_streams_max);
    config.set_initial_max_streams_uni(UNI_STREAMS_MAX);
    config.set_active_connection_id_limit(PATHS_MAX);
    config.set_disable_active_migration(false);
    // Without SO_TXTIME pacing would cost a timer per packet; bursts are bounded by the window and
    // by each connection's share of a turn.
    config.enable_pacing(false);
    config.grease(false);
    Ok(config)
}

/// The HTTP/3 configuration. QPACK's dynamic table stays off: it buys attackers memory.
pub(super) fn h3(limits: &WireLimits) -> Result<quiche::h3::Config, quiche::h3::Error> {
    let mut config = quiche::h3::Config::new()?;
    // Twice our own limit, so that most heads that are too large get an answer instead of a
    // connection error.
    config.set_max_field_section_size(limits.header_bytes_max as u64 * 2);
    config.set_qpack_max_table_capacity(0);
    config.set_qpack_blocked_streams(0);
    config.enable_extended_connect(true);
    Ok(config)
}
