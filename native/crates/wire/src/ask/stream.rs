//! One exchange at the service: its questions, in order, each with its deadline.

use super::client::Asker;
use super::frame::{self, ASK, BODY, END, RESPONSE, RESPONSE_BODY};
use super::link::{Answer, Link, Waiter};
use crate::error_code::ErrorCode;
use crate::exchange::Exchange;
use crate::record::Extent;
use crate::timers::Timers;
use bytes::{BufMut, Bytes};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Addresses that one question may be put to, those that have other rules not counted: while rules
/// change, that may be half of them.
const ATTEMPTS_MAX: u32 = 3;

/// What the service is asked now. Numbers as in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Head,
    Body,
    Response,
    ResponseBody,
}

/// A plan to ask; the text is the worker's and of the first question only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub moment: Moment,
    /// Of the response's body.
    pub extent: Extent,
    pub text: Bytes,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Verdict(Bytes),
    Failed(ErrorCode),
}

/// An exchange that the service knows. Dropping it tells the service that it is over.
pub struct Stream {
    link: Rc<Link>,
    id: u32,
    waiter: Rc<Waiter>,
    /// The first question, for another address.
    text: Bytes,
    /// Frames heard when the last question was asked.
    heard: u64,
    /// The service keeps nothing of it any more.
    is_over: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_over {
            self.send_end(0, false);
        }
        self.link.forget(self.id);
    }
}

impl Stream {
    fn send_end(&self, status: u16, is_wanted: bool) {
        self.link.send(END, self.id, |out| {
            out.put_u16_le(status);
            out.put_u8(u8::from(is_wanted));
        });
    }

    /// The exchange ended with `status`: what the service still has to tell of it.
    pub async fn end(mut self, asker: &Rc<Asker>, timers: &Rc<Timers>, status: u16) -> Told {
        self.heard = self.link.heard();
        self.send_end(status, true);
        let patience = Duration::from_millis(asker.config().timeout_ms);
        let answer = timers.within(patience, self.waiter.next()).await;
        if answer.is_none() {
            self.link.missed(self.heard);
        }
        self.is_over = answer.is_some();
        told(answer)
    }

    /// Whether the service still has something to tell.
    pub fn is_open(&self) -> bool {
        !self.is_over
    }
}

fn told(answer: Option<Answer>) -> Told {
    match answer {
        Some(Answer::Verdict { text, .. }) => Told::Verdict(text),
        Some(Answer::Failed(code)) => Told::Failed(code),
        Some(Answer::Broken) => Told::Failed(ErrorCode::WafServiceUnavailable),
        None => Told::Failed(ErrorCode::WafServiceTimeout),
    }
}

/// What a question is about.
pub struct Subject<'a> {
    pub asker: &'a Rc<Asker>,
    pub timers: &'a Rc<Timers>,
    pub exchange: &'a Exchange,
}

/// Asks one question; afterwards `stream` is where the next one goes.
pub async fn ask(subject: &Subject<'_>, stream: &mut Option<Stream>, question: Question) -> Told {
    let patience = Duration::from_millis(subject.asker.config().timeout_ms);
    let asking = Box::pin(answer(subject, stream, question));
    let answer = subject.timers.within(patience, asking).await;
    if answer.is_none() {
        match stream.take() {
            Some(silent) => silent.link.missed(silent.heard),
            None => return Told::Failed(ErrorCode::WafServiceUnavailable),
        }
    }
    told(answer)
}

