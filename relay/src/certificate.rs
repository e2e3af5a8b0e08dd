//! When a certificate is valid (RFC 5280 §4.1.2.5): the one thing that is read of it here.

/// Reads `notBefore` and `notAfter` of a certificate in DER, in seconds since 1970. `None` when it is malformed.
pub(crate) fn validity(der: &[u8]) -> Option<(i64, i64)> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut tbs, _) = element(certificate, SEQUENCE)?;
    // The version is left out by certificates of version 1.
    if tbs.first() == Some(&VERSION) {
        (_, tbs) = element(tbs, VERSION)?;
    }
    let (_serial, rest) = element(tbs, INTEGER)?;
    let (_signature, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (not_before, rest) = time(validity)?;
    let (not_after, _) = time(rest)?;
    Some((not_before, not_after))
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The contents of the element at the start, and what follows it (X.690 §8.1).
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut len = usize::from(first);
    if first >= 0x80 {
        let digits = usize::from(first & 0x7f);
        if !(1..=4).contains(&digits) {
            return None;
        }
        len = 0;
        for &digit in rest.get(..digits)? {
            len = len << 8 | usize::from(digit);
        }
        rest = rest.get(digits..)?;
    }
    (found == tag).then_some(())?;
    rest.split_at_checked(len)
}

/// A time at the start, in seconds since 1970, and what follows it.
fn time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, year_digits) = match *bytes.first()? {
        UTC_TIME => {
            let (text, rest) = element(bytes, UTC_TIME)?;
            (text, rest, 2)
        }
        GENERALIZED_TIME => {
            let (text, rest) = element(bytes, GENERALIZED_TIME)?;
            (text, rest, 4)
        }
        _ => return None,
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if text.len() != year_digits + 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, len: usize| text.get(from..from + len)?.parse::<i64>().ok();
    let year = match number(0, year_digits)? {
        // RFC 5280 §4.1.2.5.1.
        year if year_digits == 2 && year < 50 => 2000 + year,
        year if year_digits == 2 => 1900 + year,
        year => year,
    };
    let at = |index: usize| number(year_digits + 2 * index, 2);
    let (month, day, hour, minute, second) = (at(0)?, at(1)?, at(2)?, at(3)?, at(4)?);
    if !(1..=12).contains(&month) {
        return None;
    }
    Some(((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second).map(|time| (time, rest))
}

/// Days from 1970-01-01 in the Gregorian calendar, counting years from March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let mut utc = vec![UTC_TIME, 13];
        utc.extend(b"000229235959Z");
        assert_eq!(time(&utc), Some((951_868_799, &[][..])));
        let mut general = vec![GENERALIZED_TIME, 15];
        general.extend(b"20501231000000Z");
        assert_eq!(time(&general), Some((2_556_057_600, &[][..])));
        assert_eq!(days_since_1970(1970, 1, 1), 0);
    }

    #[test]
    fn validity_of_a_real_certificate_is_read() {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2077, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(validity(certificate.der()), Some((1_709_164_800, 3_376_684_800)));
        for len in 0..certificate.der().len().min(200) {
            // What is cut off must not panic.
            let _ = validity(&certificate.der()[..len]);
        }
    }
}
