//! `multipart/form-data`, line by line as ModSecurity reads it. What is merely odd becomes a
//! `MULTIPART_*` flag; what can be read in two ways is an error.

use memchr::memmem;

use super::boundary::{self, is_space};
use super::disposition::{self, Disposition};
use super::{Arguments, Body, OVER_NO_FILES_LIMIT, ParseLimits};
use crate::store::{Store, Text};
use crate::variable::Slot;

/// Longest line of a part's header.
const HEADER_LINE_BYTES_MAX: usize = 4096;
/// Headers of one part; a browser sends two or three.
const PART_HEADERS_MAX: usize = 64;

/// Oddities that rules can ask for, each a variable.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub error: bool,
    pub unmatched_boundary: Unmatched,
    pub boundary_quoted: bool,
    pub boundary_whitespace: bool,
    pub data_before: bool,
    pub data_after: bool,
    pub header_folding: bool,
    pub lf_line: bool,
    pub crlf_line: bool,
    pub missing_semicolon: bool,
    pub invalid_quoting: bool,
    pub invalid_part: bool,
    pub invalid_header_folding: bool,
    pub file_limit_exceeded: bool,
}

/// `MULTIPART_UNMATCHED_BOUNDARY`, as ModSecurity counts since 3.0.5: 1 when what looked like a
/// boundary was none, 2 when a line that is a boundary came later, as the last one does in every
/// form. So `"!@eq 0"` is very strict, and `"@eq 1"` lets files through that have lines of dashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    #[default]
    None,
    Seen,
    Matched,
}

/// Adds arguments, files, part headers and the `MULTIPART_*` flags.
pub fn parse(
    store: &mut Store,
    (content_type, body): (&[u8], Body<'_>),
    arguments: &mut Arguments,
    limits: &ParseLimits,
) -> Result<(), String> {
    let mut parser = Parser {
        store,
        body,
        arguments,
        arguments_max: limits.arguments_max,
        flags: Flags::default(),
        files: 0,
        files_max: limits.files_max,
        files_size: 0,
    };
    let outcome = parser.form(content_type);
    parser.flags.error = outcome.is_err();
    let (flags, files_size) = (parser.flags, parser.files_size);
    let fields_size = (body.bytes.len() as u64).saturating_sub(files_size);
    let outcome = outcome.and(if fields_size > limits.no_files_bytes_max as u64 {
        Err(OVER_NO_FILES_LIMIT.to_owned())
    } else {
        Ok(())
    });
    show_flags(store, &flags);
    if store
        .seen((Slot::Files, crate::variable::Side::Value))
        .next()
        .is_some()
    {
        let size = store.number(files_size);
        store.set_text(Slot::FilesCombinedSize, size);
    }
    outcome
}

struct Parser<'a> {
    store: &'a mut Store,
    body: Body<'a>,
    arguments: &'a mut Arguments,
    arguments_max: usize,
    flags: Flags,
    files: usize,
    files_max: usize,
    files_size: u64,
}

/// The part being read: its headers until `data` is set.
#[derive(Default)]
struct Part {
    headers: Vec<Header>,
    /// What it is and where the content starts, once the headers are complete.
    content: Option<(Disposition, usize)>,
}

struct Header {
    name: Vec<u8>,
    value: Vec<u8>,
    line: Vec<u8>,
}

/// What a line is to the form.
enum Line {
    Boundary { last: bool },
    Other,
}

