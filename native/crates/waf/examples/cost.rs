//! What the scan alone costs: `cost PLAN.json REQUESTS.jsonl… [--memo] [--once=COUNT]`. The plan is
//! written by bench/waf-plan.ts, the requests are those of bench/waf.ts. Each request is inspected
//! several times in small groups and the fastest time of each group counts, since machines are
//! shared. With `--once` so many requests are inspected twice and no more, for tools that count
//! instructions (`valgrind --tool=callgrind --toggle-collect='*cost*inspect*'`). The last word is a
//! digest of all hits, to compare two builds by.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use bytes::Bytes;
use edge_waf::{Effort, Inspection, Memo, Plan, RequestFacts};
use serde::Deserialize;

const GROUP: usize = 16;
const ROUNDS: usize = 9;

#[derive(Deserialize)]
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let plan = std::fs::read_to_string(arguments.next().unwrap()).unwrap();
    let began = Instant::now();
    let plan = Plan::compile(&plan).unwrap();
    println!("plan compiled in {:.2} s", began.elapsed().as_secs_f64());
    let rest: Vec<String> = arguments.collect();
    let with_memo = rest.iter().any(|flag| flag == "--memo");
    let mut flags = rest.iter().filter_map(|one| one.strip_prefix("--once="));
    let once: Option<usize> = flags.next().map(|count| count.parse().unwrap());
    for file in rest.iter().filter(|one| !one.starts_with("--")) {
        let text = std::fs::read_to_string(file).unwrap();
        let requests: Vec<Request> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .take(once.unwrap_or(if file.contains("W3") { 64 } else { 2048 }))
            .collect();
        let rounds = if once.is_some() { 2 } else { ROUNDS };
        measure((&plan, rounds), file, &requests, with_memo);
    }
}

fn measure((plan, rounds): (&Plan, usize), name: &str, requests: &[Request], with_memo: bool) {
    let mut memo = Memo::new(if with_memo { 4096 } else { 0 });
    let group_size = if name.contains("W3") { 1 } else { GROUP };
    let mut best = vec![[Duration::MAX; 6]; requests.len().div_ceil(group_size)];
    let mut hits = 0;
    let mut digest = DefaultHasher::new();
    for round in 0..rounds {
        for (group, best) in requests.chunks(group_size).zip(&mut best) {
            let mut spent = [Duration::ZERO; 6];
            for request in group {
                let (times, found) = inspect(plan, request, (&mut memo, &mut digest));
                for (sum, time) in spent.iter_mut().zip(times) {
                    *sum += time;
                }
                hits += if round == 0 { found } else { 0 };
            }
            for (best, time) in best.iter_mut().zip(spent) {
                *best = (*best).min(time);
            }
        }
    }
    let mut sums = [0.0; 6];
    for group in &best {
        for (sum, time) in sums.iter_mut().zip(group) {
            *sum += time.as_secs_f64() * 1e6 / requests.len() as f64;
        }
    }
    println!(
        "{name}: {:8.1} µs; begin {:.1}, phases {:.1} {:.1} {:.1} {:.1}, end {:.1}; \
         {hits} hits {:016x}",
        sums.iter().sum::<f64>(),
        sums[0],
        sums[1],
        sums[2],
        sums[3],
        sums[4],
        sums[5],
        digest.finish(),
    );
}

/// CPU time of this thread so far.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// Time of the beginning, of phases 1 to 4, and of the end; hits in all.
#[inline(never)]
fn inspect(
    plan: &Plan,
    request: &Request,
    (memo, digest): (&mut Memo, &mut impl Hasher),
) -> ([Duration; 6], usize) {
    let mut times = [Duration::ZERO; 6];
    let mut found = 0;
    let began = cpu();
    let facts = RequestFacts {
        method: request.method.as_bytes(),
        target: request.path.as_bytes(),
        protocol: "HTTP/1.1",
        peer: b"127.0.0.1",
        peer_port: 40_000,
        local: b"",
        local_port: 443,
        unique_id: "0123456789abcdef01234567",
    };
    let length = request.body.len().to_string();
    let mut headers: Vec<(&[u8], &[u8])> = vec![(b"host", b"shop.example.com")];
    headers.extend(
        request
            .headers
            .iter()
            .map(|(n, v)| (n.as_bytes(), v.as_bytes())),
    );
    if !request.body.is_empty() {
        headers.push((b"content-length", length.as_bytes()));
    }
    let body = Bytes::copy_from_slice(request.body.as_bytes());
    let mut inspection = Inspection::new(&facts, headers.into_iter());
    if request.body.starts_with('{') {
        inspection.set_body_processor("JSON");
    }
    times[0] = cpu() - began;
    for phase in 1..=4u8 {
        let began = cpu();
        match phase {
            2 if !body.is_empty() => inspection.set_body(&body, true),
            3 => {
                let headers: [(&[u8], &[u8]); 2] =
                    [(b"content-type", b"text/html"), (b"server", b"nginx")];
                inspection.set_response(("HTTP/1.1", 200), headers.into_iter());
            }
            4 => inspection.set_response_body(&Bytes::from(b"<p>text </p>".repeat(86)), true),
            _ => {}
        }
        let effort = Effort {
            budget: Duration::from_secs(60),
            memo,
        };
        let hits = inspection.scan(plan, phase, effort).unwrap();
        found += hits.list().len();
        times[usize::from(phase)] = cpu() - began;
        for hit in hits.list() {
            (hit.leaf, hit.target, &hit.name, &hit.value, &hit.captures).hash(digest);
        }
        if std::env::var_os("SHOW_HITS").is_some() {
            for hit in hits.list() {
                println!(
                    "HIT {phase} {} {:?} {}",
                    hit.leaf,
                    hit.variable,
                    hit.value.escape_ascii()
                );
            }
        }
    }
    let began = cpu();
    drop(inspection);
    times[5] = cpu() - began;
    (times, found)
}
