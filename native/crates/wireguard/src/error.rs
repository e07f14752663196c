//! What can go wrong, by a code that the caller knows how to mend.

use std::fmt;
use std::io;

/// The kinds of faults; the words are what TypeScript sees (mesh/device.ts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The text is no JSON of the kind that was asked for.
    Malformed,
    NameInvalid,
    KeyInvalid,
    NetworkInvalid,
    EndpointInvalid,
    MtuInvalid,
    InterfaceTaken,
    InterfaceGone,
    PortTaken,
    RouteTaken,
    /// Packets to a peer would go into the tunnel to it.
    RouteLoop,
    NoTun,
    /// The kernel has no WireGuard.
    NoModule,
    NotPermitted,
    System,
}

impl Code {
    fn word(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::NameInvalid => "NAME_INVALID",
            Self::KeyInvalid => "KEY_INVALID",
            Self::NetworkInvalid => "NETWORK_INVALID",
            Self::EndpointInvalid => "ENDPOINT_INVALID",
            Self::MtuInvalid => "MTU_INVALID",
            Self::InterfaceTaken => "INTERFACE_TAKEN",
            Self::InterfaceGone => "INTERFACE_GONE",
            Self::PortTaken => "PORT_TAKEN",
            Self::RouteTaken => "ROUTE_TAKEN",
            Self::RouteLoop => "ROUTE_LOOP",
            Self::NoTun => "NO_TUN",
            Self::NoModule => "NO_MODULE",
            Self::NotPermitted => "NOT_PERMITTED",
            Self::System => "SYSTEM",
        }
    }
}

/// A code and what it is about.
#[derive(Debug)]
pub struct Error {
    pub code: Code,
    pub text: String,
}

impl Error {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, text }
    }

    /// An error of the system while `doing` something.
    pub(crate) fn system(doing: &str, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::PermissionDenied => Code::NotPermitted,
            _ => Code::System,
        };
        Self::new(code, format!("{doing}: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code.word(), self.text)
    }
}

impl std::error::Error for Error {}