impl Parser<'_> {
    fn form(&mut self, content_type: &[u8]) -> Result<(), String> {
        let boundary = boundary::parse(content_type).map_err(str::to_owned)?;
        self.flags.boundary_quoted = boundary.quoted;
        self.flags.boundary_whitespace = boundary.whitespace;
        self.flags.missing_semicolon = boundary.missing_semicolon;
        let delimiter = [b"--".as_slice(), &boundary.bytes].concat();
        let anywhere = memmem::Finder::new(&delimiter);
        let bytes = self.body.bytes;
        if bytes.is_empty() {
            return Ok(());
        }
        let mut part: Option<Part> = None;
        let (mut start, mut boundaries) = (0, 0);
        while start < bytes.len() {
            let rest = bytes.get(start..).unwrap_or_default();
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let line = rest.get(..end).unwrap_or_default();
            match self.classify(line, &anywhere)? {
                Line::Boundary { last } => {
                    if boundaries > 0 && line.ends_with(b"\n") {
                        self.flags.unmatched_boundary = Unmatched::Matched;
                    }
                    boundaries += 1;
                    self.finish(part.take(), start)?;
                    if last {
                        self.flags.data_after = start + end < bytes.len();
                        // A form without fields, as browsers send it: the last boundary alone.
                        return match boundaries {
                            1 if !line.ends_with(b"\n") => Err("No parts".to_owned()),
                            _ => Ok(()),
                        };
                    }
                    part = Some(Part::default());
                }
                Line::Other => match &mut part {
                    None => self.flags.data_before = true,
                    Some(part) if part.content.is_none() => {
                        self.header_line(part, line, start + end)?;
                    }
                    Some(_) => {}
                },
            }
            start += end;
        }
        self.finish(part, bytes.len())?;
        Err(match boundaries {
            0 => "No boundaries found in payload".to_owned(),
            _ => "Final boundary missing".to_owned(),
        })
    }

    fn classify(&mut self, line: &[u8], anywhere: &memmem::Finder<'_>) -> Result<Line, String> {
        let delimiter = anywhere.needle();
        if let Some(after) = line.strip_prefix(delimiter) {
            let (after, last) = match after.strip_prefix(b"--") {
                Some(after) => (after, true),
                None => (after, false),
            };
            match after {
                b"\r\n" => self.flags.crlf_line = true,
                b"\n" => self.flags.lf_line = true,
                // The last line of all may go without a line end.
                b"" if last => {}
                _ => return Err(format!("Invalid boundary: {}", shown(line))),
            }
            return Ok(Line::Boundary { last });
        }
        let (Some(after), Some(boundary)) = (line.strip_prefix(b"--"), delimiter.get(2..)) else {
            if anywhere.find(line).is_some() {
                // Some parsers would cut there.
                self.flags.unmatched_boundary = Unmatched::Seen;
            }
            return Ok(Line::Other);
        };
        let unquoted = after.strip_prefix(b"\"");
        if self.flags.boundary_quoted && unquoted.is_some_and(|text| text.starts_with(boundary)) {
            return Err("Invalid boundary (quotes)".to_owned());
        }
        let blanks = after.iter().take_while(|byte| is_space(**byte)).count();
        let trimmed = after.get(blanks..).unwrap_or_default();
        if blanks > 0 && trimmed.starts_with(boundary) {
            return Err("Invalid boundary (whitespace)".to_owned());
        }
        if line.len() > 3 {
            self.flags.unmatched_boundary = Unmatched::Seen;
        }
        Ok(Line::Other)
    }

    fn header_line(&mut self, part: &mut Part, line: &[u8], next: usize) -> Result<(), String> {
        if line.len() > HEADER_LINE_BYTES_MAX {
            return Err(format!(
                "Part header line over {HEADER_LINE_BYTES_MAX} bytes long"
            ));
        }
        if line.contains(&0) {
            return Err("Nul byte in part headers".to_owned());
        }
        let text = if let Some(text) = line.strip_suffix(b"\r\n") {
            self.flags.crlf_line = true;
            text
        } else {
            self.flags.lf_line = true;
            line.strip_suffix(b"\n").unwrap_or(line)
        };
        match text.first() {
            None => self.end_of_headers(part, next),
            Some(first) if is_space(*first) => self.folded_line(part, text),
            Some(_) => new_header(part, text),
        }
    }

    fn folded_line(&mut self, part: &mut Part, text: &[u8]) -> Result<(), String> {
        self.flags.header_folding = true;
        let start = text
            .iter()
            .position(|byte| !is_space(*byte))
            .unwrap_or(text.len());
        let (folding, text) = text.split_at_checked(start).unwrap_or_default();
        // RFC 2557 folds with SP and HTAB only, but some parsers take any white space.
        self.flags.invalid_header_folding |= folding.iter().any(|b| !matches!(b, b' ' | b'\t'));
        let Some(header) = part.headers.last_mut() else {
            return Err("Invalid part header (folding error)".to_owned());
        };
        for into in [&mut header.value, &mut header.line] {
            into.push(b' ');
            into.extend_from_slice(text);
        }
        if header.value.len() > HEADER_LINE_BYTES_MAX {
            return Err("Part header too long".to_owned());
        }
        Ok(())
    }

    fn end_of_headers(&mut self, part: &mut Part, content_start: usize) -> Result<(), String> {
        let value = part
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(b"content-disposition"))
            .map(|header| header.value.as_slice())
            .ok_or("Part missing Content-Disposition header")?;
        let mut parsed = Disposition::default();
        let outcome = disposition::parse(value, &mut parsed);
        self.flags.invalid_quoting |= parsed.invalid_quoting;
        let name = self.store.copy(&parsed.name);
        if !parsed.name.is_empty() {
            self.store.push(Slot::MultipartName, name, name);
        }
        for filename in [&parsed.filename, &parsed.filename_extended] {
            if !filename.is_empty() {
                let filename = self.store.copy(filename);
                self.store.push(Slot::MultipartFilename, filename, filename);
            }
        }
        outcome.map_err(|reason| {
            self.flags.invalid_part = true;
            format!(
                "Invalid Content-Disposition header ({reason}): {}",
                shown(value)
            )
        })?;
        // A reader that looks for the bare text `filename=` must find it too.
        if !parsed.filename.is_empty() && memmem::find(value, b"filename=").is_none() {
            return Err("Invalid Content-Disposition header (filename)".to_owned());
        }
        for header in &part.headers {
            let line = self.store.copy(&header.line);
            self.store.push(Slot::MultipartPartHeaders, name, line);
        }
        part.content = Some((parsed, content_start));
        Ok(())
    }

    /// Adds a finished part; the line end before the boundary belongs to the boundary.
    fn finish(&mut self, part: Option<Part>, end: usize) -> Result<(), String> {
        let Some(part) = part else { return Ok(()) };
        let Some((disposition, start)) = part.content else {
            self.flags.invalid_part = true;
            return Ok(());
        };
        if start == end {
            // RFC 2046 §5.1.1: the boundary brings its own line end, and the headers end in one.
            self.flags.invalid_part = true;
            return Err("No line between headers and boundary".to_owned());
        }
        let content = self.body.bytes.get(start..end).unwrap_or_default();
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let value: Text = self.body.text.part(start, content.len());
        let name = self.store.copy(&disposition.name);
        let names = [&disposition.filename, &disposition.filename_extended];
        let is_file = names.iter().any(|filename| !filename.is_empty());
        if !is_file {
            let pair = (name, value);
            let max = self.arguments_max;
            self.arguments.add(self.store, Slot::ArgsPost, pair, max);
            return Ok(());
        }
        for filename in names.into_iter().filter(|filename| !filename.is_empty()) {
            let filename = self.store.copy(filename);
            self.store.push(Slot::Files, name, filename);
        }
        self.files += 1;
        self.flags.file_limit_exceeded |= self.files > self.files_max;
        self.store.push(Slot::FilesTmpContent, name, value);
        let size = self.store.number(value.len() as u64);
        self.store.push(Slot::FilesSizes, name, size);
        self.files_size += value.len() as u64;
        Ok(())
    }
}

