//! A strict well-formedness scanner for XML 1.0. Rules see what they see in ModSecurity: `XML:/*`
//! is all text below the root as one value, `XML://@*` each attribute's value. A DOCTYPE is an
//! error, so there are no entities but the five of the standard.

use super::{Body, ParseLimits};
use crate::store::Store;
use crate::variable::Slot;

/// The name under which the text of the document lies.
pub const TEXT: &[u8] = b"/*";
/// The name under which the values of the attributes lie.
pub const ATTRIBUTES: &[u8] = b"//@*";

/// Adds the document's text and attribute values.
pub fn parse(store: &mut Store, body: Body<'_>, limits: &ParseLimits) -> Result<(), String> {
    let Ok(document) = std::str::from_utf8(body.bytes) else {
        return Err("invalid UTF-8".to_owned());
    };
    if !document.chars().all(is_character) {
        return Err("invalid character".to_owned());
    }
    let mut scanner = Scanner {
        rest: document,
        text: String::new(),
        attributes: Vec::new(),
        open: Vec::new(),
        depth_max: limits.json_depth_max,
    };
    let outcome = scanner.document();
    let at = document.len() - scanner.rest.len();
    // What was read before the error can still be inspected: detection-only runs go on.
    let name = store.copy(TEXT);
    let text = store.copy(scanner.text.as_bytes());
    store.push(Slot::Xml, name, text);
    for attribute in &scanner.attributes {
        let name = store.copy(ATTRIBUTES);
        let value = store.copy(attribute.as_bytes());
        store.push(Slot::Xml, name, value);
    }
    outcome.map_err(|reason| format!("{reason} at byte {at}"))
}

struct Scanner<'a> {
    rest: &'a str,
    text: String,
    attributes: Vec<String>,
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

    /// `<?xml …?>`: only UTF-8 documents are read.
    fn declaration(&mut self) -> Result<(), &'static str> {
        let after = self.rest.strip_prefix("<?xml");
        let Some(after) = after.filter(|rest| rest.starts_with([' ', '\t', '\r', '\n'])) else {
            return Ok(());
        };
        let (inside, rest) = after.split_once("?>").ok_or("declaration without end")?;
        self.rest = rest;
        let Some((_, encoding)) = inside.split_once("encoding") else {
            return Ok(());
        };
        let encoding = encoding
            .trim_start()
            .strip_prefix('=')
            .ok_or("malformed declaration")?;
        let encoding = encoding.trim_start().trim_start_matches(['"', '\'']);
        let encoding = encoding.split(['"', '\'']).next().unwrap_or_default();
        let known = ["utf-8", "us-ascii"]
            .iter()
            .any(|name| encoding.eq_ignore_ascii_case(name));
        if known {
            Ok(())
        } else {
            Err("encoding other than UTF-8")
        }
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
            self.text.push_str(text);
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
        resolve(text, &mut self.text)
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
        let mut seen: Vec<&str> = Vec::new();
        loop {
            let spaced = self.whitespace();
            if let Some(rest) = self.rest.strip_prefix("/>") {
                self.rest = rest;
                return Ok(());
            }
            if let Some(rest) = self.rest.strip_prefix('>') {
                self.rest = rest;
                self.open.push(name);
                return Ok(());
            }
            if !spaced {
                return Err("malformed tag");
            }
            let attribute = self.attribute()?;
            if seen.contains(&attribute) {
                return Err("duplicate attribute");
            }
            seen.push(attribute);
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
        let quote = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => quote,
            _ => return Err("attribute value without quotes"),
        };
        let after = self.rest.strip_prefix(quote).unwrap_or_default();
        let (raw, rest) = after
            .split_once(quote)
            .ok_or("attribute value without end")?;
        if raw.contains('<') {
            return Err("< in an attribute value");
        }
        self.rest = rest;
        let mut value = String::new();
        resolve(raw, &mut value)?;
        // XPath's attribute axis has no namespace declarations.
        if name != "xmlns" && !name.starts_with("xmlns:") {
            self.attributes.push(value);
        }
        Ok(name)
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
        match name.chars().next() {
            None | Some('-' | '.' | '0'..='9') => Err("name expected"),
            Some(_) => {
                self.rest = rest;
                Ok(name)
            }
        }
    }

    fn whitespace(&mut self) -> bool {
        let trimmed = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let found = trimmed.len() < self.rest.len();
        self.rest = trimmed;
        found
    }
}

/// Appends text with its references resolved.
fn resolve(text: &str, into: &mut String) -> Result<(), &'static str> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        into.push_str(before);
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
    into.push_str(rest);
    Ok(())
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

/// A character inside a name (XML 1.0 §2.3, all letters beyond ASCII taken together).
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.') || c >= '\u{80}'
}
