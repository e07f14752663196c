//! A strict well-formedness scanner for XML 1.0. Rules see what they see in ModSecurity: `XML:/*`
//! is all text below the root as one value, `XML://@*` each attribute's value. A DOCTYPE is an
//! error (ModSecurity reads it and its entities), so there are no entities but the five of the
//! standard.

use std::collections::HashSet;

use super::{Body, ParseLimits, charset};
use crate::store::Store;
use crate::variable::Slot;

/// The name under which the text of the document lies.
pub const TEXT: &[u8] = b"/*";
/// The name under which the values of the attributes lie.
pub const ATTRIBUTES: &[u8] = b"//@*";

/// Adds the document's text and attribute values.
pub fn parse(store: &mut Store, body: Body<'_>, limits: &ParseLimits) -> Result<(), String> {
    let decoded = charset::decode_xml(body.bytes);
    let strange = decoded.text.find(|c| !is_character(c));
    let document = decoded.text.get(..strange.unwrap_or(decoded.text.len()));
    let document = document.unwrap_or_default();
    let broken = strange.map(|_| "invalid character").or(decoded.broken);
    let mut scanner = Scanner {
        rest: document,
        text: String::new(),
        attributes: Attributes::default(),
        has_root: false,
        open: Vec::new(),
        depth_max: limits.json_depth_max,
    };
    let outcome = scanner.document();
    let at = document.len() - scanner.rest.len();
    // What was read before the error can still be inspected: detection-only runs go on.
    if scanner.has_root {
        let name = store.copy(TEXT);
        let text = store.copy(scanner.text.as_bytes());
        store.push(Slot::Xml, name, text);
    }
    let name = store.copy(ATTRIBUTES);
    let values = store.copy(scanner.attributes.values.as_bytes());
    let mut start = 0;
    for end in scanner.attributes.ends {
        store.push(Slot::Xml, name, values.part(start, end - start));
        start = end;
    }
    match broken {
        Some(reason) => Err(format!(
            "{reason} at character {}",
            document.chars().count()
        )),
        None => outcome.map_err(|reason| format!("{reason} at byte {at}")),
    }
}

/// The values of attributes, one behind the other, and where each ends.
#[derive(Default)]
struct Attributes {
    values: String,
    ends: Vec<usize>,
}

struct Scanner<'a> {
    rest: &'a str,
    text: String,
    attributes: Attributes,
    /// The first start tag was read to its end.
    has_root: bool,
    open: Vec<&'a str>,
    depth_max: usize,
}

