//! A chunked body ends where a plain reader of whole lines sees its end, however it is cut on the way.
#![no_main]

#[path = "../../crates/api/src/wire/chunked.rs"]
mod chunked;

use libfuzzer_sys::fuzz_target;

use chunked::Scanner;

/// As the scanner has them: digits of a size, bytes of extensions and of trailers.
const SIZE_DIGITS_MAX: usize = 15;
const EXTENSIONS_BYTES_MAX: usize = 4 * 1024;
const TRAILERS_BYTES_MAX: usize = 8 * 1024;

/// What becomes of a body.
#[derive(Debug, PartialEq)]
enum Body {
    Ends(usize),
    GoesOn,
    Malformed,
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = scan(bytes.chunks(usize::MAX));
    assert_eq!(whole, scan(bytes.chunks(usize::from(piece).max(1))), "cut into pieces of {piece}");
    assert_eq!(whole, by_lines(bytes));
});

fn scan<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Body {
    let (mut scanner, mut total) = (Scanner::new(), 0);
    for piece in pieces {
        let Ok(used) = scanner.scan(piece) else { return Body::Malformed };
        assert!(used == piece.len() || scanner.is_done());
        total += used;
        if scanner.is_done() {
            return Body::Ends(total);
        }
    }
    Body::GoesOn
}

/// RFC 9112, section 7.1, on bytes that are all there.
fn by_lines(bytes: &[u8]) -> Body {
    read(bytes).unwrap_or_else(|stopped| stopped)
}

fn read(bytes: &[u8]) -> Result<Body, Body> {
    let (mut at, mut extensions, mut trailers) = (0, 0, 0);
    loop {
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits > SIZE_DIGITS_MAX {
            return Err(Body::Malformed);
        }
        let size = std::str::from_utf8(&bytes[at..at + digits]).expect("hexadecimal digits");
        at += digits;
        match bytes.get(at) {
            None => return Err(Body::GoesOn),
            Some(b';' | b'\r') if digits > 0 => {}
            Some(_) => return Err(Body::Malformed),
        }
        if bytes[at] == b';' {
            at += 1;
            extensions += text(bytes, &mut at);
            limit(extensions, EXTENSIONS_BYTES_MAX)?;
        }
        line_end(bytes, &mut at)?;
        let size = usize::from_str_radix(size, 16).expect("at most sixty bits");
        if size == 0 {
            break;
        }
        at = at.checked_add(size).filter(|at| *at <= bytes.len()).ok_or(Body::GoesOn)?;
        line_end(bytes, &mut at)?;
    }
    loop {
        let length = text(bytes, &mut at);
        trailers += length;
        limit(trailers, TRAILERS_BYTES_MAX)?;
        line_end(bytes, &mut at)?;
        if length == 0 {
            return Ok(Body::Ends(at));
        }
    }
}

/// Steps over what may be in an extension or a trailer; gives its length.
fn text(bytes: &[u8], at: &mut usize) -> usize {
    let is_text = |byte: &&u8| **byte == b'\t' || (**byte >= b' ' && **byte != 0x7f);
    let length = bytes[*at..].iter().take_while(is_text).count();
    *at += length;
    length
}

fn limit(length: usize, max: usize) -> Result<(), Body> {
    if length > max { Err(Body::Malformed) } else { Ok(()) }
}

fn line_end(bytes: &[u8], at: &mut usize) -> Result<(), Body> {
    for expected in [b'\r', b'\n'] {
        match bytes.get(*at) {
            None => return Err(Body::GoesOn),
            Some(byte) if *byte == expected => *at += 1,
            Some(_) => return Err(Body::Malformed),
        }
    }
    Ok(())
}
