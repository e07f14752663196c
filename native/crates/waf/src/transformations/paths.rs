//! `t:normalizePath`, `t:normalizePathWin`.

/// `t:normalizePath`: `"/a//b/./../c"` → `"/a/c"`.
pub(super) fn normalize(text: &[u8]) -> Option<Vec<u8>> {
    needs_work(text).then(|| Walk::new(text, false).run())
}

/// `t:normalizePathWin`: as `normalizePath`, backslashes count as slashes.
pub(super) fn normalize_win(text: &[u8]) -> Option<Vec<u8>> {
    (memchr::memchr(b'\\', text).is_some() || needs_work(text)).then(|| Walk::new(text, true).run())
}

/// Without an empty or a dot segment there is nothing to do.
fn needs_work(text: &[u8]) -> bool {
    text.last() == Some(&b'.') || text.windows(2).any(|pair| pair == b"//" || pair == b"./")
}

/// ModSecurity's single pass, step by step: its answers to odd paths (`"a/../../b"`, `"..."`,
/// `"\\\\x"`) come from the order of these steps, and rules count on them.
struct Walk {
    source: Vec<u8>,
    at: usize,
    out: Vec<u8>,
    win: bool,
    relative: bool,
    hit_root: bool,
}

/// What to do with the byte that the walk stands on.
#[derive(PartialEq)]
enum Step {
    Copy,
    Skip,
}

impl Walk {
    fn new(text: &[u8], win: bool) -> Self {
        Self {
            source: text.to_vec(),
            at: 0,
            out: Vec::with_capacity(text.len()),
            win,
            relative: !text.first().is_some_and(|&byte| is_slash(byte, win)),
            hit_root: false,
        }
    }

    fn run(mut self) -> Vec<u8> {
        let Some(end) = self.source.len().checked_sub(1) else {
            return self.out;
        };
        let trailing = self
            .source
            .last()
            .is_some_and(|&byte| is_slash(byte, self.win));
        let mut done = false;
        while !done && self.at <= end && self.out.len() <= end {
            self.turn_slashes();
            done = self.at == end;
            let segment_ends = done || self.byte(self.at + 1) == b'/';
            let step = if segment_ends {
                self.end_segment(done)
            } else {
                Step::Copy
            };
            if step == Step::Copy {
                self.copy(end);
            }
        }
        if !trailing && self.out.last() == Some(&b'/') {
            self.out.pop();
        }
        self.out
    }

    fn byte(&self, index: usize) -> u8 {
        self.source.get(index).copied().unwrap_or(0)
    }

    /// On Windows the byte here and the next become forward slashes, no further ones yet.
    fn turn_slashes(&mut self) {
        if !self.win {
            return;
        }
        for byte in self.source.iter_mut().skip(self.at).take(2) {
            if *byte == b'\\' {
                *byte = b'/';
            }
        }
    }

    /// Stands on the last byte of a segment: resolves `.` and `..`.
    fn end_segment(&mut self, done: bool) -> Step {
        match self.byte(self.at) {
            b'/' if !done => Step::Copy,
            b'.' if self.out.last() == Some(&b'.') => {
                if self.relative && (self.hit_root || self.out.len() <= 2) {
                    self.hit_root = true;
                    return Step::Copy;
                }
                self.drop_parent(done);
                self.after_dots(done)
            }
            b'.' if self.out.is_empty() => self.after_dots(done),
            b'.' if self.out.last() == Some(&b'/') => {
                if !done {
                    self.out.pop();
                }
                self.after_dots(done)
            }
            b'.' => Step::Copy,
            _ => {
                self.hit_root &= self.out.is_empty();
                Step::Copy
            }
        }
    }

    fn after_dots(&mut self, done: bool) -> Step {
        if done {
            return Step::Skip;
        }
        self.at += 1;
        Step::Copy
    }

