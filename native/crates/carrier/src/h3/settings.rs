//! QUIC and HTTP/3 settings of both ends.

use crate::{Options, tls};
use quiche::CongestionControlAlgorithm;
use std::cell::RefCell;

/// Length of the ids that a server chooses; a client, which has a socket of its own for each
/// connection, needs none.
pub const CID_BYTES: usize = 8;
/// Largest packet: the Ethernet MTU less IPv4 and UDP headers. quiche begins with 1,200 bytes and
/// finds by probes what the path carries (RFC 8899).
pub const PACKET_BYTES_MAX: usize = 1472;
/// What a stream's sender may have under way at first.
const STREAM_WINDOW_BYTES: u64 = 1024 * 1024;
/// Control, two QPACK streams, and room for greasing.
const UNI_STREAMS_MAX: u64 = 8;
/// A request's or a response's fields.
const FIELDS_BYTES_MAX: u64 = 8 * 1024;

pub struct Settings {
    pub server: RefCell<quiche::Config>,
    pub client: RefCell<quiche::Config>,
    pub h3: quiche::h3::Config,
}

impl Settings {
    pub fn new(options: &Options) -> Result<Settings, String> {
        let h3 = h3().map_err(|error| error.to_string())?;
        let quic = |streams| quic(options, streams).map_err(|error| error.to_string());
        Ok(Settings {
            // One carrier for each connection.
            server: RefCell::new(quic(1)?),
            client: RefCell::new(quic(0)?),
            h3,
        })
    }
}

fn quic(options: &Options, streams: u64) -> Result<quiche::Config, quiche::Error> {
    let context = tls::quic_context(options).map_err(|_| quiche::Error::TlsFail)?;
    let version = quiche::PROTOCOL_VERSION;
    let mut config = quiche::Config::with_boring_ssl_ctx_builder(version, context)?;
    config.set_application_protos(quiche::h3::APPLICATION_PROTOCOL)?;
    let window = options.window_bytes_max;
    config.set_max_idle_timeout(options.silence_ms);
    config.set_max_recv_udp_payload_size(PACKET_BYTES_MAX + 28);
    config.set_max_send_udp_payload_size(PACKET_BYTES_MAX);
    config.discover_pmtu(true);
    config.set_initial_max_data(STREAM_WINDOW_BYTES.min(window));
    config.set_initial_max_stream_data_bidi_remote(STREAM_WINDOW_BYTES.min(window));
    config.set_initial_max_stream_data_bidi_local(STREAM_WINDOW_BYTES.min(window));
    config.set_initial_max_stream_data_uni(64 * 1024);
    config.set_max_stream_window(window);
    config.set_max_connection_window(window);
    config.set_initial_max_streams_bidi(streams);
    config.set_initial_max_streams_uni(UNI_STREAMS_MAX);
    let packets = options.queue_packets_max;
    config.enable_dgram(true, packets, packets);
    // One TCP stream inside: BBRv2 had half to two thirds of its rate, and a sixth more where one
    // packet in 200 was lost.
    config.set_cc_algorithm(CongestionControlAlgorithm::CUBIC);
    // Without SO_TXTIME pacing would cost a timer per packet; what rides inside has its own pace.
    config.enable_pacing(false);
    config.grease(false);
    Ok(config)
}

fn h3() -> Result<quiche::h3::Config, quiche::h3::Error> {
    let mut config = quiche::h3::Config::new()?;
    config.set_max_field_section_size(FIELDS_BYTES_MAX);
    config.set_qpack_max_table_capacity(0);
    config.set_qpack_blocked_streams(0);
    config.enable_extended_connect(true);
    Ok(config)
}
