//! Plans: what a worker decided, decoded. Layout: proxy/plan.ts.

use crate::ask::{Moment, Question};
use crate::error_code::ErrorCode;
use crate::record::Extent;
use bytes::Bytes;
use std::time::Duration;

/// What to do with one header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditOp {
    /// Replace all fields of the name.
    Set,
    /// Add one field.
    Append,
    /// Remove all fields of the name.
    Remove,
}

/// One header edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub op: EditOp,
    pub name: Bytes,
    pub value: Bytes,
}

/// Answer the client from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    pub status: u16,
    pub close: bool,
    pub headers: Vec<(Bytes, Bytes)>,
    pub body: Bytes,
}

/// What the worker sees of the response before the client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspect {
    Nothing,
    Head,
    Body(Hold),
}

/// Which response bodies are held, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub bytes_max: u32,
    /// A longer body is refused: one that says its length is not worth reading.
    pub rejects_longer: bool,
    /// Lower-case media types, apart by spaces. Of others only the head is shown.
    pub media_types: Bytes,
}

/// Forward to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    pub endpoint: u32,
    /// Where to go when `endpoint` could not be reached or took nothing.
    pub alternatives: Vec<u32>,
    pub inspect: Inspect,
    /// The request opens a WebSocket: 101 (or 200) from the endpoint becomes a tunnel.
    pub tunnel: bool,
    /// Sending once more is allowed where it does no harm; a connection that did not come about
    /// needs no leave.
    pub retry: bool,
    /// Keep every trailer (gRPC), not only those of the allow-list.
    pub all_trailers: bool,
    pub connect_timeout: Duration,
    pub first_byte_timeout: Duration,
    pub idle_timeout: Duration,
    /// `u64::MAX`: no limit.
    pub body_bytes_max: u64,
    /// A header template, from 1; 0: none.
    pub template: u8,
    /// For the template.
    pub request_id: Bytes,
    pub request_edits: Vec<Edit>,
    pub response_edits: Vec<Edit>,
}

/// A decision about one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    Respond(Respond),
    ReadBody {
        max: u32,
    },
    Forward(Box<Forward>),
    PassResponse(Vec<Edit>),
    ReadResponseBody {
        max: u32,
    },
    Ask(Question),
    Verdict(VerdictPlan),
    /// In the service: it cannot answer; another one may.
    Refuse(ErrorCode),
    Done,
}

/// The WAF service's answer to a proxy's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictPlan {
    /// Nothing of the exchange is kept.
    pub last: bool,
    /// Phase 2 waits for the body.
    pub wants_body: bool,
    /// For the worker of the proxy.
    pub text: Bytes,
}

/// The plans are not laid out as agreed: a bug in the worker.
#[derive(Debug, PartialEq, Eq)]
pub struct BadPlan(pub usize);

/// Reads plans off one batch; pieces are slices of it, nothing is copied.
pub struct PlanReader {
    batch: Bytes,
    at: usize,
}

impl PlanReader {
    pub fn new(batch: Bytes) -> PlanReader {
        PlanReader { batch, at: 0 }
    }

    /// The next handle and plan; `None` at the end.
    pub fn next(&mut self) -> Result<Option<(u32, Plan)>, BadPlan> {
        if self.at >= self.batch.len() {
            return Ok(None);
        }
        let kind = self.u8()?;
        let handle = self.u32()?;
        let plan = match kind {
            1 => Plan::Respond(self.respond()?),
            2 => Plan::ReadBody { max: self.u32()? },
            3 => Plan::Forward(Box::new(self.forward()?)),
            4 => Plan::PassResponse(self.edits()?),
            5 => Plan::ReadResponseBody { max: self.u32()? },
            6 => Plan::Done,
            7 => Plan::Ask(self.question()?),
            8 => {
                let flags = self.u8()?;
                Plan::Verdict(VerdictPlan {
                    last: flags & 1 != 0,
                    wants_body: flags & 2 != 0,
                    text: self.long()?,
                })
            }
            9 => {
                let code = ErrorCode::ALL.get(usize::from(self.u16()?));
                Plan::Refuse(*code.ok_or(BadPlan(self.at))?)
            }
            _ => return Err(BadPlan(self.at)),
        };
        Ok(Some((handle, plan)))
    }

    fn question(&mut self) -> Result<Question, BadPlan> {
        let moment = match self.u8()? {
            0 => Moment::Head,
            1 => Moment::Body,
            2 => Moment::Response,
            3 => Moment::ResponseBody,
            _ => return Err(BadPlan(self.at)),
        };
        let extent = Extent::of(self.u8()?).ok_or(BadPlan(self.at))?;
        let text = self.long()?;
        Ok(Question {
            moment,
            extent,
            text,
        })
    }

