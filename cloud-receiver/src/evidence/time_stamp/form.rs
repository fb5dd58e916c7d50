//! The messages of the time-stamp protocol: RFC 3161 sections 2.4.1 and 2.4.2, and RFC 5816 for the hash by which a
//! token names its certificate (RFC 5035).

use super::StampError;
use cms::cert::x509::ext::Extensions;
use cms::cert::x509::spki::AlgorithmIdentifierOwned;
use cms::content_info::ContentInfo;
use der::asn1::{BitString, Int, ObjectIdentifier, OctetString};
use der::{Any, Decode, Encode, Sequence, Tag, Tagged};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use wire::{Sha256, UtcMicros};

pub(super) const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct MessageImprint {
    pub(super) hash_algorithm: AlgorithmIdentifierOwned,
    pub(super) hashed_message: OctetString,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct TimeStampReq {
    version: u8,
    message_imprint: MessageImprint,
    #[asn1(optional = "true")]
    policy: Option<ObjectIdentifier>,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
    #[asn1(default = "Default::default")]
    cert_req: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct TimeStampResp {
    pub(super) status: StatusInfo,
    #[asn1(optional = "true")]
    pub(super) token: Option<ContentInfo>,
}

/// PKIStatusInfo of RFC 4210.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct StatusInfo {
    status: u32,
    #[asn1(optional = "true")]
    words: Option<Vec<String>>,
    #[asn1(optional = "true")]
    failure: Option<BitString>,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct Accuracy {
    #[asn1(optional = "true")]
    seconds: Option<u32>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    millis: Option<u16>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    micros: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct TstInfo {
    version: u8,
    policy: ObjectIdentifier,
    pub(super) message_imprint: MessageImprint,
    serial_number: Int,
    /// Read by [`TstInfo::time`]: fractions of a second, which the type of the crate does not know, are allowed here.
    gen_time: Any,
    #[asn1(optional = "true")]
    accuracy: Option<Accuracy>,
    #[asn1(default = "Default::default")]
    ordering: bool,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    tsa: Option<Any>,
    #[asn1(
        context_specific = "1",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    extensions: Option<Extensions>,
}

/// ESSCertID and ESSCertIDv2 in one: the older has no algorithm and means SHA-1, the newer SHA-256 if it names none.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct CertificateName {
    #[asn1(optional = "true")]
    pub(super) hash_algorithm: Option<AlgorithmIdentifierOwned>,
    pub(super) hash: OctetString,
    #[asn1(optional = "true")]
    issuer_serial: Option<Any>,
}

/// SigningCertificate and SigningCertificateV2.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct SigningCertificate {
    /// The first is the signer's.
    pub(super) certificates: Vec<CertificateName>,
    #[asn1(optional = "true")]
    policies: Option<Any>,
}

/// DER of the request. `nonce`: a positive INTEGER, without leading zeros.
pub(super) fn request(sha256: Sha256, nonce: &[u8]) -> der::Result<Vec<u8>> {
    TimeStampReq {
        version: 1,
        message_imprint: MessageImprint {
            hash_algorithm: AlgorithmIdentifierOwned {
                oid: SHA_256,
                parameters: Some(Any::null()),
            },
            hashed_message: OctetString::new(sha256.0)?,
        },
        policy: None,
        nonce: Some(Int::new(nonce)?),
        cert_req: true,
    }
    .to_der()
}

pub(super) fn answer(bytes: &[u8]) -> Result<TimeStampResp, StampError> {
    TimeStampResp::from_der(bytes).map_err(unreadable)
}

pub(super) fn unreadable(error: der::Error) -> StampError {
    StampError::Unreadable(error.to_string())
}

impl StatusInfo {
    /// Why the authority gave no time stamp; `None`: it did.
    pub(super) fn refusal(&self) -> Option<String> {
        // 0 granted, 1 grantedWithMods.
        if self.status <= 1 {
            return None;
        }
        let status = match self.status {
            2 => "rejection",
            3 => "waiting",
            4 => "revocation warning",
            5 => "revocation notification",
            _ => "unknown status",
        };
        let words = self.words.as_deref().unwrap_or_default().join("; ");
        let failures = self.failures().join(", ");
        let said: Vec<_> = [status.to_owned(), failures, words]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        Some(said.join(": "))
    }

    /// PKIFailureInfo, as RFC 3161 section 2.4.2 lists it.
    fn failures(&self) -> Vec<&'static str> {
        let known = [
            (0, "it does not know the hash algorithm"),
            (2, "the request is not permitted or supported"),
            (5, "it could not read the request"),
            (14, "its own source of time is not available"),
            (15, "it does not know the policy"),
            (16, "it does not know the extension"),
            (17, "it does not have the additional information"),
            (25, "a failure of its own system"),
        ];
        let bits: Vec<bool> = self.failure.iter().flat_map(BitString::bits).collect();
        known
            .into_iter()
            .filter(|(bit, _)| bits.get(*bit) == Some(&true))
            .map(|(_, words)| words)
            .collect()
    }
}

