use super::*;

fn factor(view: View, text: &str) -> Factor {
    Factor {
        view,
        text: text.as_bytes().to_vec(),
    }
}

#[test]
fn a_view_is_what_the_literals_were_made_with() {
    let text: Vec<u8> = (0..=255).collect();
    let mut shown = keep_letters(&text, &mut vec![7; 300]).to_vec();
    shown.make_ascii_lowercase();
    assert_eq!(shown, crate::operators::seen(&text, View::Letters));
    assert_eq!(NO_LETTERS, set_where(|byte| !byte.is_ascii_alphanumeric()));
}

fn survivors(sieve: &Sieve, text: &[u8]) -> OperatorSet {
    let text = (text, &Presence::of(text));
    sieve.survivors(text, &OperatorSet::ALL, &mut Vec::new())
}

#[test]
fn operators_beyond_the_set_are_never_sifted_out() {
    let sieve = Sieve::new((0..1100).map(|_| None));
    let survivors = survivors(&sieve, b"text");
    assert!(!survivors.has(0) && !survivors.has(639) && survivors.has(640));
}

#[test]
fn an_operator_survives_with_one_of_its_literals_or_when_nothing_is_known() {
    let same = |factors: Option<Vec<Factor>>| Factors {
        any: factors.clone(),
        prose: factors,
    };
    let operators = [
        same(Some(vec![factor(View::Letters, "unionselect")])),
        same(None),
        same(Some(vec![
            factor(View::Folded, "<a"),
            factor(View::Folded, "<script"),
        ])),
        same(Some(vec![
            factor(View::Folded, "../"),
            factor(View::Folded, "etc/passwd"),
        ])),
        Factors {
            any: None,
            prose: Some(vec![]),
        },
    ];
    let sieve = Sieve::new(operators.iter().map(Some));
    for (text, expected) in [
        ("", vec![1]),
        ("a", vec![1]),
        ("plain words", vec![1]),
        ("UNION \t SELECT", vec![0, 1]),
        ("x<A", vec![1, 2, 4]),
        ("< a", vec![1, 4]),
        ("..", vec![1]),
        ("../", vec![1, 3]),
        ("/etc/passw", vec![1]),
        ("/etc/passwd <script", vec![1, 2, 3, 4]),
    ] {
        let found = survivors(&sieve, text.as_bytes());
        let found: Vec<u32> = (0..5).filter(|one| found.has(*one)).collect();
        assert_eq!(found, expected, "{text}");
    }
}
