//! Header templates: the edits that nearly every forwarded request gets, written once by TypeScript
//! (proxy/forwarding.ts) and filled in here, so that no plan has to spell them out.

use crate::config::TemplateConfig;
use crate::exchange::Exchange;
use crate::plan::{Edit, EditOp, Forward};
use bytes::{Bytes, BytesMut};
use edge_http_policy::Version;

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Bytes),
    Peer,
    Scheme,
    Authority,
    LocalPort,
    Version,
    RequestId,
}

#[derive(Debug, Clone)]
struct Line {
    op: EditOp,
    name: Bytes,
    value: Vec<Part>,
}

/// One template, ready to be filled in.
#[derive(Debug, Clone, Default)]
pub struct Template {
    request: Vec<Line>,
    response: Vec<Line>,
}

impl Template {
    /// Reads a template; names the placeholder that does not exist.
    pub fn read(config: &TemplateConfig) -> Result<Template, String> {
        let lines = |edits: &[crate::config::TemplateEdit]| -> Result<Vec<Line>, String> {
            edits
                .iter()
                .map(|edit| {
                    Ok(Line {
                        op: match edit.op.as_str() {
                            "set" => EditOp::Set,
                            "append" => EditOp::Append,
                            "remove" => EditOp::Remove,
                            other => return Err(format!("no edit is called {other}")),
                        },
                        name: Bytes::from(edit.name.clone()),
                        value: parts(&edit.value)?,
                    })
                })
                .collect()
        };
        Ok(Template {
            request: lines(&config.request)?,
            response: lines(&config.response)?,
        })
    }

    /// Puts the template's edits before the plan's own, which therefore win.
    pub fn apply(&self, exchange: &Exchange, plan: &mut Forward) {
        let id = plan.request_id.clone();
        let fill = |lines: &[Line], own: &mut Vec<Edit>| {
            let filled = lines.iter().map(|line| Edit {
                op: line.op,
                name: line.name.clone(),
                value: line.fill(exchange, &id),
            });
            let mut edits: Vec<Edit> = Vec::with_capacity(lines.len() + own.len());
            edits.extend(filled);
            edits.append(own);
            *own = edits;
        };
        fill(&self.request, &mut plan.request_edits);
        fill(&self.response, &mut plan.response_edits);
    }
}

impl Line {
    /// A value of one part, as most are, is not copied.
    fn fill(&self, exchange: &Exchange, id: &Bytes) -> Bytes {
        match self.value.as_slice() {
            [] => Bytes::new(),
            [part] => part.fill(exchange, id),
            parts => {
                let mut value = BytesMut::new();
                for part in parts {
                    value.extend_from_slice(&part.fill(exchange, id));
                }
                value.freeze()
            }
        }
    }
}

impl Part {
    fn fill(&self, exchange: &Exchange, id: &Bytes) -> Bytes {
        let connection = &exchange.connection;
        match self {
            Part::Text(text) => text.clone(),
            Part::Peer => connection.peer_text.clone(),
            Part::Scheme if connection.tls => Bytes::from_static(b"https"),
            Part::Scheme => Bytes::from_static(b"http"),
            Part::Authority => exchange.head.authority.clone(),
            Part::LocalPort => Bytes::from(connection.local_port.to_string()),
            Part::Version => Bytes::from_static(match exchange.head.version {
                Version::Http10 => b"1.0",
                Version::Http11 => b"1.1",
                Version::Http2 => b"2",
                Version::Http3 => b"3",
            }),
            Part::RequestId => id.clone(),
        }
    }
}

/// `text %{placeholder} text`.
fn parts(value: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = value;
    while let Some((text, after)) = rest.split_once("%{") {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| format!("{value} has no closing brace"))?;
        if !text.is_empty() {
            parts.push(Part::Text(Bytes::from(text.to_owned())));
        }
        parts.push(match name {
            "peer" => Part::Peer,
            "scheme" => Part::Scheme,
            "authority" => Part::Authority,
            "local-port" => Part::LocalPort,
            "version" => Part::Version,
            "request-id" => Part::RequestId,
            other => return Err(format!("no placeholder is called {other}")),
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(Bytes::from(rest.to_owned())));
    }
    Ok(parts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_are_text_and_placeholders() {
        let text = |text: &str| Part::Text(Bytes::from(text.to_owned()));
        assert_eq!(parts("").unwrap(), vec![]);
        assert_eq!(
            parts("%{version} edge").unwrap(),
            vec![Part::Version, text(" edge")]
        );
        assert_eq!(
            parts("a%{peer}:%{local-port}").unwrap(),
            vec![text("a"), Part::Peer, text(":"), Part::LocalPort]
        );
        for bad in ["%{", "%{peer", "%{nobody}"] {
            assert!(parts(bad).is_err(), "{bad}");
        }
    }
}
