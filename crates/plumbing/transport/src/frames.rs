/// The bytes before each message of a gRPC body: whether it is compressed, and its length in big-endian order.
const HEADER: usize = 5;

/// Where in a body its last piece ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// Behind all messages that began.
    Between,
    /// In a message.
    Within,
}

/// Reads along a gRPC body, which arrives in pieces of any size, and finds its messages.
#[derive(Debug, Default, Clone)]
pub struct MessageScanner {
    header: [u8; HEADER],
    /// How many bytes of the next header were seen.
    seen: usize,
    /// How many bytes of the current message are still to come.
    left: usize,
}

impl MessageScanner {
    /// At the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the last message that began is complete.
    pub(crate) const fn position(&self) -> Position {
        if self.left == 0 { Position::Between } else { Position::Within }
    }

    /// Takes the next bytes of the body, and calls `begun` with the length of each message whose header is in them or is
    /// completed by them.
    pub fn scan(&mut self, mut bytes: &[u8], mut begun: impl FnMut(usize)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEADER - self.seen).min(bytes.len());
            self.header[self.seen..self.seen + taken].copy_from_slice(&bytes[..taken]);
            self.seen += taken;
            bytes = &bytes[taken..];
            if self.seen == HEADER {
                let [_, length @ ..] = self.header;
                self.left = u32::from_be_bytes(length) as usize;
                self.seen = 0;
                begun(self.left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_body_is_cut() {
        let lengths = [0, 3, 300, 1];
        let mut body = Vec::new();
        for length in lengths {
            body.push(0);
            body.extend((length as u32).to_be_bytes());
            body.extend(vec![7; length]);
        }
        for size in 1..=body.len() {
            let (mut scanner, mut found) = (MessageScanner::new(), Vec::new());
            for piece in body.chunks(size) {
                scanner.scan(piece, |length| found.push(length));
            }
            assert_eq!(found, lengths, "pieces of {size}");
        }
    }
}
