use super::*;

fn network(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

/// Length and kind, then the bytes.
fn attribute(kind: u16, bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.put(kind, bytes);
    writer.bytes()
}

const NESTED: u16 = 0x8000;

fn peer(parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(NESTED, &parts.concat())
}

fn message(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

fn texts(messages: Vec<Writer>) -> Vec<Vec<u8>> {
    messages.into_iter().map(Writer::bytes).collect()
}

#[test]
fn a_device_is_set_by_its_index() {
    let own = OwnStep {
        private_key: Some([9; 32]),
        port: Some(51_820),
        mark: Some(0x77),
    };
    let wanted = message(&[
        vec![8, 0, 1, 0, 5, 0, 0, 0],
        attribute(3, &[9; 32]),
        vec![6, 0, 6, 0, 0x6c, 0xca, 0, 0],
        vec![8, 0, 7, 0, 0x77, 0, 0, 0],
    ]);
    assert_eq!(texts(set_messages(5, &own, &[])), [wanted]);
}

#[test]
fn peers_are_set_one_by_one_and_the_list_is_never_replaced() {
    let steps = [
        PeerStep {
            key: [1; 32],
            endpoint: Some("192.0.2.1:51820".parse().unwrap()),
            keepalive_s: Some(25),
            allow: vec![network("10.0.0.0/8"), network("fd00::/64")],
            ..PeerStep::default()
        },
        PeerStep {
            key: [2; 32],
            is_removed: true,
            ..PeerStep::default()
        },
    ];
    let v4 = [
        vec![6, 0, 1, 0, 2, 0, 0, 0],
        vec![8, 0, 2, 0, 10, 0, 0, 0],
        vec![5, 0, 3, 0, 8, 0, 0, 0],
    ];
    let address = [&[0xfd][..], &[0; 15]].concat();
    let v6 = [
        vec![6, 0, 1, 0, 10, 0, 0, 0],
        attribute(2, &address),
        vec![5, 0, 3, 0, 64, 0, 0, 0],
    ];
    let allowed = [peer(&v4), peer(&v6)].concat();
    let first = peer(&[
        attribute(1, &[1; 32]),
        attribute(4, &[2, 0, 0xca, 0x6c, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        attribute(5, &[25, 0]),
        attribute(9 | NESTED, &allowed),
    ]);
    let second = peer(&[attribute(1, &[2; 32]), attribute(3, &[1, 0, 0, 0])]);
    let wanted = message(&[
        vec![8, 0, 1, 0, 5, 0, 0, 0],
        attribute(8 | NESTED, &[first, second].concat()),
    ]);
    assert_eq!(
        texts(set_messages(5, &OwnStep::default(), &steps)),
        [wanted]
    );
}

#[test]
fn an_endpoint_of_ipv6_is_one_of_the_kernel() {
    let bytes = socket_address("[2001:db8::1]:443".parse().unwrap());
    assert_eq!(bytes.len(), 28);
    assert_eq!(bytes[..8], [10, 0, 1, 187, 0, 0, 0, 0]);
    assert_eq!(endpoint(&bytes), "[2001:db8::1]:443".parse().ok());
}

#[test]
fn many_peers_and_many_prefixes_go_in_messages_that_fit() {
    let peers = (0..2000_u16).map(|number| {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        let count = if number == 7 { 3000 } else { 2 };
        let octets = |at: u16| [10, (at >> 8) as u8, at as u8, number as u8];
        let allow = (0..count).map(|at| IpNetwork::new(octets(at).into(), 32).unwrap());
        PeerStep {
            key,
            keepalive_s: Some(number),
            allow: allow.collect(),
            ..PeerStep::default()
        }
    });
    let peers: Vec<_> = peers.collect();
    let messages = texts(set_messages(5, &OwnStep::default(), &peers));
    assert!(messages.len() > 5);
    let mut state = DeviceState::default();
    for message in &messages {
        assert!(message.len() <= PEERS_BYTES_MAX + 100, "{}", message.len());
        state.take(message);
    }
    // What was written is what a kernel would say that it has.
    assert_eq!(state.peers.len(), peers.len());
    for (state, step) in state.peers.iter().zip(&peers) {
        assert_eq!((state.key, &state.allowed), (step.key, &step.allow));
        assert_eq!(Some(state.keepalive_s), step.keepalive_s);
    }
}

#[test]
fn a_dump_is_read_and_a_divided_peer_is_one() {
    let moment = [
        1_700_000_000_u64.to_ne_bytes(),
        250_000_000_u64.to_ne_bytes(),
    ]
    .concat();
    let allowed = |text: &str| {
        let mut list = Writer::default();
        list.nest(0, super::allowed(&network(text)));
        attribute(9 | NESTED, &list.bytes())
    };
    let whole = peer(&[
        attribute(1, &[1; 32]),
        attribute(2, &[0; 32]),
        attribute(4, &socket_address("192.0.2.1:7".parse().unwrap())),
        attribute(5, &[25, 0]),
        attribute(6, &moment),
        attribute(7, &11_u64.to_ne_bytes()),
        attribute(8, &12_u64.to_ne_bytes()),
        allowed("10.0.0.1/32"),
    ]);
    let rest = peer(&[attribute(1, &[1; 32]), allowed("10.0.0.2/32")]);
    let never = peer(&[attribute(1, &[2; 32]), attribute(6, &[0; 16])]);
    let mut state = DeviceState::default();
    let own = [attribute(3, &[9; 32]), attribute(8 | NESTED, &whole)];
    state.take(&message(&own));
    state.take(&attribute(8 | NESTED, &[rest, never].concat()));
    assert_eq!(state.private_key, Some([9; 32]));
    let wanted = [
        PeerState {
            key: [1; 32],
            endpoint: "192.0.2.1:7".parse().ok(),
            keepalive_s: 25,
            last_handshake_ms: Some(1_700_000_000_250),
            received_bytes: 11,
            sent_bytes: 12,
            allowed: vec![network("10.0.0.1/32"), network("10.0.0.2/32")],
        },
        PeerState {
            key: [2; 32],
            ..PeerState::default()
        },
    ];
    assert_eq!(state.peers, wanted);
    state.take(&attribute(3, &[0; 32]));
    assert_eq!(state.private_key, None);
}