impl<'a> Scanner<'a> {
    fn document(&mut self) -> Result<(), &'static str> {
        self.declaration()?;
        self.misc()?;
        self.element()?;
        while !self.open.is_empty() {
            self.content()?;
        }
        self.misc()?;
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err("text after the root element")
        }
    }

    /// `<?xml version="1.0" encoding="…" standalone="…"?>`, in this order (XML 1.0 §2.8).
    fn declaration(&mut self) -> Result<(), &'static str> {
        let after = self.rest.strip_prefix("<?xml");
        let Some(after) = after.filter(|rest| rest.starts_with([' ', '\t', '\r', '\n'])) else {
            return Ok(());
        };
        self.rest = after;
        let malformed = "malformed declaration";
        let version = self.pseudo_attribute("version")?.ok_or(malformed)?;
        let minor = version.strip_prefix("1.").ok_or("unknown version")?;
        if minor.is_empty() || !minor.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("unknown version");
        }
        if let Some(encoding) = self.pseudo_attribute("encoding")?
            && !charset::is_known(encoding)
        {
            return Err("unknown encoding");
        }
        let standalone = self.pseudo_attribute("standalone")?;
        if standalone.is_some_and(|value| value != "yes" && value != "no") {
            return Err(malformed);
        }
        self.whitespace();
        self.rest = self.rest.strip_prefix("?>").ok_or(malformed)?;
        Ok(())
    }

    /// The value of this part of the declaration, when it stands here.
    fn pseudo_attribute(&mut self, name: &str) -> Result<Option<&'a str>, &'static str> {
        let before = self.rest;
        let spaced = self.whitespace();
        let Some(after) = self.rest.strip_prefix(name).filter(|_| spaced) else {
            self.rest = before;
            return Ok(None);
        };
        self.rest = after;
        self.whitespace();
        self.rest = self.rest.strip_prefix('=').ok_or("malformed declaration")?;
        self.whitespace();
        self.quoted().map(Some)
    }

    /// White space, comments and processing instructions outside the root.
    fn misc(&mut self) -> Result<(), &'static str> {
        loop {
            self.whitespace();
            if self.rest.starts_with("<!--") {
                self.comment()?;
            } else if self.rest.starts_with("<?") {
                self.instruction()?;
            } else {
                return Ok(());
            }
        }
    }

    /// One piece of an element's content.
    fn content(&mut self) -> Result<(), &'static str> {
        if self.rest.starts_with("</") {
            self.end_tag()
        } else if self.rest.starts_with("<!--") {
            self.comment()
        } else if let Some(after) = self.rest.strip_prefix("<![CDATA[") {
            let (text, rest) = after.split_once("]]>").ok_or("CDATA without end")?;
            push_lines(text, &mut self.text, "\n");
            self.rest = rest;
            Ok(())
        } else if self.rest.starts_with("<?") {
            self.instruction()
        } else if self.rest.starts_with('<') {
            self.element()
        } else {
            self.characters()
        }
    }

    fn characters(&mut self) -> Result<(), &'static str> {
        let end = self.rest.find('<').ok_or("element without end")?;
        let (text, rest) = self
            .rest
            .split_at_checked(end)
            .ok_or("element without end")?;
        if text.contains("]]>") {
            return Err("]]> in text");
        }
        self.rest = rest;
        resolve(text, &mut self.text, push_text)
    }

    fn element(&mut self) -> Result<(), &'static str> {
        if self.rest.starts_with("<!") {
            return Err("DOCTYPE is not allowed");
        }
        self.rest = self.rest.strip_prefix('<').ok_or("element expected")?;
        let name = self.name()?;
        if self.open.len() >= self.depth_max {
            return Err("nesting too deep");
        }
        let before = (self.attributes.values.len(), self.attributes.ends.len());
        let tag = self.rest_of_tag();
        match tag {
            Ok(empty) => {
                self.has_root = true;
                if !empty {
                    self.open.push(name);
                }
            }
            // A tag without end has no attributes.
            Err(_) => {
                self.attributes.values.truncate(before.0);
                self.attributes.ends.truncate(before.1);
            }
        }
        tag.map(|_| ())
    }

    /// Reads the attributes and the end of a start tag: whether the element is empty.
    fn rest_of_tag(&mut self) -> Result<bool, &'static str> {
        let mut seen: HashSet<&str> = HashSet::new();
        loop {
            let spaced = self.whitespace();
            if let Some(rest) = self.rest.strip_prefix("/>") {
                self.rest = rest;
                return Ok(true);
            }
            if let Some(rest) = self.rest.strip_prefix('>') {
                self.rest = rest;
                return Ok(false);
            }
            if !spaced {
                return Err("malformed tag");
            }
            let attribute = self.attribute()?;
            if !seen.insert(attribute) {
                return Err("duplicate attribute");
            }
        }
    }

    /// Reads one attribute; its name.
    fn attribute(&mut self) -> Result<&'a str, &'static str> {
        let name = self.name()?;
        self.whitespace();
        self.rest = self
            .rest
            .strip_prefix('=')
            .ok_or("attribute without value")?;
        self.whitespace();
        let raw = self.quoted()?;
        if raw.contains('<') {
            return Err("< in an attribute value");
        }
        // XPath's attribute axis has no namespace declarations.
        if name == "xmlns" || name.starts_with("xmlns:") {
            return resolve(raw, &mut String::new(), push_spaces).map(|()| name);
        }
        resolve(raw, &mut self.attributes.values, push_spaces)?;
        self.attributes.ends.push(self.attributes.values.len());
        Ok(name)
    }

    fn quoted(&mut self) -> Result<&'a str, &'static str> {
        let quote = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => quote,
            _ => return Err("value without quotes"),
        };
        let after = self.rest.strip_prefix(quote).unwrap_or_default();
        let (raw, rest) = after.split_once(quote).ok_or("value without end")?;
        self.rest = rest;
        Ok(raw)
    }

    fn end_tag(&mut self) -> Result<(), &'static str> {
        self.rest = self.rest.strip_prefix("</").unwrap_or_default();
        let name = self.name()?;
        self.whitespace();
        self.rest = self.rest.strip_prefix('>').ok_or("malformed end tag")?;
        if self.open.pop() == Some(name) {
            Ok(())
        } else {
            Err("end tag does not match")
        }
    }

    fn comment(&mut self) -> Result<(), &'static str> {
        let after = self.rest.strip_prefix("<!--").unwrap_or_default();
        let (_, rest) = after.split_once("--").ok_or("comment without end")?;
        self.rest = rest.strip_prefix('>').ok_or("-- in a comment")?;
        Ok(())
    }

    fn instruction(&mut self) -> Result<(), &'static str> {
        self.rest = self.rest.strip_prefix("<?").unwrap_or_default();
        let target = self.name()?;
        if target.eq_ignore_ascii_case("xml") {
            return Err("declaration not at the start");
        }
        if !self.rest.starts_with([' ', '\t', '\n', '\r', '?']) {
            return Err("malformed instruction");
        }
        let (_, rest) = self
            .rest
            .split_once("?>")
            .ok_or("instruction without end")?;
        self.rest = rest;
        Ok(())
    }

    fn name(&mut self) -> Result<&'a str, &'static str> {
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end).ok_or("name expected")?;
        if !name.starts_with(is_name_start) {
            return Err("name expected");
        }
        self.rest = rest;
        Ok(name)
    }

    fn whitespace(&mut self) -> bool {
        let trimmed = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let found = trimmed.len() < self.rest.len();
        self.rest = trimmed;
        found
    }
}