    fn respond(&mut self) -> Result<Respond, BadPlan> {
        let (status, flags, count) = (self.u16()?, self.u8()?, self.u16()?);
        let mut headers = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            headers.push((self.short()?, self.long()?));
        }
        Ok(Respond {
            status,
            close: flags & 1 != 0,
            headers,
            body: self.long()?,
        })
    }

    fn forward(&mut self) -> Result<Forward, BadPlan> {
        let (endpoint, flags, count) = (self.u32()?, self.u8()?, self.u8()?);
        let mut alternatives = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            alternatives.push(self.u32()?);
        }
        let mut timeout = || self.u32().map(|ms| Duration::from_millis(u64::from(ms)));
        let (connect_timeout, first_byte_timeout, idle_timeout) =
            (timeout()?, timeout()?, timeout()?);
        let (low, high) = (self.u32()?, self.u32()?);
        let (template, request_id) = (self.u8()?, self.short()?);
        let inspect = match flags & 3 {
            0 => Inspect::Nothing,
            1 => Inspect::Head,
            _ => Inspect::Body(Hold {
                bytes_max: self.u32()?,
                rejects_longer: flags & 32 != 0,
                media_types: self.short()?,
            }),
        };
        Ok(Forward {
            endpoint,
            alternatives,
            inspect,
            tunnel: flags & 4 != 0,
            retry: flags & 8 != 0,
            all_trailers: flags & 16 != 0,
            connect_timeout,
            first_byte_timeout,
            idle_timeout,
            body_bytes_max: u64::from(low) | u64::from(high) << 32,
            template,
            request_id,
            request_edits: self.edits()?,
            response_edits: self.edits()?,
        })
    }

    fn edits(&mut self) -> Result<Vec<Edit>, BadPlan> {
        let count = self.u16()?;
        let mut edits = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let op = match self.u8()? {
                0 => EditOp::Set,
                1 => EditOp::Append,
                2 => EditOp::Remove,
                _ => return Err(BadPlan(self.at)),
            };
            edits.push(Edit {
                op,
                name: self.short()?,
                value: self.long()?,
            });
        }
        Ok(edits)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadPlan> {
        let rest = self.batch.get(self.at..).unwrap_or_default();
        let taken = *rest.first_chunk::<N>().ok_or(BadPlan(self.at))?;
        self.at += N;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, BadPlan> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, BadPlan> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, BadPlan> {
        self.array().map(u32::from_le_bytes)
    }

    fn short(&mut self) -> Result<Bytes, BadPlan> {
        let length = usize::from(self.u16()?);
        self.piece(length)
    }

    fn long(&mut self) -> Result<Bytes, BadPlan> {
        let length = usize::try_from(self.u32()?).map_err(|_| BadPlan(self.at))?;
        self.piece(length)
    }

    fn piece(&mut self, length: usize) -> Result<Bytes, BadPlan> {
        let end = self
            .at
            .checked_add(length)
            .filter(|end| *end <= self.batch.len());
        let end = end.ok_or(BadPlan(self.at))?;
        let piece = self.batch.slice(self.at..end);
        self.at = end;
        Ok(piece)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn plans(bytes: &[u8]) -> Result<Vec<(u32, Plan)>, BadPlan> {
        let mut reader = PlanReader::new(Bytes::copy_from_slice(bytes));
        let mut plans = Vec::new();
        while let Some(plan) = reader.next()? {
            plans.push(plan);
        }
        Ok(plans)
    }

    #[test]
    fn reads_respond_and_done() {
        let mut bytes = vec![
            1, 7, 0, 0, 0, 0x93, 1, 1, 1, 0, 1, 0, b'a', 2, 0, 0, 0, b'b', b'c',
        ];
        bytes.extend([3, 0, 0, 0, b'x', b'y', b'z', 6, 7, 0, 0, 0]);
        let read = plans(&bytes).unwrap();
        let headers = vec![(Bytes::from("a"), Bytes::from("bc"))];
        let respond = Respond {
            status: 403,
            close: true,
            headers,
            body: Bytes::from("xyz"),
        };
        assert_eq!(read, vec![(7, Plan::Respond(respond)), (7, Plan::Done)]);
    }

    #[test]
    fn every_cut_is_an_error() {
        let whole = [2, 1, 0, 0, 0, 9, 0, 0, 0];
        assert_eq!(plans(&whole).unwrap(), vec![(1, Plan::ReadBody { max: 9 })]);
        for cut in 1..whole.len() {
            assert!(plans(&whole[..cut]).is_err());
        }
    }
}
