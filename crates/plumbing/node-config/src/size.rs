/// Reads a number of bytes: `1048576`, `10 MB`, `512k`, `1 GB`; units are powers of 1024 (Fabric: `viperutil`).
/// `None` when it is none or does not fit.
pub fn byte_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let number: u64 = digits.parse().ok()?;
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, size) in [
            ("0", Some(0)),
            ("1048576", Some(1 << 20)),
            ("10 MB", Some(10 << 20)),
            ("98MB", Some(98 << 20)),
            ("1 KB", Some(1024)),
            ("512k", Some(512 << 10)),
            ("2 gb", Some(2 << 30)),
            ("MB", None),
            ("1.5 MB", None),
            ("10 MiB", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("99999999999 GB", None),
        ] {
            assert_eq!(byte_size(text), size, "{text}");
        }
    }
}