impl TstInfo {
    pub(super) fn is_over(&self, sha256: Sha256) -> bool {
        self.message_imprint.hash_algorithm.oid == SHA_256
            && self.message_imprint.hashed_message.as_bytes() == sha256.0
    }

    pub(super) fn has_nonce(&self, nonce: &[u8]) -> bool {
        self.nonce
            .as_ref()
            .is_some_and(|found| found.as_bytes() == nonce)
    }

    /// When the authority says it signed: YYYYMMDDhhmmss[.s...]Z.
    pub(super) fn time(&self) -> Result<UtcMicros, StampError> {
        let wrong = || StampError::Unreadable("its time cannot be read".to_owned());
        if self.gen_time.tag() != Tag::GeneralizedTime {
            return Err(wrong());
        }
        let text = std::str::from_utf8(self.gen_time.value()).map_err(|_| wrong())?;
        let text = text.strip_suffix('Z').ok_or_else(wrong)?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() != 14 || !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let time = DateTime::strptime("%Y%m%d%H%M%S", whole)
            .and_then(|time| time.to_zoned(TimeZone::UTC))
            .map_err(|_| wrong())?;
        let micros = format!("{fraction:0<6}")[..6]
            .parse::<i64>()
            .map_err(|_| wrong())?;
        Ok(UtcMicros(time.timestamp().as_microsecond() + micros))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn info(time: &str) -> TstInfo {
        TstInfo {
            version: 1,
            policy: SHA_256,
            message_imprint: MessageImprint {
                hash_algorithm: AlgorithmIdentifierOwned {
                    oid: SHA_256,
                    parameters: None,
                },
                hashed_message: OctetString::new([7; 32]).unwrap(),
            },
            serial_number: Int::new(&[1]).unwrap(),
            gen_time: Any::new(Tag::GeneralizedTime, time.as_bytes()).unwrap(),
            accuracy: None,
            ordering: false,
            nonce: None,
            tsa: None,
            extensions: None,
        }
    }

    #[test]
    fn times_are_read_with_and_without_fractions() {
        let at = |time: &str| {
            TstInfo::from_der(&info(time).to_der().unwrap())
                .unwrap()
                .time()
        };
        assert_eq!(at("20231114221320Z"), Ok(UtcMicros(1_700_000_000_000_000)));
        assert_eq!(
            at("20231114221320.34352Z"),
            Ok(UtcMicros(1_700_000_000_343_520))
        );
        assert_eq!(
            at("20231114221320.123456789Z"),
            Ok(UtcMicros(1_700_000_000_123_456))
        );
        for wrong in [
            "",
            "Z",
            "20231114221320",
            "20231314221320Z",
            "20231114221320.x1Z",
            "2023111422132Z",
        ] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_asks_for_the_certificate_and_carries_hash_and_nonce() {
        let bytes = request(Sha256([9; 32]), &[0x41, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        let read = TimeStampReq::from_der(&bytes).unwrap();
        assert!(read.cert_req && read.version == 1);
        assert_eq!(read.message_imprint.hashed_message.as_bytes(), [9; 32]);
        assert_eq!(read.nonce.unwrap().as_bytes(), [0x41, 2, 3, 4, 5, 6, 7, 8]);
    }
}