/// Appends text with its references resolved; `push` appends what stands between them.
fn resolve(text: &str, into: &mut String, push: fn(&str, &mut String)) -> Result<(), &'static str> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        push(before, into);
        let (name, after) = after.split_once(';').ok_or("reference without end")?;
        into.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "apos" => '\'',
            "quot" => '"',
            _ => numeric(name)?,
        });
        rest = after;
    }
    push(rest, into);
    Ok(())
}

/// XML 1.0 §2.11: every line end is one line feed.
fn push_text(text: &str, into: &mut String) {
    push_lines(text, into, "\n");
}

/// XML 1.0 §3.3.3: line ends and tabs in an attribute's value are spaces.
fn push_spaces(text: &str, into: &mut String) {
    let start = into.len();
    push_lines(text, into, " ");
    if text.contains(['\t', '\n']) {
        let value = into.split_off(start).replace(['\t', '\n'], " ");
        into.push_str(&value);
    }
}

/// Appends text with its carriage returns, and the line feeds after them, as `end`.
fn push_lines(text: &str, into: &mut String, end: &str) {
    let mut pieces = text.split('\r');
    into.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        into.push_str(end);
        into.push_str(piece.strip_prefix('\n').unwrap_or(piece));
    }
}

/// `#65` or `#x41`.
fn numeric(name: &str) -> Result<char, &'static str> {
    let digits = name.strip_prefix('#').ok_or("undefined entity")?;
    let (digits, radix) = digits
        .strip_prefix('x')
        .map_or((digits, 10), |hex| (hex, 16));
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err("malformed character reference");
    }
    u32::from_str_radix(digits, radix)
        .ok()
        .and_then(char::from_u32)
        .filter(|character| is_character(*character))
        .ok_or("invalid character reference")
}

/// XML 1.0 §2.2.
fn is_character(c: char) -> bool {
    !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

/// XML 1.0 §2.3, NameStartChar.
fn is_name_start(c: char) -> bool {
    matches!(c, ':' | '_' | 'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}'
        | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}'
        | '\u{200c}' | '\u{200d}' | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}'
        | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

/// XML 1.0 §2.3, NameChar.
fn is_name(c: char) -> bool {
    is_name_start(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'
            | '\u{2040}')
}
