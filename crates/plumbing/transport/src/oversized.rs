use http::{HeaderMap, HeaderValue};
use tonic::{Code, Status};

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

/// As [`in_go_words`], for the headers of an answer that is nothing but a status.
pub(crate) fn headers_in_go_words(headers: &mut HeaderMap) {
    let Some(status) = Status::from_header_map(headers).filter(|status| status.code() == Code::OutOfRange) else {
        return;
    };
    let Some(text) = go_text(status.message()) else { return };
    let Ok(text) = HeaderValue::from_str(&text) else { return };
    headers.insert(Status::GRPC_STATUS, HeaderValue::from(Code::ResourceExhausted as i32));
    headers.insert(Status::GRPC_MESSAGE, text);
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
        headers_in_go_words(&mut headers);
        let sent = Status::from_header_map(&headers).unwrap();
        for status in [sent, in_go_words(status)] {
            assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, text));
        }
        let other = in_go_words(Status::out_of_range("block 5"));
        assert_eq!((other.code(), other.message()), (Code::OutOfRange, "block 5"));
    }
}
