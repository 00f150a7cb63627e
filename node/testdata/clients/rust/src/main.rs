// A runtime of its own, with the standard library alone: it answers each event with what it was given.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn ask(host: &str, request: &str, body: &[u8]) -> std::io::Result<(String, Vec<u8>)> {
    let mut to = TcpStream::connect(host)?;
    write!(to, "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())?;
    to.write_all(body)?;
    let mut from = BufReader::new(to);
    let (mut id, mut size) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.trim().split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "lambda-runtime-aws-request-id" => id = value.to_string(),
                "content-length" => size = value.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
    let mut content = vec![0; size];
    from.read_exact(&mut content)?;
    Ok((id, content))
}

fn main() -> std::io::Result<()> {
    let host = std::env::var("AWS_LAMBDA_RUNTIME_API").expect("started by Lambda");
    let greeting = std::env::var("GREETING").unwrap_or_default();
    let api = "/2018-06-01/runtime/invocation";
    loop {
        let (id, event) = ask(&host, &format!("GET {api}/next"), b"")?;
        let answer = format!("{{\"greeting\":\"{greeting}\",\"event\":{}}}", String::from_utf8_lossy(&event));
        ask(&host, &format!("POST {api}/{id}/response"), answer.as_bytes())?;
    }
}
