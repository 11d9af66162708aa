use http::{HeaderMap, HeaderValue};
use tonic::{Code, Status};

/// How many bytes of a status' text are sent in headers. It may repeat what a client sent, and clients take 8 KiB (Java) to
/// 64 KiB of headers; a longer one would break the connection of whoever asked.
const MAX_TEXT: usize = 4 * 1024;
/// How many bytes of a status' encoded details are sent in headers; longer ones are left out.
const MAX_DETAILS: usize = 32 * 1024;
/// How tonic begins its refusal of a message that is too large.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// A status that reading a request came to, in the words of Go's gRPC: a message that is too large is
/// `ResourceExhausted` there, and clients know it by that.
pub fn in_go_words(status: Status) -> Status {
    match go_text(status.message()) {
        Some(text) if status.code() == Code::OutOfRange => Status::resource_exhausted(text),
        _ => status,
    }
}

/// As [`in_go_words`], for the headers of an answer that is nothing but a status; and sees that clients can read them.
pub(crate) fn mend_status(headers: &mut HeaderMap) {
    shorten(headers);
    let Some(status) = Status::from_header_map(headers).filter(|status| status.code() == Code::OutOfRange) else {
        return;
    };
    let Some(text) = go_text(status.message()) else { return };
    let Ok(text) = HeaderValue::from_str(&text) else { return };
    headers.insert(Status::GRPC_STATUS, HeaderValue::from(Code::ResourceExhausted as i32));
    headers.insert(Status::GRPC_MESSAGE, text);
}

fn shorten(headers: &mut HeaderMap) {
    if let Some(text) = headers.get(Status::GRPC_MESSAGE).filter(|text| text.len() > MAX_TEXT) {
        let text = &text.as_bytes()[..MAX_TEXT];
        // Not in the middle of a byte's encoding, which is three characters.
        let whole = text.iter().rposition(|byte| *byte == b'%').filter(|at| at + 3 > MAX_TEXT).unwrap_or(MAX_TEXT);
        if let Ok(text) = HeaderValue::from_bytes(&text[..whole]) {
            headers.insert(Status::GRPC_MESSAGE, text);
        }
    }
    if headers.get(Status::GRPC_STATUS_DETAILS).is_some_and(|details| details.len() > MAX_DETAILS) {
        headers.remove(Status::GRPC_STATUS_DETAILS);
    }
}

fn go_text(message: &str) -> Option<String> {
    let sizes = message.strip_prefix(TOO_LARGE)?;
    let mut numbers = sizes.split(|character: char| !character.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let (found, limit) = (numbers.next()?, numbers.next()?);
    Some(format!("grpc: received message larger than max ({found} vs. {limit})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_messages_are_refused_as_go_does() {
        let status = Status::out_of_range(
            "Error, decoded message length too large: found 105907278 bytes, the limit is: 104857600 bytes",
        );
        let text = "grpc: received message larger than max (105907278 vs. 104857600)";
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        mend_status(&mut headers);
        let sent = Status::from_header_map(&headers).unwrap();
        for status in [sent, in_go_words(status)] {
            assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, text));
        }
        let other = in_go_words(Status::out_of_range("block 5"));
        assert_eq!((other.code(), other.message()), (Code::OutOfRange, "block 5"));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        for padding in 0..3 {
            let text = format!("{}{}", "x".repeat(MAX_TEXT - padding), "\u{7f}".repeat(100_000));
            let status = Status::with_details(Code::Aborted, text, vec![0; MAX_DETAILS + 1].into());
            let mut headers = HeaderMap::new();
            status.add_header(&mut headers).unwrap();
            mend_status(&mut headers);
            let sent = Status::from_header_map(&headers).unwrap();
            assert!(sent.message().starts_with("xxx") && sent.message().len() <= MAX_TEXT, "{}", sent.message().len());
            assert_eq!((sent.code(), sent.details().len()), (Code::Aborted, 0));
        }
    }
}