    /// Takes `x/.` off the output, never more than the root.
    fn drop_parent(&mut self, done: bool) {
        let mut length = self.out.len().saturating_sub(3);
        while length > 0 && self.out.get(length) != Some(&b'/') {
            length -= 1;
        }
        if length == 0 {
            self.hit_root = true;
            // An absolute path that ends here keeps its root slash.
            length = usize::from(!self.relative && done);
        }
        self.out.truncate(length);
    }

    fn copy(&mut self, end: usize) {
        if self.byte(self.at) == b'/' {
            while self.at < end && is_slash(self.byte(self.at + 1), self.win) {
                self.at += 1;
            }
            if self.relative && self.out.is_empty() {
                self.at += 1;
                return;
            }
        }
        self.out.push(self.byte(self.at));
        self.at += 1;
    }
}

fn is_slash(byte: u8, win: bool) -> bool {
    byte == b'/' || (win && byte == b'\\')
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_table;

    #[test]
    fn normalize_path_resolves_dots_and_repeated_slashes() {
        assert_table(
            "normalizepath",
            &[
                (b"/foo/bar/baz", b"/foo/bar/baz"),
                (b"/foo//bar///baz", b"/foo/bar/baz"),
                (b"/foo/./bar/../baz", b"/foo/baz"),
                (b"/foo/bar/..", b"/foo"),
                (b"/foo/bar/../", b"/foo/"),
                (b"/..", b""),
                (b"/../..", b""),
                (b"/../../etc/passwd", b"/etc/passwd"),
                (b"..", b".."),
                (b"../..", b"../.."),
                (b"a/../../b", b"../b"),
                (b"./a", b"a"),
                (b".", b""),
                (b"./", b""),
                (b"/.", b""),
                (b"/./", b"/"),
                (b"/", b"/"),
                (b"//", b"/"),
                (b"", b""),
                (b"...", b"..."),
                (b"/.../a", b"/a"),
                (b"dir/foo/bar/../../baz/", b"dir/baz/"),
                (b"dir//.//..//.//..//..//./foo/bar", b"../../foo/bar"),
                (b"a\\..\\b", b"a\\..\\b"),
                (b"/a/b.", b"/a/b."),
                (b"a/./", b"a/"),
                (b"./..", b".."),
                (b"./../", b"../"),
                (b".././", b"../"),
                (b"../.", b".."),
                (b"dir/./.././../../foo/bar/.", b"../../foo/bar"),
                (b"dir/./.././../../foo/bar/..", b"../../foo"),
                (b"dir/./.././../../foo/bar/../", b"../../foo/"),
                (b"dir//.//..//.//..//..//foo//bar//", b"../../foo/bar/"),
                (b"dir/subdir/subsubdir/subsubsubdir/../../..", b"dir"),
                (
                    b"/./.././../../../../../../../\0/../etc/./passwd",
                    b"/etc/passwd",
                ),
                (b"/foo\0/../bar", b"/bar"),
            ],
        );
    }

    #[test]
    fn normalize_path_win_takes_backslashes_for_slashes() {
        assert_table(
            "normalizepathwin",
            &[
                (b"\\foo\\bar", b"/foo/bar"),
                (b"\\foo\\..\\bar", b"/bar"),
                (b"c:\\a\\.\\b", b"c:/a/b"),
                (b"dir\\foo\\..\\..\\..\\x", b"../x"),
                (b".\\..\\", b"../"),
                (b"..\\.", b".."),
                (
                    b"dir\\\\.\\\\..\\\\.\\\\..\\\\..\\\\foo\\\\bar\\\\",
                    b"../../foo/bar/",
                ),
                (
                    b"\\.\\..\\.\\..\\..\\\\0\\..\\etc\\.\\passwd",
                    b"/etc/passwd",
                ),
                (b"\\dir\\.\\subdir\\..\\subsubdir\\..\\x\\..\\", b"/dir/"),
                (b"/a//b/../c", b"/a/c"),
                (b"\\", b"/"),
                (b"", b""),
                (b"plain", b"plain"),
            ],
        );
    }
}
