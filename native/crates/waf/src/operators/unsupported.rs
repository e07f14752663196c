//! Operators that are refused when the rules load, each with a way out.

/// Why this operator does not compile.
pub(super) fn reason(name: &str) -> String {
    let mend = match name {
        "fuzzyhash" => "compare uploads outside of the request; remove the rule",
        "inspectfile" => "no program runs per request; scan uploads at the upstream",
        "rsub" => "bodies are not rewritten; deny with @rx, or rewrite at the upstream",
        "gsblookup" => "remove the rule: ModSecurity 3 does not implement it either",
        "validatedtd" | "validateschema" => "validate XML at the upstream",
        "validatehash" => "remove the rule: ModSecurity 3 does not implement it either",
        _ => return format!("@{name} is no operator: check its spelling"),
    };
    format!("@{name} is not supported: {mend}")
}
