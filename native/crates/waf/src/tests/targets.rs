//! Which values leaves see, and after which transformations.

use super::scan;

#[test]
fn leaves_hit_what_their_targets_name() {
    let get = "GET /a%2fb/c.php?x=1&y=%3Cb%3E&x=2 HTTP/1.1\nHost: a.test:80\nUser-Agent: curl/8\n\
        Cookie: s=1; t=a=b;  ; =u; v \nX-A: One\nx-a: two";
    let form = "POST /f?q=1\nContent-Type: application/x-www-form-urlencoded\n\na=1&b=x+y";
    let cases: [(&str, &str, &[&str]); 38] = [
        (
            "ARGS ;  ; @rx . ; ",
            get,
            &["0 ARGS:x=1", "0 ARGS:y=<b>", "0 ARGS:x=2"],
        ),
        ("ARGS:X ;  ; @rx . ; ", get, &["0 ARGS:x=1", "0 ARGS:x=2"]),
        ("ARGS|!ARGS:x ;  ; @rx . ; ", get, &["0 ARGS:y=<b>"]),
        ("ARGS:/^Y/ ;  ; @rx . ; ", get, &["0 ARGS:y=<b>"]),
        ("ARGS|!ARGS:/x/ ;  ; @rx . ; ", get, &["0 ARGS:y=<b>"]),
        (
            "ARGS:x|ARGS:y ;  ; @rx [1<] ; ",
            get,
            &["0 ARGS:x=1", "0 ARGS:y=<b>"],
        ),
        (
            "ARGS:y|ARGS:x ;  ; @rx [1<] ; ",
            get,
            &["0 ARGS:y=<b>", "0 ARGS:x=1"],
        ),
        (
            "ARGS_NAMES ;  ; @streq x ; ",
            get,
            &["0 ARGS_NAMES:x=x", "0 ARGS_NAMES:x=x"],
        ),
        ("&ARGS ;  ; @eq 3 ; ", get, &["0 ARGS=3"]),
        ("&ARGS:x ;  ; @eq 2 ; ", get, &["0 ARGS:x=2"]),
        ("&ARGS:none ;  ; @eq 0 ; ", get, &["0 ARGS:none=0"]),
        (
            "&REQUEST_HEADERS:host ;  ; !@eq 0 ; ",
            get,
            &["0 REQUEST_HEADERS:host=1"],
        ),
        ("ARGS:none ;  ; !@rx x ; ", get, &[]),
        (
            "ARGS_GET|ARGS_POST ;  ; @rx . ; ",
            form,
            &["0 ARGS_GET:q=1", "0 ARGS_POST:a=1", "0 ARGS_POST:b=x y"],
        ),
        (
            "ARGS ;  ; @rx . ; ",
            form,
            &["0 ARGS:q=1", "0 ARGS:a=1", "0 ARGS:b=x y"],
        ),
        (
            "REQUEST_COOKIES ;  ; @rx ^ ; ",
            get,
            &[
                "0 REQUEST_COOKIES:s=1",
                "0 REQUEST_COOKIES:t=a=b",
                "0 REQUEST_COOKIES:v=",
            ],
        ),
        (
            "REQUEST_COOKIES_NAMES ;  ; @streq t ; ",
            get,
            &["0 REQUEST_COOKIES_NAMES:t=t"],
        ),
        (
            "REQUEST_HEADERS:X-A ;  ; @rx . ; ",
            get,
            &["0 REQUEST_HEADERS:X-A=One", "0 REQUEST_HEADERS:x-a=two"],
        ),
        (
            "REQUEST_HEADERS_NAMES ;  ; @rx ^X ; ",
            get,
            &["0 REQUEST_HEADERS_NAMES:X-A=X-A"],
        ),
        (
            "REQUEST_HEADERS|!REQUEST_HEADERS:Cookie|!REQUEST_HEADERS:/^x-/ ;  ; @rx . ; ",
            get,
            &[
                "0 REQUEST_HEADERS:Host=a.test:80",
                "0 REQUEST_HEADERS:User-Agent=curl/8",
            ],
        ),
        ("REQUEST_METHOD ;  ; @streq GET ; p1", get, &[]),
        (
            "REQUEST_URI ;  ; @rx . ; ",
            get,
            &["0 REQUEST_URI=/a/b/c.php?x=1&y=<b>&x=2"],
        ),
        (
            "REQUEST_URI ;  ; @rx . ; ",
            "GET http://h.test:1/p?q HTTP/1.1",
            &["0 REQUEST_URI=/p?q"],
        ),
        (
            "REQUEST_URI_RAW ;  ; @rx . ; ",
            "GET http://h.test:1/p?q HTTP/1.1",
            &["0 REQUEST_URI_RAW=http://h.test:1/p?q"],
        ),
        (
            "REQUEST_FILENAME ;  ; @rx . ; ",
            get,
            &["0 REQUEST_FILENAME=/a/b/c.php"],
        ),
        (
            "REQUEST_FILENAME ;  ; @rx . ; ",
            "GET /a%3fb/../etc HTTP/1.1",
            &["0 REQUEST_FILENAME=/a?b/../etc"],
        ),
        (
            "REQUEST_BASENAME ;  ; @rx . ; ",
            get,
            &["0 REQUEST_BASENAME=c.php"],
        ),
        (
            "QUERY_STRING ;  ; @rx . ; ",
            get,
            &["0 QUERY_STRING=x=1&y=%3Cb%3E&x=2"],
        ),
        (
            "QUERY_STRING ;  ; !@rx x ; ",
            "GET / HTTP/1.1",
            &["0 QUERY_STRING="],
        ),
        (
            "REQUEST_LINE ;  ; @rx ^GET\\x20.*HTTP/1.1$ ; ",
            "GET /a HTTP/1.1",
            &["0 REQUEST_LINE=GET /a HTTP/1.1"],
        ),
        (
            "REQUEST_PROTOCOL ;  ; !@streq HTTP/1.1 ; ",
            "GET /a HTTP/3.0",
            &["0 REQUEST_PROTOCOL=HTTP/3.0"],
        ),
        (
            "SERVER_NAME|REMOTE_ADDR|SERVER_PORT|UNIQUE_ID ;  ; @rx . ; ",
            get,
            &[
                "0 SERVER_NAME=a.test",
                "0 REMOTE_ADDR=192.0.2.1",
                "0 SERVER_PORT=443",
                "0 UNIQUE_ID=id-1",
            ],
        ),
        (
            "REQUEST_BODY|REQUEST_BODY_LENGTH|REQBODY_PROCESSOR|REQBODY_ERROR ;  ; @rx . ; ",
            form,
            &[
                "0 REQUEST_BODY=a=1&b=x+y",
                "0 REQUEST_BODY_LENGTH=9",
                "0 REQBODY_PROCESSOR=URLENCODED",
                "0 REQBODY_ERROR=0",
            ],
        ),
        (
            "ARGS_COMBINED_SIZE ;  ; @gt 1 ; ",
            form,
            &["0 ARGS_COMBINED_SIZE=8"],
        ),
        (
            "FULL_REQUEST ;  ; @rx (?s)^Content-Type.*x\\+y$ ; ",
            form,
            &["0 FULL_REQUEST=Content-Type: application/x-www-form-urlencoded\n\n\na=1&b=x+y"],
        ),
        (
            "ARGS:y ; lowercase ; @rx (<)(.) ; capture",
            get,
            &["0 ARGS:y=<b> [<b,<,b]"],
        ),
        ("ARGS:y ;  ; !@rx (z) ; capture", get, &["0 ARGS:y=<b>"]),
        (
            "REQUEST_HEADERS:/x-/ ; lowercase ; @rx o ; ",
            get,
            &["0 REQUEST_HEADERS:X-A=one", "0 REQUEST_HEADERS:x-a=two"],
        ),
    ];
    for (rule, request, expected) in cases {
        assert_eq!(scan(&[rule], request, 2), expected, "{rule}");
    }
}

