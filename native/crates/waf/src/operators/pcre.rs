//! PCRE's spelling of a pattern rewritten to the regex crate's, both in byte mode.
//!
//! Patterns come as Latin-1. Everything that the two dialects read differently is respelled as
//! `\xhh` or a class; what only a backtracking engine can do is passed on and reported.

use std::fmt::Write;

/// A pattern in the regex crate's syntax.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) pattern: String,
    /// A possessive quantifier: the regex crate would read `a++` as `(?:a+)+`.
    pub(super) possessive: bool,
}

/// Vertical and horizontal white space of PCRE's byte mode, as class members.
const VERTICAL: &str = r"\n\x0b\x0c\r\x85";
const HORIZONTAL: &str = r"\t\x20\xa0";

/// Rewrites a pattern; the error says which escape cannot be meant.
pub(super) fn rewrite(pattern: &[u8]) -> Result<Rewritten, String> {
    let mut rewriter = Rewriter {
        rest: pattern,
        out: String::new(),
        possessive: false,
    };
    while let [first, tail @ ..] = rewriter.rest {
        rewriter.rest = tail;
        rewriter.outside_class(*first)?;
    }
    Ok(Rewritten {
        pattern: rewriter.out,
        possessive: rewriter.possessive,
    })
}

struct Rewriter<'a> {
    rest: &'a [u8],
    out: String,
    possessive: bool,
}

/// What the member of a class before a `-` was: a range may start only at a single byte.
#[derive(Clone, Copy, PartialEq)]
enum Member {
    Byte,
    Other,
}