async fn answer(subject: &Subject<'_>, stream: &mut Option<Stream>, question: Question) -> Answer {
    let Question {
        moment,
        extent,
        text,
    } = question;
    if moment == Moment::Head {
        *stream = None; // of a worker that was lost: begun again
    }
    let first = match stream.as_ref() {
        Some(known) => known.text.clone(),
        None => text,
    };
    let mut avoided: Vec<SocketAddr> = Vec::new();
    let mut attempts = 0;
    loop {
        let answer = match stream.as_mut() {
            Some(known) => proceed(subject, known, (moment, extent)).await,
            None => match begin(subject, &first, moment, &avoided).await {
                Ok(begun) => stream.insert(begun).waiter.next().await,
                Err(answer) => answer,
            },
        };
        match &answer {
            Answer::Verdict { last, .. } => {
                if let Some(known) = stream.as_mut() {
                    known.is_over = *last;
                }
                return answer;
            }
            Answer::Failed(_) | Answer::Broken => {}
        }
        let Some(mut failed) = stream.take() else {
            return answer;
        };
        failed.is_over = true;
        avoided.push(failed.link.address);
        attempts += u32::from(answer != Answer::Failed(ErrorCode::WafRulesUnknown));
        // Before the response nothing is lost by asking another one from the start.
        let may_repeat = matches!(moment, Moment::Head | Moment::Body);
        if !may_repeat || !is_elsewhere_better(&answer) || attempts >= ATTEMPTS_MAX {
            return answer;
        }
        if !subject.asker.has_others(&avoided) {
            // A connection may break because its service was restarted: it may be back by now.
            match answer {
                Answer::Broken => avoided.pop(),
                _ => return answer,
            };
        }
    }
}

/// Whether another service may know better: not when the exchange itself is what fails.
fn is_elsewhere_better(answer: &Answer) -> bool {
    !matches!(answer, Answer::Failed(code) if *code == ErrorCode::WafPoison)
}

/// Begins the exchange at some address of the service, with its body when that is known already.
async fn begin(
    subject: &Subject<'_>,
    text: &Bytes,
    moment: Moment,
    avoided: &[SocketAddr],
) -> Result<Stream, Answer> {
    let Some(link) = subject.asker.link(avoided).await else {
        return Err(Answer::Failed(ErrorCode::WafServiceUnavailable));
    };
    let heard = link.heard();
    let Some((id, waiter)) = link.begin() else {
        return Err(Answer::Broken);
    };
    let stream = Stream {
        link,
        id,
        waiter,
        text: text.clone(),
        heard,
        is_over: false,
    };
    let body_follows = moment == Moment::Body;
    let exchange = subject.exchange;
    let is_sent = stream.link.send(ASK, id, |out| {
        frame::put_ask(out, text, exchange, body_follows);
    });
    if !is_sent {
        let mut stream = stream;
        stream.is_over = true;
        return Err(Answer::Failed(ErrorCode::HeaderTooLarge));
    }
    if body_follows {
        send_body(&stream, exchange).await;
    }
    Ok(stream)
}

async fn send_body(stream: &Stream, exchange: &Exchange) {
    let body = exchange.body.get().cloned().unwrap_or_default();
    let status = u8::try_from(exchange.body_status()).unwrap_or(u8::MAX);
    stream
        .link
        .send_body((BODY, stream.id), status, &body)
        .await;
}

/// The next question about an exchange that the service knows.
async fn proceed(
    subject: &Subject<'_>,
    stream: &mut Stream,
    (moment, extent): (Moment, Extent),
) -> Answer {
    let (exchange, id) = (subject.exchange, stream.id);
    stream.heard = stream.link.heard();
    match moment {
        Moment::Head => return Answer::Failed(ErrorCode::Internal),
        Moment::Body => send_body(stream, exchange).await,
        Moment::Response => {
            let Some(facts) = exchange.response_head.get() else {
                return Answer::Failed(ErrorCode::Internal);
            };
            let is_sent = stream.link.send(RESPONSE, id, |out| {
                frame::put_response(out, facts, extent);
            });
            if !is_sent {
                return Answer::Failed(ErrorCode::WafServiceUnavailable);
            }
        }
        Moment::ResponseBody => {}
    }
    let is_shown = matches!(moment, Moment::Response | Moment::ResponseBody)
        && matches!(extent, Extent::Whole | Extent::Beginning);
    if is_shown {
        let body = exchange.response_body.get().map(|body| body.bytes.clone());
        let kind = (RESPONSE_BODY, id);
        let body = body.unwrap_or_default();
        stream.link.send_body(kind, extent as u8, &body).await;
    }
    stream.waiter.next().await
}
