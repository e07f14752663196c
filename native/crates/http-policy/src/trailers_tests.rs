use super::*;

const LIMITS: TrailerLimits = TrailerLimits {
    count_max: 3,
    bytes_max: 20,
};

fn check(fields: &[(&str, &str)]) -> Result<usize, Refusal> {
    let fields = fields.iter().map(|(name, value)| {
        (
            Bytes::copy_from_slice(name.as_bytes()),
            Bytes::copy_from_slice(value.as_bytes()),
        )
    });
    trailers(fields, &LIMITS).map(|kept| kept.len())
}

#[test]
fn trailers_keep_their_order_and_values() {
    let fields = [("grpc-status", "0"), ("etag", ""), ("x", "\u{e4}")];
    assert_eq!(check(&fields), Ok(3));
    assert_eq!(check(&[]), Ok(0));
}

#[test]
fn limits_are_exact() {
    assert_eq!(check(&[("a", ""), ("a", ""), ("a", "")]), Ok(3));
    let four = [("a", ""); 4];
    assert_eq!(check(&four), Err(Refusal::TrailersTooLarge));
    assert_eq!(check(&[("a", "123456789"), ("b", "123456789")]), Ok(2));
    let over = [("a", "123456789"), ("b", "1234567890")];
    assert_eq!(check(&over), Err(Refusal::TrailersTooLarge));
}

#[test]
fn what_no_trailer_may_hold_is_refused() {
    let bad = [
        ("Upper", "x"),
        ("", "x"),
        ("a b", "x"),
        ("a:", "x"),
        (":status", "200"),
        (":path", "/"),
        ("a", "x\r\ny"),
        ("a", "x\0"),
        ("a", " x"),
        ("a", "x\t"),
        ("content-length", "1"),
        ("content_length", "1"),
        ("transfer-encoding", "x"),
        ("host", "h"),
        ("connection", "x"),
        ("te", "x"),
        ("trailer", "x"),
        ("upgrade", "x"),
        ("expect", "x"),
        ("range", "x"),
        ("cookie", "x"),
        ("set-cookie", "x"),
        ("authorization", "x"),
        ("x-forwarded-for", "x"),
        ("x_forwarded-by", "x"),
        ("content-type", "x"),
        ("cache-control", "x"),
    ];
    for field in bad {
        let got = check(&[field]);
        assert!(matches!(got, Err(Refusal::BadRequest(_))), "{field:?}");
    }
}