impl Rewriter<'_> {
    fn outside_class(&mut self, first: u8) -> Result<(), String> {
        match (first, self.rest) {
            (b'\\', _) => self.escape(),
            (b'[', _) => self.class(),
            (b'(', [b'?', b'#', comment @ ..]) => {
                let end = memchr::memchr(b')', comment).ok_or("unclosed (?# comment")?;
                self.rest = comment.get(end + 1..).unwrap_or_default();
                Ok(())
            }
            (b'(', [b'?', tail @ ..]) => {
                self.rest = tail;
                self.out.push_str("(?");
                Ok(())
            }
            (b'{', tail) if !opens_quantifier(tail) => {
                self.literal(b'{');
                Ok(())
            }
            (b'*' | b'+' | b'?' | b'}', tail) => {
                self.possessive |= tail.first() == Some(&b'+');
                self.out.push(char::from(first));
                Ok(())
            }
            (0x80.., _) => {
                self.literal(first);
                Ok(())
            }
            _ => {
                self.out.push(char::from(first));
                Ok(())
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        let [letter, tail @ ..] = self.rest else {
            return Err("the pattern ends in a backslash: double it to match one".to_owned());
        };
        self.rest = tail;
        match letter {
            b'h' => self.push(&format!("[{HORIZONTAL}]")),
            b'H' => self.push(&format!("[^{HORIZONTAL}]")),
            b'v' => self.push(&format!("[{VERTICAL}]")),
            b'V' => self.push(&format!("[^{VERTICAL}]")),
            b'N' => self.push(r"[^\n]"),
            b'R' => self.push(&format!(r"(?:\r\n|[{VERTICAL}])")),
            b'Q' => {
                let end = memchr::memmem::find(tail, br"\E").unwrap_or(tail.len());
                tail.iter().take(end).for_each(|&byte| self.literal(byte));
                self.rest = tail.get(end + 2..).unwrap_or_default();
            }
            b'E' => {}
            b'0' => self.octal(0, 2)?,
            _ => return self.escape_of_byte(*letter),
        }
        Ok(())
    }

    /// The escapes that mean the same inside and outside a class.
    fn escape_of_byte(&mut self, letter: u8) -> Result<(), String> {
        match letter {
            b'x' => return self.hexadecimal(),
            b'e' => self.literal(0x1b),
            b'c' => {
                let [control, tail @ ..] = self.rest else {
                    return Err(r"\c wants a character after it".to_owned());
                };
                self.rest = tail;
                self.literal(control.to_ascii_uppercase() ^ 0x40);
            }
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                self.out.push('\\');
                self.out.push(char::from(letter));
            }
            _ => self.literal(letter),
        }
        Ok(())
    }

    /// `\x{h…}`, `\xhh`, `\xh` or `\x` alone (a NUL).
    fn hexadecimal(&mut self) -> Result<(), String> {
        let (digits, after) = match self.rest {
            [b'{', tail @ ..] => {
                let end = memchr::memchr(b'}', tail).ok_or(r"unclosed \x{")?;
                (
                    tail.get(..end).unwrap_or_default(),
                    tail.get(end + 1..).unwrap_or_default(),
                )
            }
            tail => {
                let count = tail
                    .iter()
                    .take(2)
                    .take_while(|byte| byte.is_ascii_hexdigit())
                    .count();
                tail.split_at_checked(count).unwrap_or((tail, &[]))
            }
        };
        let text = String::from_utf8_lossy(digits);
        let value = if text.is_empty() {
            Some(0)
        } else {
            u32::from_str_radix(&text, 16).ok()
        };
        let byte = value
            .and_then(|value| u8::try_from(value).ok())
            .ok_or_else(|| {
                format!(
                    r"\x{{{text}}} is no byte: patterns match bytes, write the UTF-8 bytes instead"
                )
            })?;
        self.rest = after;
        self.literal(byte);
        Ok(())
    }

    /// The rest of an octal escape whose value so far is given.
    fn octal(&mut self, mut value: u32, digits_max: usize) -> Result<(), String> {
        for _ in 0..digits_max {
            let [digit @ b'0'..=b'7', tail @ ..] = self.rest else {
                break;
            };
            value = value * 8 + u32::from(digit - b'0');
            self.rest = tail;
        }
        let byte = u8::try_from(value).map_err(|_| format!(r"\{value:o} is no byte"))?;
        self.literal(byte);
        Ok(())
    }

    /// A class after its `[`. Set operations and nested classes of the regex crate are no PCRE:
    /// all bytes but letters and digits are written as `\xhh`.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if let [b'^', tail @ ..] = self.rest {
            self.out.push('^');
            self.rest = tail;
        }
        let mut previous = Member::Other;
        let mut first = true;
        loop {
            let [byte, tail @ ..] = self.rest else {
                return Err("unclosed class: escape the [ to match one".to_owned());
            };
            self.rest = tail;
            previous = match byte {
                b']' if !first => break,
                b'-' if previous == Member::Byte && range_end(tail) => {
                    self.out.push('-');
                    self.class_end_of_range()?;
                    Member::Other
                }
                _ => self.class_member(*byte)?,
            };
            first = false;
        }
        self.out.push(']');
        Ok(())
    }

    /// The member after the `-` of a range.
    fn class_end_of_range(&mut self) -> Result<(), String> {
        let [byte, tail @ ..] = self.rest else {
            return Ok(());
        };
        self.rest = tail;
        self.class_member(*byte).map(|_| ())
    }

    fn class_member(&mut self, byte: u8) -> Result<Member, String> {
        match byte {
            b'\\' => self.class_escape(),
            b'[' => match posix_name(self.rest) {
                Some(length) => {
                    let (name, tail) = self.rest.split_at_checked(length).unwrap_or_default();
                    self.out.push('[');
                    self.out.push_str(&String::from_utf8_lossy(name));
                    self.rest = tail;
                    Ok(Member::Other)
                }
                None => {
                    self.literal(byte);
                    Ok(Member::Byte)
                }
            },
            _ => {
                self.literal(byte);
                Ok(Member::Byte)
            }
        }
    }

    fn class_escape(&mut self) -> Result<Member, String> {
        let [letter, tail @ ..] = self.rest else {
            return Err("the pattern ends in a backslash inside a class".to_owned());
        };
        self.rest = tail;
        match letter {
            b'h' => self.push(HORIZONTAL),
            b'v' => self.push(VERTICAL),
            b'H' => self.push(&format!("[^{HORIZONTAL}]")),
            b'V' => self.push(&format!("[^{VERTICAL}]")),
            b'd' | b'D' | b's' | b'S' | b'w' | b'W' => {
                self.out.push('\\');
                self.out.push(char::from(*letter));
            }
            b'E' => {}
            b'b' => {
                self.literal(0x08);
                return Ok(Member::Byte);
            }
            b'0'..=b'7' => {
                self.octal(u32::from(letter - b'0'), 2)?;
                return Ok(Member::Byte);
            }
            _ => {
                self.escape_of_byte(*letter)?;
                return Ok(Member::Byte);
            }
        }
        Ok(Member::Other)
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn literal(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() {
            self.out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(self.out, r"\x{byte:02x}");
        }
    }
}