#[test]
fn hits_come_by_leaf_then_target() {
    let rules = [
        "ARGS:b|ARGS:a ;  ; @rx . ; ",
        "ARGS:a ;  ; @rx . ; ",
        "ARGS ;  ; @rx z ; ",
    ];
    let seen = scan(&rules, "GET /?a=1&b=2", 2);
    assert_eq!(seen, ["0 ARGS:b=2", "0 ARGS:a=1", "1 ARGS:a=1"]);
}

#[test]
fn chains_share_prefixes_and_still_see_their_own_text() {
    let rules = [
        "ARGS ; urldecodeuni,lowercase ; @streq <a> ; ",
        "ARGS ; urldecodeuni ; @streq <A> ; ",
        "ARGS ; lowercase ; @streq %3ca%3e ; ",
        "ARGS ; lowercase,urldecodeuni ; @streq <a> ; ",
        "ARGS ;  ; @streq %3CA%3E ; ",
        "ARGS ; none ; @streq %3CA%3E ; ",
    ];
    let seen = scan(&rules, "GET /?q=%253CA%253E", 2);
    let expected = ["<a>", "<A>", "%3ca%3e", "<a>", "%3CA%3E", "%3CA%3E"];
    let expected: Vec<String> = expected
        .iter()
        .enumerate()
        .map(|(leaf, value)| format!("{leaf} ARGS:q={value}"))
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn multi_match_tests_each_text_that_changed() {
    let rule = ["ARGS ; urldecode,lowercase,trim ; @rx (?i)b ; multiMatch"];
    assert_eq!(
        scan(&rule, "GET /?q=%2541B", 2),
        ["0 ARGS:q=%41B", "0 ARGS:q=AB", "0 ARGS:q=ab"]
    );
    assert_eq!(scan(&rule, "GET /?q=ab", 2), ["0 ARGS:q=ab"]);
}

#[test]
fn an_empty_text_is_seen() {
    assert_eq!(scan(&["ARGS ;  ; @rx ^$ ; "], "GET /?q=", 2), ["0 ARGS:q="]);
    assert_eq!(scan(&["ARGS ;  ; !@rx a ; "], "GET /?q=", 2), ["0 ARGS:q="]);
}

#[test]
fn a_large_value_is_seen_as_a_small_one_is() {
    let rules = [
        "ARGS ; urldecode,lowercase,trim ; @endswith z ; ",
        "ARGS ; lowercase,removewhitespace ; @endswith %5az ; ",
        "ARGS ; urldecode,lowercase,length ; @streq 200002 ; ",
        "ARGS ; urldecode ; @endswith Z ; multiMatch",
        "ARGS ; lowercase,removewhitespace,length ; @streq 200004 ; ",
    ];
    let leaves = |request: &str| -> Vec<String> {
        let hits = scan(&rules, request, 2);
        hits.iter().map(|hit| hit[..1].to_owned()).collect()
    };
    let small = leaves(&format!("GET /?q={}%255AZ", "a".repeat(8)));
    assert_eq!(small, ["0", "1", "3", "3"]);
    let large = leaves(&format!("GET /?q={}%255AZ", "a".repeat(200_000)));
    assert_eq!(large, ["0", "1", "2", "3", "3", "4"]);
}
