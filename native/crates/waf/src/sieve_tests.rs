#![allow(clippy::indexing_slicing)]

use super::*;

fn factor(view: View, text: &str) -> Factor {
    Factor {
        view,
        text: text.as_bytes().to_vec(),
    }
}

fn survivors(sieve: &Sieve, text: &[u8]) -> OperatorSet {
    let text = (text, &Presence::of(text));
    sieve.survivors(text, &OperatorSet::ALL, &mut Letters::default())
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

#[test]
fn what_is_left_out_in_dense_texts_was_found_and_nothing_else_is_missed() {
    let words: Vec<String> = (0..400u32)
        .map(|n| {
            let length = 2 + n % 5;
            let letters =
                (0..length).map(|at| b"abcd"[(n * 7 + n / 3 * at + at * at) as usize % 4]);
            letters.map(char::from).collect()
        })
        .collect();
    let same = |word: &String| {
        let factors = Some(vec![factor(View::Folded, word)]);
        Factors {
            any: factors.clone(),
            prose: factors,
        }
    };
    let operators: Vec<Factors> = words.iter().map(same).collect();
    let sieve = Sieve::new(operators.iter().map(Some));
    let mut left = 0;
    for stretch in [STRETCH_BYTES, 5 * STRETCH_BYTES] {
        for (dense, place) in [("ab", 0), ("aabbab", 1), ("abcabd", 2), ("zzz", 3)] {
            for word in words.iter().step_by(17) {
                // The word lies across the place from which on less is looked for.
                let mut text = dense.repeat(2 * stretch / dense.len());
                text.replace_range(stretch - place..stretch - place + word.len(), word);
                let found = survivors(&sieve, text.as_bytes());
                for (operator, word) in (0..).zip(&words) {
                    assert_eq!(found.has(operator), text.contains(word.as_str()), "{word}");
                    left += u32::from(!found.has(operator));
                }
            }
        }
    }
    assert!(left > 0, "every text has every word");
}

#[test]
fn forms_of_a_text_with_the_same_letters_are_answered_as_if_each_came_alone() {
    let factors = |any: &[(View, &str)], prose: &[(View, &str)]| Factors {
        any: Some(any.iter().map(|(view, text)| factor(*view, text)).collect()),
        prose: Some(
            prose
                .iter()
                .map(|(view, text)| factor(*view, text))
                .collect(),
        ),
    };
    let union = [(View::Letters, "unionselect")];
    let path = [(View::Folded, "/etc/passwd"), (View::Letters, "catx")];
    let all = [
        factors(&union, &union),
        factors(&path, &[(View::Letters, "cat")]),
        factors(&[(View::Folded, "<script"), (View::Letters, "script")], &[]),
    ];
    let sieve = Sieve::new(all.iter().map(Some));
    let mut letters = Letters::default();
    for text in [
        "Union Select /etc/passwd",
        "union select /etc/passwd",
        "unionselect/etc/passwd",
        "union select <etc passwd",
        "union select etc passwd",
        "c'at; <script",
        "cat; script",
        "x",
        "cat script",
        "CAT <script",
    ] {
        let presence = Presence::of(text.as_bytes());
        let kept = sieve.survivors(
            (text.as_bytes(), &presence),
            &OperatorSet::ALL,
            &mut letters,
        );
        assert_eq!(kept, survivors(&sieve, text.as_bytes()), "{text}");
    }
}