fn new_header(part: &mut Part, text: &[u8]) -> Result<(), String> {
    let Some(colon) = memchr::memchr(b':', text) else {
        return Err(format!(
            "Invalid part header (colon missing): {}",
            shown(text)
        ));
    };
    let (name, value) = text.split_at_checked(colon).unwrap_or_default();
    if name.is_empty() {
        return Err("Invalid part header (header name missing)".to_owned());
    }
    if part.headers.len() >= PART_HEADERS_MAX {
        return Err(format!("Over {PART_HEADERS_MAX} part headers"));
    }
    if part
        .headers
        .iter()
        .any(|header| header.name.eq_ignore_ascii_case(name))
    {
        return Err(format!("Duplicate part header: {}", shown(name)));
    }
    let value = value.get(1..).unwrap_or_default();
    let blanks = value
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    part.headers.push(Header {
        name: name.to_vec(),
        value: value.get(blanks..).unwrap_or_default().to_vec(),
        line: text.to_vec(),
    });
    Ok(())
}

/// Request bytes in an error message: bounded, and one character per byte.
fn shown(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(64)
        .map(|byte| char::from(*byte))
        .filter(|c| !c.is_control())
        .collect()
}

fn show_flags(store: &mut Store, flags: &Flags) {
    let mixed_lines = flags.crlf_line && flags.lf_line;
    let shown = [
        (Slot::MultipartBoundaryQuoted, flags.boundary_quoted),
        (Slot::MultipartBoundaryWhitespace, flags.boundary_whitespace),
        (Slot::MultipartDataBefore, flags.data_before),
        (Slot::MultipartDataAfter, flags.data_after),
        (Slot::MultipartHeaderFolding, flags.header_folding),
        (Slot::MultipartLfLine, flags.lf_line),
        (Slot::MultipartMissingSemicolon, flags.missing_semicolon),
        (Slot::MultipartInvalidQuoting, flags.invalid_quoting),
        (Slot::MultipartInvalidPart, flags.invalid_part),
        (
            Slot::MultipartInvalidHeaderFolding,
            flags.invalid_header_folding,
        ),
        (Slot::MultipartFileLimitExceeded, flags.file_limit_exceeded),
    ];
    // All but the unmatched boundary are strictness errors, as in ModSecurity.
    let strict = flags.error || shown.iter().any(|(_, raised)| *raised);
    let unmatched = store.number(flags.unmatched_boundary as u64);
    store.add(Slot::MultipartUnmatchedBoundary, unmatched);
    let more = [
        (Slot::MultipartStrictError, strict),
        (Slot::MultipartCrlfLfLines, mixed_lines),
    ];
    for (slot, raised) in shown.into_iter().chain(more) {
        let digit = store.copy(if raised { b"1" } else { b"0" });
        store.add(slot, digit);
    }
}
