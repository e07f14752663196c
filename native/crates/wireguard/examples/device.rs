//! A device on its own, for measurements without Node: options as JSON in the first argument,
//! then one line for each step on stdin: a delta as JSON, `stats`, or `memory`. Each is answered
//! with the milliseconds that it took.

use edge_wireguard::{Delta, Device, Error, Options};
use std::io::{BufRead, stdin};
use std::time::Instant;

fn main() -> Result<(), Error> {
    let options = std::env::args().nth(1).unwrap_or_default();
    let device = Device::open(Options::parse(&options)?)?;
    println!("ready");
    for line in stdin().lock().lines().map_while(Result::ok) {
        let began = Instant::now();
        let answer = match line.as_str() {
            "stats" => device.stats()?,
            "memory" => memory(),
            delta => device.apply(Delta::parse(delta)?)?,
        };
        let ms = began.elapsed().as_secs_f64() * 1000.0;
        let answer: String = answer.chars().take(300).collect();
        println!("{ms:.2} ms {answer}");
    }
    Ok(())
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_meant = |line: &&str| line.starts_with("VmRSS") || line.starts_with("VmHWM");
    status.lines().filter(is_meant).collect()
}