/// Whether `{` begins `{n}`, `{n,}` or `{n,m}`; PCRE takes any other brace literally.
fn opens_quantifier(tail: &[u8]) -> bool {
    let Some(end) = memchr::memchr(b'}', tail) else {
        return false;
    };
    let mut bounds = tail
        .get(..end)
        .unwrap_or_default()
        .split(|&byte| byte == b',');
    let number = |bound: &[u8]| bound.iter().all(u8::is_ascii_digit);
    let first = bounds
        .next()
        .is_some_and(|bound| !bound.is_empty() && number(bound));
    first && bounds.next().is_none_or(number) && bounds.next().is_none()
}

/// Whether what follows a `-` ends a range: no `]`, no class escape, no `[:name:]`.
fn range_end(tail: &[u8]) -> bool {
    match tail {
        [b']', ..] | [] => false,
        [b'\\', letter, ..] => !b"dDsSwWhHvVE".contains(letter),
        [b'[', name @ ..] => posix_name(name).is_none(),
        _ => true,
    }
}

/// The length of `:name:]` after a `[`.
fn posix_name(tail: &[u8]) -> Option<usize> {
    let name = tail.strip_prefix(b":")?;
    let end = memchr::memmem::find(name, b":]")?;
    let letters = name.get(..end)?;
    let letters = letters.strip_prefix(b"^").unwrap_or(letters);
    letters
        .iter()
        .all(u8::is_ascii_lowercase)
        .then_some(end + 3)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::*;

    #[test]
    fn each_spelling_is_rewritten_to_one_that_means_the_same() {
        for (pcre, expected) in [
            (&br"\x{ff}\x{d}"[..], r"\xff\x0d"),
            (b"a\xe9b", r"a\xe9b"),
            (br"\<\-\/\ \'", r"\x3c\x2d\x2f\x20\x27"),
            (br"\x9g\x", r"\x09g\x00"),
            (br"\012\0", r"\x0a\x00"),
            (br"\v\h", r"[\n\x0b\x0c\r\x85][\t\x20\xa0]"),
            (br"[\v\h\b]", r"[\n\x0b\x0c\r\x85\t\x20\xa0\x08]"),
            (b"[[&&~~]", r"[\x5b\x26\x26\x7e\x7e]"),
            (b"[]a]", r"[\x5da]"),
            (b"[^]a]", r"[^\x5da]"),
            (b"[[:alpha:][:^digit:]-z]", r"[[:alpha:][:^digit:]\x2dz]"),
            (b"[+--]", r"[\x2b-\x2d]"),
            (b"[--/]", r"[\x2d-\x2f]"),
            (b"[a-z-9]", r"[a-z\x2d9]"),
            (br"[\w-.]", r"[\w\x2d\x2e]"),
            (br"[a-\d]", r"[a\x2d\d]"),
            (b"[a-]", r"[a\x2d]"),
            (b"a{", r"a\x7b"),
            (b"a{,3}b{2}c{1,}d{1,2}", r"a\x7b,3}b{2}c{1,}d{1,2}"),
            (b"a(?#note)b(?i)c", "ab(?i)c"),
            (br"\Qa.b\E.", r"a\x2eb."),
            (br"\d+\s*\bx$", r"\d+\s*\bx$"),
            (br"\e\cA", r"\x1b\x01"),
        ] {
            let rewritten = rewrite(pcre).expect("rewrites");
            assert_eq!(rewritten.pattern, expected);
            assert!(!rewritten.possessive);
        }
    }

    #[test]
    fn a_possessive_quantifier_is_reported() {
        for (pattern, possessive) in [
            (&b"a++"[..], true),
            (b"a*+", true),
            (b"a?+", true),
            (b"a{2}+", true),
            (br"\++", false),
            (b"[+]+", false),
            (b"a+?", false),
        ] {
            assert_eq!(rewrite(pattern).map(|done| done.possessive), Ok(possessive));
        }
    }

    #[test]
    fn a_broken_pattern_is_refused() {
        for pattern in [
            &b"a\\"[..],
            b"[a",
            br"\x{100}",
            br"\x{",
            br"\x{zz}",
            b"(?#",
            br"[\",
        ] {
            assert!(rewrite(pattern).is_err(), "{pattern:?}");
        }
    }
}
