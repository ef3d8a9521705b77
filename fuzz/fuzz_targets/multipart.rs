//! A form is read the same however it is cut on the way, its parts begin and end in order, and no more of it is kept
//! than a piece and a head.
#![no_main]

#[path = "../../crates/api/src/form/multipart.rs"]
mod multipart;

use libfuzzer_sys::fuzz_target;

use multipart::{Event, Head, Mistake, Parser};

/// A part and its content; the last one may be unfinished.
type Part = (Head, Vec<u8>);

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    if let Some(boundary) = std::str::from_utf8(bytes).ok().and_then(multipart::boundary) {
        assert!((1..=70).contains(&boundary.len()));
    }
    let whole = read(bytes.chunks(usize::MAX));
    assert_eq!(whole, read(bytes.chunks(usize::from(*piece).max(1))), "cut into pieces of {piece}");
});

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Part>, Result<bool, Mistake>) {
    let mut parser = Parser::new("B");
    let (mut parts, mut in_part): (Vec<Part>, bool) = (Vec::new(), false);
    for piece in pieces {
        parser.push(piece);
        loop {
            match parser.next() {
                Ok(None) => break,
                Ok(Some(Event::Part(head))) => {
                    assert!(!std::mem::replace(&mut in_part, true));
                    assert!(
                        head.name.len() + head.file_name.as_ref().map_or(0, String::len)
                            <= multipart::HEAD_BYTES_MAX
                    );
                    parts.push((head, Vec::new()));
                }
                Ok(Some(Event::Content(bytes))) => {
                    assert!(in_part && !bytes.is_empty());
                    parts.last_mut().expect("in a part").1.extend(bytes);
                }
                Ok(Some(Event::PartEnd)) => assert!(std::mem::replace(&mut in_part, false)),
                Ok(Some(Event::End)) => assert!(!in_part && parser.is_done()),
                Err(mistake) => return (parts, Err(mistake)),
            }
        }
    }
    // What an unfinished form ends with may be the beginning of a delimiter or not.
    if !parser.is_done() && in_part {
        parts.pop();
    }
    (parts, Ok(parser.is_done()))
}
