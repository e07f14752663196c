use super::h2::{connect, exchange};
use super::link::Stream;
use super::*;
use crate::client::{Client, Failure, RequestBody};
use crate::seam::{BodyError, BodySource, Gone, ResponseHead, ResponseSink};
use crate::timers::Timers;
use bytes::BytesMut;
use edge_http_policy::{HeadLimits, read_head};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::pending;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

const PATIENCE: Duration = Duration::from_secs(10);

fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let limited = async { tokio::time::timeout(PATIENCE, test).await.unwrap() };
    LocalSet::new().block_on(&runtime, limited);
}

/// A connection: the wire's side and the endpoint's.
async fn pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (Stream::Tcp(ours.unwrap()), accepted.unwrap().0)
}

fn manner(framing: RequestFraming) -> Manner {
    Manner {
        framing,
        patience: PATIENCE,
        to_head_request: false,
        trailers: TrailerLimits::default(),
    }
}

fn field(name: &'static str, value: &'static str) -> Field {
    (Bytes::from(name), Bytes::from(value))
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        assert!(stream.read_buf(&mut text).await.unwrap() > 0);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn h1_carries_trailers_both_ways() {
    run(async {
        let (ours, mut endpoint) = pair().await;
        let mut link = Link::new(ours);
        let head = BytesMut::from(&b"POST / HTTP/1.1\r\n\r\n"[..]);
        let (mut up, mut down) = link.exchange(head, &manner(RequestFraming::Chunked));
        assert!(up.open(Bytes::from("ab"), false).await.unwrap());
        assert!(up.end(vec![field("grpc-x", "1")]).await.unwrap());
        let sent = read_until(&mut endpoint, "grpc-x: 1\r\n\r\n").await;
        assert!(sent.ends_with("\r\n\r\n2\r\nab\r\n0\r\ngrpc-x: 1\r\n\r\n"));
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            1\r\nx\r\n0\r\nGrpc-Status: 0\r\n\r\n";
        endpoint.write_all(answer.as_bytes()).await.unwrap();
        assert_eq!(down.head().await.unwrap().framing, ResponseFraming::Unknown);
        assert_eq!(down.piece().await, Ok(Some(Bytes::from("x"))));
        assert_eq!(down.piece().await, Ok(None));
        assert_eq!(down.trailers(), vec![field("grpc-status", "0")]);
        assert!(down.reusable());
        assert!(link.is_idle());
        endpoint.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while link.is_idle() {
            tokio::task::yield_now().await;
        }
    });
}

fn request() -> http::Request<()> {
    let request = http::Request::post("http://a.test/").version(http::Version::HTTP_2);
    request.body(()).unwrap()
}

#[test]
fn h2_carries_trailers_both_ways() {
    run(async {
        let (ours, endpoint) = pair().await;
        let served = spawn_local(async move {
            let mut connection = ::h2::server::handshake(endpoint).await.unwrap();
            let (mut request, mut respond) = connection.accept().await.unwrap().unwrap();
            let serving = spawn_local(async move {
                let body = request.body_mut();
                let piece = body.data().await.unwrap().unwrap();
                let trailers = body.trailers().await.unwrap().unwrap();
                let mut sent = respond
                    .send_response(http::Response::new(()), false)
                    .unwrap();
                sent.send_data(piece, false).unwrap();
                sent.send_trailers(trailers).unwrap();
            });
            while connection.accept().await.is_some() {}
            serving.await.unwrap();
        });
        let session = connect(ours).await.unwrap();
        let asked = exchange(&session, request(), &manner(RequestFraming::Chunked));
        let (mut up, mut down) = asked.map_err(|broken| broken.code).unwrap();
        assert!(session.has_room() && !session.idle_longer_than(Duration::ZERO));
        assert!(up.open(Bytes::from("ab"), false).await.unwrap());
        assert!(up.end(vec![field("grpc-x", "1")]).await.unwrap());
        assert_eq!(down.head().await.unwrap().framing, ResponseFraming::Unknown);
        assert_eq!(down.piece().await, Ok(Some(Bytes::from("ab"))));
        assert_eq!(down.piece().await, Ok(None));
        assert_eq!(down.trailers(), vec![field("grpc-x", "1")]);
        drop((up, down));
        assert!(session.idle_longer_than(Duration::ZERO));
        drop(session); // the last who might ask: the connection ends
        served.await.unwrap();
    });
}

#[test]
fn a_stream_above_the_goaway_was_not_processed() {
    run(async {
        let (ours, endpoint) = pair().await;
        spawn_local(async move {
            let mut connection = ::h2::server::handshake(endpoint).await.unwrap();
            connection.abrupt_shutdown(::h2::Reason::NO_ERROR);
            while connection.accept().await.is_some() {}
        });
        let session = connect(ours).await.unwrap();
        let asked = exchange(&session, request(), &manner(RequestFraming::None));
        let broken = match asked {
            Ok((_up, mut down)) => down.head().await.unwrap_err(),
            Err(broken) => broken,
        };
        assert_eq!(broken.progress, Progress::Unprocessed);
        assert!(!session.is_open());
    });
}

/// A client of which only bytes matter.
#[derive(Clone, Default)]
struct Said(Rc<RefCell<(Vec<u8>, &'static str)>>);

impl ResponseSink for Said {
    async fn interim(&mut self, _: u16, _: Vec<Field>) -> Result<(), Gone> {
        Ok(())
    }
    async fn head(&mut self, _: ResponseHead) -> Result<(), Gone> {
        Ok(())
    }
    async fn data(&mut self, piece: Bytes) -> Result<(), Gone> {
        self.0.borrow_mut().0.extend_from_slice(&piece);
        Ok(())
    }
    async fn end(&mut self) -> Result<(), Gone> {
        self.0.borrow_mut().1 = "ended";
        Ok(())
    }
    fn reset(&mut self) {}
    async fn closed(&mut self) {
        pending().await
    }
}

/// What the client sends; then it closed its side, or (`open`) is silent.
struct Says {
    pieces: VecDeque<Result<Bytes, BodyError>>,
    open: bool,
    tunnel: bool,
}

impl BodySource for Says {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        assert!(self.tunnel, "read before the tunnel was open");
        match self.pieces.pop_front() {
            None if self.open => pending().await,
            next => next,
        }
    }
    fn open_tunnel(&mut self) {
        self.tunnel = true;
    }
}

/// Runs a tunnel between a client that `says` and an endpoint; returns how it ended, and the bytes
/// up and down as the outcome counts them.
async fn tunnelled(
    says: (Vec<Result<Bytes, BodyError>>, bool),
    idle: Duration,
    endpoint: impl AsyncFnOnce(TcpStream) + 'static,
) -> (Result<(), Failure>, Said, (u64, u64)) {
    let (ours, theirs) = pair().await;
    let timers = Rc::new(Timers::default());
    spawn_local(timers.clone().run());
    spawn_local(endpoint(theirs));
    let limits = HeadLimits {
        bytes_max: 1000,
        line_bytes_max: 1000,
        count_max: 10,
    };
    let mut text = BytesMut::from(&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..]);
    let head = read_head(&mut text, &limits).unwrap().unwrap();
    let (said, mut link) = (Said::default(), Link::new(ours));
    link.input.extend_from_slice(b"behind the head,");
    let mut client = Client::new(said.clone(), &head);
    let source = Says {
        pieces: says.0.into(),
        open: says.1,
        tunnel: false,
    };
    let mut body = RequestBody::new(source, &head);
    let ended = tunnel(&mut link, &timers, idle, (&mut body, &mut client)).await;
    (ended, said, (body.bytes(), client.body_bytes()))
}

#[test]
fn a_tunnel_carries_bytes_both_ways_and_half_closes() {
    run(async {
        let says = vec![Ok(Bytes::from("ping")), Ok(Bytes::from(" pong"))];
        let (ended, said, bytes) = tunnelled((says, false), PATIENCE, async |mut stream| {
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap(); // to the client's end
            stream.write_all(text.as_bytes()).await.unwrap();
        })
        .await;
        assert_eq!(ended, Ok(()));
        let seen = said.0.borrow();
        assert_eq!(seen.0, b"behind the head,ping pong");
        assert_eq!((seen.1, bytes), ("ended", (9, 25)));
    });
}

#[test]
fn a_tunnel_ends_when_nobody_speaks_or_the_client_is_gone() {
    run(async {
        let idle = Duration::from_millis(50);
        let silent = async |_stream: TcpStream| pending().await;
        let (ended, ..) = tunnelled((Vec::new(), true), idle, silent).await;
        assert_eq!(ended, Err(ErrorCode::UpstreamIdleTimeout.into()));
        let gone = vec![Err(BodyError::Incomplete)];
        let (ended, ..) = tunnelled((gone, true), PATIENCE, silent).await;
        assert_eq!(ended, Err(Failure::Gone));
        let cut = async |stream: TcpStream| {
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        };
        let (ended, ..) = tunnelled((Vec::new(), true), PATIENCE, cut).await;
        assert_eq!(ended, Err(ErrorCode::UpstreamClosed.into()));
    });
}
