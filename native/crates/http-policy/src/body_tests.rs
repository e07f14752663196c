use super::*;

type Content = Vec<u8>;
type Rest = Vec<u8>;

/// Feeds `text` in pieces of `step` bytes; content read, and what was left over after the end.
fn read(framing: Framing, text: &[u8], step: usize) -> Result<Option<(Content, Rest)>, Refusal> {
    let mut reader = BodyReader::new(framing);
    let mut input = BytesMut::new();
    let mut content = Vec::new();
    let mut pieces = text.chunks(step);
    loop {
        match reader.push(&mut input)? {
            BodyEvent::Data(bytes) => content.extend_from_slice(&bytes),
            BodyEvent::End => {
                let mut rest = input.to_vec();
                pieces.for_each(|piece| rest.extend_from_slice(piece));
                assert!(reader.is_end());
                return Ok(Some((content, rest)));
            }
            BodyEvent::NeedMore => match pieces.next() {
                Some(piece) => input.extend_from_slice(piece),
                None => return Ok(None),
            },
        }
    }
}

#[test]
fn bodies_are_read_whatever_the_pieces() {
    let cases: [(Framing, &str, &str, &str); 13] = [
        (Framing::None, "GET", "", "GET"),
        (Framing::Length(0), "GET", "", "GET"),
        (Framing::Length(3), "abcGET", "abc", "GET"),
        (Framing::Chunked, "0\r\n\r\nGET", "", "GET"),
        (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\n", "abc", ""),
        (
            Framing::Chunked,
            "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nX",
            "abcde",
            "X",
        ),
        (
            Framing::Chunked,
            "A\r\n0123456789\r\n0\r\n\r\n",
            "0123456789",
            "",
        ),
        (
            Framing::Chunked,
            "a\r\n0123456789\r\n0\r\n\r\n",
            "0123456789",
            "",
        ),
        (
            Framing::Chunked,
            "0000000000000001\r\na\r\n0\r\n\r\n",
            "a",
            "",
        ),
        (Framing::Chunked, "1;x=y\r\na\r\n0;z\r\n\r\n", "a", ""),
        (Framing::Chunked, "1;x=\"a b\"\r\na\r\n000\r\n\r\n", "a", ""),
        (
            Framing::Chunked,
            "1\r\na\r\n0\r\nX-Sum: 5\r\nY:\r\n\r\nGET",
            "a",
            "GET",
        ),
        (Framing::Chunked, "2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""),
    ];
    for (framing, text, content, rest) in cases {
        for step in [1, 2, 3, 1000] {
            let got = read(framing, text.as_bytes(), step)
                .expect(text)
                .expect(text);
            assert_eq!(got, (content.into(), rest.into()), "{text:?} by {step}");
        }
    }
}

#[test]
fn an_unfinished_body_waits() {
    let cases = [
        "",
        "3",
        "3\r",
        "3\r\n",
        "3\r\nab",
        "3\r\nabc",
        "3\r\nabc\r",
        "3\r\nabc\r\n",
    ];
    for text in cases
        .iter()
        .chain(&["0\r\n", "0\r\n\r", "0\r\nX: y\r\n", "1;", "1;x=y\r"])
    {
        assert_eq!(
            read(Framing::Chunked, text.as_bytes(), 1),
            Ok(None),
            "{text:?}"
        );
    }
    assert_eq!(read(Framing::Length(4), b"abc", 1), Ok(None));
}

#[test]
fn doubtful_chunks_are_refused() {
    let bad = [
        "\r\n",
        "\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\n",
        " 1\r\n",
        "1 \r\n",
        "1 ;x\r\n",
        "0x1\r\n",
        ";x\r\n",
        "1\n",
        "1\r\na\n",
        "1\r\nab\r\n",
        "1\r\na0\r\n",
        "1\ra\r\n",
        "00000000000000000\r\n",
        "11111111111111111\r\n",
        "1;a\rb\r\n",
        "1;a\0\r\n",
        "1;a\n",
        "0\r\nX\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: a\0\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\n\n",
        "0\r\nContent-Length: 1\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nhost: a\r\n\r\n",
    ];
    for text in bad {
        for step in [1, 1000] {
            let got = read(Framing::Chunked, text.as_bytes(), step);
            assert!(
                matches!(got, Err(Refusal::BadRequest(_))),
                "{text:?} by {step}: {got:?}"
            );
        }
    }
}

#[test]
fn chunk_framing_is_bounded() {
    let extension = |length: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(length));
    assert!(read(Framing::Chunked, extension(256).as_bytes(), 1000).is_ok());
    assert!(read(Framing::Chunked, extension(300).as_bytes(), 1000).is_err());
    assert!(
        read(
            Framing::Chunked,
            format!("1;{}", "x".repeat(300)).as_bytes(),
            7
        )
        .is_err()
    );
}

#[test]
fn trailers_are_given_once_after_the_end() {
    let text = b"1\r\na\r\n0\r\nGRPC-Status:  0 \r\netag:\r\n\r\nGET";
    for step in [1, 1000] {
        let mut reader = BodyReader::new(Framing::Chunked);
        let mut input = BytesMut::new();
        for piece in text.chunks(step) {
            input.extend_from_slice(piece);
            while let BodyEvent::Data(_) = reader.push(&mut input).expect("valid") {}
        }
        let field =
            |name: &'static str, value: &'static str| (Bytes::from(name), Bytes::from(value));
        assert_eq!(
            reader.trailers(),
            [field("grpc-status", "0"), field("etag", "")]
        );
        assert_eq!(reader.trailers(), []);
        assert!(reader.is_end());
    }
}

#[test]
fn trailers_are_bounded() {
    let limits = TrailerLimits {
        count_max: 2,
        bytes_max: 100,
    };
    let end = |trailers: &str| {
        let mut reader = BodyReader::with_trailer_limits(Framing::Chunked, limits);
        reader.push(&mut BytesMut::from(
            format!("0\r\n{trailers}\r\n").as_bytes(),
        ))
    };
    assert_eq!(end("a: b\r\nc: d\r\n"), Ok(BodyEvent::End));
    assert_eq!(
        end("a: b\r\nc: d\r\ne: f\r\n"),
        Err(Refusal::TrailersTooLarge)
    );
    assert_eq!(
        end(&format!("a: {}\r\n", "b".repeat(99))),
        Ok(BodyEvent::End)
    );
    assert_eq!(
        end(&format!("a: {}\r\n", "b".repeat(100))),
        Err(Refusal::TrailersTooLarge)
    );
    assert_eq!(end(&"b".repeat(1000)), Err(Refusal::TrailersTooLarge));
    let trailers = |count: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert!(read(Framing::Chunked, trailers(16).as_bytes(), 1000).is_ok());
    assert!(read(Framing::Chunked, trailers(17).as_bytes(), 1000).is_err());
    let long = format!("0\r\na: {}\r\n\r\n", "b".repeat(9000));
    assert!(read(Framing::Chunked, long.as_bytes(), 1000).is_err());
    let small = format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(50_000));
    assert!(read(Framing::Chunked, small.as_bytes(), 4096).is_ok());
    let padded = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(200);
    assert!(read(Framing::Chunked, padded.as_bytes(), 4096).is_err());
}
